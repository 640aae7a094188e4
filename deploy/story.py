"""Tells how far Ring has come with us: on the terminal of `up`, and at `GET /` of the internal port."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final

from aiohttp import web

from ingress.admin.gate import Gate
from ingress.errors import Answer
from ingress.route import guarded
from schemas.errors import Rejected, Unavailable
from schemas.findings.facts import Facts
from schemas.findings.story import CONNECTED, story

LOOK: Final = timedelta(seconds=2)
DEADLINE_S: Final = 6.0  # of `GET /`; the store's own patience ends before
AWAY: Final = "The store does not answer just now, so it cannot be said how far Ring has come. Try again in a moment."
REPEAT: Final = timedelta(minutes=5)  # until Ring's first signed webhook, in case nobody was looking


@dataclass(frozen=True)
class Story:
    """Puts in words what `gather` returns, or raises StoreUnavailable."""

    gather: Callable[[], Awaitable[Facts]]

    async def told(self) -> str:
        """Return the sentences for how things stand; raises StoreUnavailable."""
        return story(await self.gather())

    def telling(self, say: Callable[[str], None]) -> "Telling":
        """Return the sweep that says each new sentence."""
        return Telling(self, say)


@dataclass
class Telling:
    """A sweep: says the sentence when it changes, and again now and then until Ring has come all the way."""

    story: Story
    say: Callable[[str], None]
    name: str = "story"
    _last: tuple[str, datetime] | None = field(default=None, init=False)

    async def __call__(self, now: datetime) -> timedelta:
        """Look, and say what is new."""
        sentence = await self.story.told()
        if self._is_news(sentence, now):
            self._last = sentence, now
            self.say(sentence)
        return LOOK

    def _is_news(self, sentence: str, now: datetime) -> bool:
        """Once Ring has come all the way, findings that come and go are told now and then, and what stays the same not again."""
        if self._last is None:
            return True
        said, at = self._last
        connected = sentence.startswith(CONNECTED)
        if connected and said.startswith(CONNECTED):
            return sentence != said and now - at > REPEAT
        return sentence != said or (not connected and now - at > REPEAT)


def add_story(application: web.Application, told: Story, gate: Gate, host: str) -> None:
    """Add `GET /`: the same sentence, in plain text; it holds no secret and no account (decision 10).

    `host` is the address of the listener: on a loopback it asks for no token, elsewhere for the scope `read`.
    """
    admit = gate.demand_own_host if is_loopback(host) else gate.demand_reader

    async def show(request: web.Request) -> web.Response:
        admit(request.headers)
        return web.Response(text=f"{await told.told()}\n")

    application.router.add_get("/", guarded("story", show, deadline_s=DEADLINE_S, render=in_words))


def in_words(answer: Answer, error: BaseException) -> web.Response:
    """Return a refusal as a line of text."""
    words = AWAY if isinstance(error, Unavailable | TimeoutError) else answer.words
    return web.Response(status=answer.status, text=f"{error if isinstance(error, Rejected) else words}\n")


def is_loopback(host: str) -> bool:
    """Say whether only this machine can call an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
