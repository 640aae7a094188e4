"""Sample events of each type that Ring sends, as partners receive them: of an account that there is not."""

import time
from datetime import UTC, datetime
from secrets import token_hex
from typing import Final

from msgspec.structs import replace

from deploy.demo.ring import webhooks
from deploy.demo.ring.state import Account, doorbell
from schemas.events import Event
from schemas.ring import envelope
from schemas.ring.arrival import Arrival
from workers.dispatch.normalise import View, normalise

TYPES: Final = webhooks.TYPES
ACCOUNT: Final = "ava1.ring.account.ringhook-sample"
USER: Final = "ringhook-sample"


def sample(kind: str) -> Event:
    """Return an event of one of TYPES that happened just now; its id, account and user say that it is a sample."""
    now, device = datetime.now(UTC), doorbell()
    sent = webhooks.of_type(kind, Account(ACCOUNT, [device]), device, time.time_ns(), client_id="ringhook-sample")
    made = normalise(
        envelope.parse(sent.body, now),
        Arrival(sent.request_id, kind, now, USER),
        sent.body,
        ACCOUNT,
        View(linked=True, partner_user=USER),
    )
    return replace(made, id=f"ringhook-sample-{token_hex(8)}")
