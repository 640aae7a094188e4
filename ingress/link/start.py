"""`GET /ring/account-link?nonce=…&time=…`: Ring sends the user's browser here; it goes on to a sign-in, linking nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web

from ingress.errors import Stale
from ingress.link.attempt import Attempt, begin
from ingress.link.cookie import Cookie
from ingress.link.pages import redirect
from ingress.link.words import FUTURE, MALFORMED, STALE
from ingress.notices import Notices, described
from schemas.errors import Rejected
from schemas.records import Notice
from schemas.ring.nonce import Freshness, check_time, well_formed

_NOTICES: Final[Mapping[type[Rejected], Notice]] = {Stale: "redirect.stale", Rejected: "redirect.malformed"}


@dataclass(frozen=True, slots=True)
class Start:
    """Begins an attempt, ties it to this browser and sends it to `sign_in_url(attempt)`."""

    cookie: Cookie
    sign_in_url: Callable[[Attempt], str]
    notices: Notices
    clock: Callable[[], datetime]

    async def __call__(self, request: web.Request) -> web.Response:
        """Answer 303 without a page; raise Stale or Rejected, whose words say what to do."""
        try:
            nonce, time = accept(request.query.getall("nonce", ()), request.query.getall("time", ()), self.clock())
        except Rejected as error:
            self.notices.sample(_NOTICES[type(error)], lambda: described(request))
            raise
        self.notices.sample("redirect", lambda: described(request))
        attempt = begin(nonce, time)
        return self.cookie.write(redirect(self.sign_in_url(attempt)), attempt)


def accept(nonces: Sequence[str], times: Sequence[str], now: datetime) -> tuple[str, str]:
    """Return the nonce and its time as Ring sent it, or raise Stale, or Rejected for what cannot be from Ring."""
    if len(nonces) != 1 or len(times) != 1 or not well_formed(nonces[0]):
        raise Rejected(MALFORMED, reason="malformed")
    demand_fresh(times[0], now)
    return nonces[0], times[0]


def demand_fresh(time: str, now: datetime) -> None:
    """Raise Stale or Rejected where a nonce of this time cannot be used any more, or not yet."""
    match check_time(time, now):
        case Freshness.STALE:
            raise Stale(STALE, reason="stale")
        case Freshness.FUTURE:
            raise Rejected(FUTURE, reason="future")
        case Freshness.MALFORMED:
            raise Rejected(MALFORMED, reason="malformed")
        case Freshness.FRESH:
            return
