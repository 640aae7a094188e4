"""`GET /ring/account-link/finish?ticket=…`: the browser comes back from where its user signed in."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from ingress.link.attempt import Seals
from ingress.link.confirmation import confirmation
from ingress.link.cookie import Cookie
from ingress.link.start import demand_fresh


@dataclass(frozen=True, slots=True)
class Finish:
    """Shows the confirmation page where ticket and cookie are of one attempt; else Forbidden, and nothing happened."""

    seals: Seals
    cookie: Cookie
    clock: Callable[[], datetime]

    async def __call__(self, request: web.Request) -> web.Response:
        """Raise Forbidden, or Stale where the nonce has run out meanwhile."""
        attempt, now = self.cookie.read(request), self.clock()
        signed = self.seals.redeem(request.query.get("ticket", ""), attempt, now)
        demand_fresh(attempt.time, now)
        return confirmation(self.seals, attempt, signed.partner_user, signed.account_identifier, signed.known_as)
