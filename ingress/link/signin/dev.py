"""The sign-in of the first day: one passcode for everybody, under a banner that says so."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from aiohttp import web

from ingress.bounds import Room
from ingress.errors import TooOften
from ingress.link.attempt import Seals
from ingress.link.confirmation import confirmation
from ingress.link.cookie import Cookie
from ingress.link.form import posted
from ingress.link.pages import page
from ingress.link.site import demand_same_site
from ingress.link.start import demand_fresh
from ingress.link.words import TOO_MANY_TRIES, WRONG_PASSCODE
from ingress.settings import Dev

PATH: Final = "/ring/account-link/dev"
WRONG_PER_MINUTE: Final = 10
MINUTE: Final = timedelta(minutes=1)


@dataclass
class Tries:
    """Wrong passcodes of the last minute, from everybody together: guessing is slow whoever guesses."""

    wrong: list[datetime] = field(default_factory=list)

    def demand_few(self, now: datetime) -> None:
        """Raise TooOften where too many were wrong lately."""
        self.wrong = [at for at in self.wrong if now - at < MINUTE]
        if len(self.wrong) >= WRONG_PER_MINUTE:
            free = self.wrong[-WRONG_PER_MINUTE] + MINUTE - now
            raise TooOften(TOO_MANY_TRIES, retry_after=free.total_seconds(), reason="passcode_tries")

    def note(self, now: datetime) -> None:
        """Note one that was wrong."""
        self.wrong.append(now)


@dataclass(frozen=True, slots=True)
class Passcode:
    """Asks for the passcode, then shows the confirmation page like every other sign-in."""

    settings: Dev
    seals: Seals
    cookie: Cookie
    room: Room
    public_url: str
    clock: Callable[[], datetime]
    tries: Tries = field(default_factory=Tries)

    async def ask(self, request: web.Request) -> web.Response:
        """Show the form to a browser that began an attempt, or raise Forbidden."""
        self.cookie.read(request)
        return _asked("")

    async def check(self, request: web.Request) -> web.Response:
        """Raise Forbidden (site, cookie), Stale, TooOften; a wrong passcode asks again."""
        demand_same_site(request, self.public_url)
        attempt = self.cookie.read(request)
        demand_fresh(attempt.time, self.clock())
        given = await posted(request, "passcode", self.room)
        now = self.clock()
        self.tries.demand_few(now)  # only now: bodies that come all at once, long after their heads, are guesses at once
        if not hmac.compare_digest(given.encode(), self.settings.passcode.reveal().encode()):
            self.tries.note(now)
            return _asked(WRONG_PASSCODE)
        return confirmation(self.seals, attempt, self.settings.partner_user, None)


def _asked(wrong: str) -> web.Response:
    return page("passcode.html", status=403 if wrong else 200, title="Sign in", action=PATH, wrong=wrong)
