"""Reads the configuration anew while a role runs, when a signal or an operator asks, and takes over what may change then."""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
import structlog

from deploy import engines
from deploy.settings import Settings
from deploy.settings.lists import Service
from schemas.errors import Misconfigured, Rejected, Unavailable
from schemas.topics import declared, letters
from workers.bus.contract import Bus
from workers.deliver.fleet import Change, Fleet
from workers.runtime import reloads
from workers.runtime.database import Database
from workers.runtime.reloads import Told, Wish

log = structlog.get_logger()
LOOK: Final = timedelta(seconds=1)
TELL_S: Final = 5.0
LEAVE_S: Final = 2.0
EARLIER_S: Final = 60.0  # than our start a wish may have come and not be met yet: two hosts' clocks, and we read before we ran
LATER: Final = ("routes", "tokens")  # what changes at the next start only, of what can be compared


class Outcome(Change, frozen=True):
    """What came of it in one process. `later` changed as well, and takes effect at its next start; `problem`: nothing changed."""

    later: tuple[str, ...] = ()
    problem: str | None = None


@dataclass
class Known:
    """Destinations and topics of dead letters, as `/v1` goes by them; a topic stays, since letters lie there."""

    destinations: set[str]
    dead: set[str]

    def learn(self, chosen: Settings) -> None:
        """Go by what is configured now."""
        self.destinations.clear()
        self.destinations.update(chosen.destinations)
        self.dead.update(letters(chosen.topics))


@dataclass
class Reload:
    """Sweep: looks every second whether somebody wishes it, and says every five that this process is there."""

    read: Callable[[], Settings]
    chosen: Settings
    bus: Bus
    database: Database
    known: Known
    fleet: Fleet[Service] | None  # in roles that deliver
    copy: str
    began: datetime
    asked: asyncio.Event = field(default_factory=asyncio.Event)  # by a signal
    name: str = "reload"
    _wish: str | None = None  # the latest that was met
    _outcome: Outcome = field(default_factory=Outcome)
    _told_at: float = 0.0

    async def __call__(self, now: datetime) -> timedelta:
        """Meet a wish, if there is a new one. Raises Unavailable: it is met later."""
        async with self.database.read() as connection:
            wish = await reloads.latest(connection)
        fresh = wish if self._is_new(wish) else None
        if not fresh:
            self._wish = wish.id if wish else ""
        if now.timestamp() - self._told_at >= TELL_S:
            await self._tell(now)  # that this process is there, whatever keeps it from reading just now
        if fresh or self.asked.is_set():
            self._outcome, later = await self._seen_through(fresh, now)
            self._wish = fresh.id if fresh else self._wish
            self.asked.clear()
            await self._tell(later)
        return LOOK

    def _is_new(self, wish: Wish | None) -> bool:
        if wish is None or wish.id == self._wish:
            return False
        return self._wish is not None or wish.at > self.began.timestamp() - EARLIER_S

    async def _seen_through(self, wish: Wish | None, now: datetime) -> tuple[Outcome, datetime]:
        """Meet a wish, however long that takes; return what came of it, and when. Meanwhile tell that this process is at it."""
        clock = asyncio.get_running_loop().time
        began, meeting = clock(), asyncio.ensure_future(self._met(wish))
        try:
            while not (await asyncio.wait([meeting], timeout=TELL_S))[0]:
                await self._tell_begun(wish, now + timedelta(seconds=clock() - began))
        finally:
            meeting.cancel()
        return meeting.result(), now + timedelta(seconds=clock() - began)

    async def _tell_begun(self, wish: Wish | None, now: datetime) -> None:
        with suppress(Unavailable):  # the next time
            await self._tell(now, begun=wish.id if wish else "")

    async def _met(self, wish: Wish | None) -> Outcome:
        try:
            outcome = await self._taken(wish.drop if wish else ())
        except (Misconfigured, Rejected) as error:
            outcome = Outcome(problem=str(error))
        facts = {name: value for name, value in msgspec.to_builtins(outcome).items() if value}
        say = log.error if outcome.problem or outcome.kept else log.info
        say("configuration.read_anew", by=wish.by if wish else "SIGHUP", **facts)
        return outcome

    async def _taken(self, drop: Collection[str]) -> Outcome:
        """Take over what is configured now, all of it or nothing. Raises Misconfigured, Rejected, Unavailable."""
        chosen = await asyncio.to_thread(self.read)
        await engines.check_topics(chosen)
        await self.bus.declare(declared(chosen.destinations))
        change = await self.fleet.become(chosen.services or (), drop) if self.fleet else Change()
        self.known.learn(chosen)
        later = tuple(name for name in LATER if getattr(chosen, name) != getattr(self.chosen, name))
        return msgspec.convert(msgspec.to_builtins(change) | {"later": later}, Outcome)

    async def _tell(self, now: datetime, *, begun: str = "") -> None:
        """Tell what came of the latest wish that was met; `begun`: another that it is at."""
        said: dict[str, Any] = msgspec.to_builtins(self._outcome) | ({"begun": begun} if begun else {})
        async with self.database.begin() as connection:
            await reloads.tell(connection, Told(self.copy, self.chosen.role, self._wish or "", said, now.timestamp()))
        self._told_at = now.timestamp()

    async def leave(self) -> None:
        """Let nobody wait for this process, which ends; where the store is away they wait for a quarter of a minute."""
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(LEAVE_S), self.database.begin() as connection:
                await reloads.leave(connection, self.copy)
