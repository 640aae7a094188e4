"""`POST /ring/account-link/confirm`: the one request that links. Everything before it only signed somebody in."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
from aiohttp import web

from ingress.bounds import Room
from ingress.link.attempt import Attempt, Seals, Signed
from ingress.link.cookie import Cookie
from ingress.link.form import posted
from ingress.link.pages import redirect
from ingress.link.site import demand_same_site
from ingress.link.start import demand_fresh
from ingress.ring.code import Sealer
from schemas import topics
from schemas.records import LinkRequested, LinkSecret
from workers.bus.contract import Publisher, Record

PROGRESS: Final = "/ring/account-link/progress"


@dataclass(frozen=True, slots=True)
class Confirm:
    """Publishes `link.requested` for what this browser was shown, and nothing else."""

    publisher: Publisher
    sealer: Sealer
    seals: Seals
    cookie: Cookie
    room: Room
    public_url: str
    clock: Callable[[], datetime]

    async def __call__(self, request: web.Request) -> web.Response:
        """Raise Forbidden (site, cookie, claim), Stale (nonce), BusUnavailable."""
        demand_same_site(request, self.public_url)
        attempt, now = self.cookie.read(request), self.clock()
        demand_fresh(attempt.time, now)
        signed = self.seals.confirmed(await posted(request, "claim", self.room), attempt, now)
        await self.publisher.publish((requested(attempt, signed, self.sealer, now),))
        return self.cookie.write(redirect(PROGRESS), msgspec.structs.replace(attempt, partner_user=signed.partner_user))


def requested(attempt: Attempt, signed: Signed, sealer: Sealer, now: datetime) -> Record:
    """Return the record that asks the linker for the link; nonce and identifier are for its eyes only."""
    secret = LinkSecret(nonce=attempt.nonce, account_identifier=signed.account_identifier)
    value = LinkRequested(
        attempt=attempt.id,
        secret=sealer.seal(msgspec.json.encode(secret)),
        time=attempt.time,
        partner_user=signed.partner_user,
        requested_at=now,
    )
    return Record(topic=topics.LINK_REQUESTED.name, key=attempt.id.encode(), value=msgspec.json.encode(value))
