"""The sweep that moves links on: takes due rows under a lease and moves each on, many at a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Self

import structlog

from linker.budget import Budget
from linker.ledger import Moved
from linker.matching import Matching
from linker.metrics import CRASHES
from linker.ringapi import RingApi
from linker.rooms import LINES, PARALLEL, rooms
from linker.rows import ASIDE, STRANGERS, Attempt, Grant
from linker.schedule import CODE_LAST
from linker.steps import MARGIN_OF_LEASE, Notices, Steps
from linker.store import Due, Store
from linker.vault import Vault
from schemas.errors import Unavailable
from schemas.records import App
from workers.bus.contract import Stop
from workers.runtime import sweep
from workers.runtime.clock import steady
from workers.runtime.sealing import CodeOpener
from workers.runtime.secrets import Secret
from workers.runtime.supervise import FATAL

log = structlog.get_logger()
GATHER: Final = 0.02  # seconds in which what comes due, or what ends, waits for the rest: a round costs more than a row
HELD: Final = 0.05  # seconds between two looks where what is due has no room, or is held
EXPIRES: Final = 500  # strangers' codes that one transaction ends
IDLE: Final = 1.0  # seconds between two looks where nothing is due
SPARE: Final = 10.0  # seconds a lease is longer than a call and what must be written after it


@dataclass
class Advance:
    """A Sweep and, by `run`, a worker. Its steps live between `async with`; `wake` is set by intake and by each finished step."""

    store: Store
    ring: RingApi
    vault: Vault
    opener: CodeOpener
    keys: Mapping[App, Secret]
    budget: Budget
    owner: str
    notices: Notices
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    moved: asyncio.Event = field(default_factory=asyncio.Event)  # wakes announce: an account may have changed
    alone: bool = False  # no other linker can live: what a former one held is free at once, not when its lease ends
    parallel: int = PARALLEL
    clock: Callable[[], float] = time.time
    name: str = "linker.advance"

    def __post_init__(self) -> None:
        self._renewals: dict[str, int] = {}  # of the rows whose steps are under way
        self._steps = Steps(
            self.store, self.ring, self.vault, self.opener, self.budget, self.notices, self.clock, renewals=self._renewals
        )
        self._match = Matching(self.store, self.opener, self.keys, self.notices, self.clock)
        self._length = self.ring.timeout + MARGIN_OF_LEASE + SPARE
        self._length_aside = self.ring.longest + MARGIN_OF_LEASE + SPARE
        self._due = Due({}, None)
        self._running: set[asyncio.Task[None]] = set()
        self._rooms, self._matching = rooms(self.parallel), 0

    async def run(self, stop: Stop) -> None:
        """Advance links until `stop`; what is under way then is finished."""
        async with self:
            await sweep.run(self, stop, wake=self.wake)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.budget)
            self._group = await stack.enter_async_context(asyncio.TaskGroup())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.__aexit__(*error)  # type: ignore[arg-type] # handed through as it came

    async def __call__(self, now: datetime) -> timedelta:
        """Start what is due and fits, wait a moment for it, and say when to come again."""
        if self.alone:
            await self.store.reclaim()
            self.alone = False  # from now on we hold rows ourselves
        if not await self._start(now.timestamp()):
            return timedelta(seconds=self._until_due(now.timestamp()))
        if self._running:  # all may have ended while other lines were asked for
            await asyncio.wait(self._running, timeout=GATHER)
        return timedelta(0)

    async def _start(self, now: float) -> int:
        """Start a task for each row taken; return how many."""
        self._due = await self.store.next_due()
        many = sum([await self._start_line(line, now) for line in LINES])
        for attempt in (attempts := await self._take_attempts(now)):
            self._matching += 1
            self._spawn(partial(self._match, attempt), f"match {attempt.attempt}", self._matched)
        return many + len(attempts)

    async def _start_line(self, line: int, now: float) -> int:
        """Start what is due in one line and has room there; strangers' codes that are too old are ended."""
        if not _due(self._due.lines.get(line), now):
            return 0
        if line == STRANGERS and _due(self._due.lines[line], now - CODE_LAST):
            await self._expire_strangers(now)
        if (room := self._rooms.free(line)) <= 0:
            return 0
        began, length = steady(), self._length_aside if line == ASIDE else self._length
        grants = await self.store.take_grants(owner=self.owner, now=now, length=length, limit=room, queue=line)
        free = [grant for grant in grants if not self._goes_on(grant)]
        for grant in free:
            seat = self._rooms.enter(line)
            step = partial(self._steps, grant, began + length, seat.moves)
            self._renewals[grant.code_hash] = 0
            self._spawn(step, f"{grant.stage} {grant.code_hash[:12]}", partial(self._left, grant, seat.leave))
        return len(free)

    def _goes_on(self, grant: Grant) -> bool:
        """Say whether a row's step is under way here: it outlived its lease, as the store was away, and goes on alone."""
        if grant.code_hash not in self._renewals:
            return False
        self._renewals[grant.code_hash] += 1
        return True

    def _left(self, grant: Grant, leave: Callable[[], None]) -> None:
        del self._renewals[grant.code_hash]
        leave()

    async def _expire_strangers(self, now: float) -> None:
        if many := await self.store.expire_strangers(now, EXPIRES):
            log.info("strangers.expired", codes=many)

    async def _take_attempts(self, now: float) -> list[Attempt]:
        """Take sign-ins that look for their grants: that asks nothing of Ring, and waits for no step that does."""
        room = self.parallel - self._matching
        if room <= 0 or not _due(self._due.attempts, now):
            return []
        return await self.store.take_attempts(owner=self.owner, now=now, length=self._length, limit=room)

    def _spawn(self, step: Callable[[], Awaitable[None]], name: str, leave: Callable[[], None]) -> None:
        task = self._group.create_task(self._guard(step, name), name=name)
        self._running.add(task)
        task.add_done_callback(lambda task: self._finished(task, leave))

    async def _guard(self, step: Callable[[], Awaitable[None]], name: str) -> None:
        """Leave a row to its lease's end where another linker moved it, the store is away, or the step has a bug.

        A bug ends no other step: of a code that was sent, the answer would be lost with it. FATAL errors end them all.
        """
        try:
            await step()
        except FATAL:
            raise
        except Moved:
            log.info("link.superseded", step=name)
        except Unavailable as error:
            log.warning("link.delayed", step=name, why=str(error))
        except Exception:
            CRASHES.inc()
            log.exception("link.crashed", step=name)

    def _matched(self) -> None:
        self._matching -= 1

    def _finished(self, task: asyncio.Task[None], leave: Callable[[], None]) -> None:
        self._running.discard(task)
        leave()
        self.moved.set()
        asyncio.get_running_loop().call_later(GATHER, self.wake.set)

    def _until_due(self, now: float) -> float:
        """Return the seconds to sleep: until the next row is due, at most IDLE, and a moment where all due rows are held."""
        due = self._due.first()
        return IDLE if due is None else min(IDLE, max(HELD, due - now))


def _due(first: float | None, now: float) -> bool:
    return first is not None and first <= now
