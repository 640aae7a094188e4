"""What of a webhook the linker must know: a removal, or how a subscription stands. Pure."""

from collections.abc import Sequence
from typing import Final

import msgspec

from schemas.records import AccountTold, SubscriptionTold
from schemas.ring import envelope
from schemas.ring.envelope import Envelope
from schemas.topics import ACCOUNT_TOLD
from workers.bus.contract import Record
from workers.dispatch.reading import Webhook

_PREFIX: Final = "subscription_"
_STATES: Final = {"activated": "active", "deactivated": "inactive"}


def told(webhook: Webhook, account: str, *, foreign: bool = False) -> Sequence[Record]:
    """Return the record of `account.told` that a webhook becomes beside its event; most become none.

    A foreign one may tell of the removal of its own app, and nothing else.
    """
    said = webhook.envelope
    removed, subscription = said.type == envelope.REMOVED, None if foreign else subscribed(said)
    if not removed and subscription is None:
        return ()
    said_of = AccountTold(account=account, at=webhook.at, app=webhook.arrival.app, removed=removed, subscription=subscription)
    return (Record(topic=ACCOUNT_TOLD.name, key=account.encode(), value=msgspec.json.encode(said_of)),)


def subscribed(said: Envelope) -> SubscriptionTold | None:
    """Return how an account's subscription stands by an event that tells of it."""
    if said.subscription is None or not said.type.startswith(_PREFIX):
        return None
    word, known = said.type.removeprefix(_PREFIX), said.subscription
    return SubscriptionTold(state=_STATES.get(word, word), plan_id=known.plan, kind=known.kind, expires_at=known.expires_at)
