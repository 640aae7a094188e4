"""The sweep that moves links on: takes due rows under a lease and moves each on, many at a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Self

import structlog

from linker.budget import Budget
from linker.ledger import Moved
from linker.matching import Matching
from linker.ringapi import RingApi
from linker.rows import ASIDE, Attempt, Grant
from linker.schedule import CODE_LAST
from linker.steps import MARGIN_OF_LEASE, Notices, Steps
from linker.store import Due, Store
from linker.vault import Vault
from schemas.errors import Unavailable
from schemas.records import App
from workers.bus.contract import Stop
from workers.runtime import sweep
from workers.runtime.lease import steady
from workers.runtime.sealing import CodeOpener
from workers.runtime.secrets import Secret

log = structlog.get_logger()
PARALLEL: Final = 64
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
        self._steps = Steps(self.store, self.ring, self.vault, self.opener, self.budget, self.notices, self.clock)
        self._match = Matching(self.store, self.opener, self.keys, self.notices, self.clock)
        self._length = self.ring.timeout + MARGIN_OF_LEASE + SPARE
        self._length_aside = self.ring.longest + MARGIN_OF_LEASE + SPARE
        self._due = Due(None, None, None, None)
        self._running: set[asyncio.Task[None]] = set()
        self._aside: set[asyncio.Task[None]] = set()  # of those, the ones that only keep tokens alive
        self._strange: set[asyncio.Task[None]] = set()  # and those of strangers' codes

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
        await asyncio.wait(self._running, timeout=GATHER)
        return timedelta(0)

    async def _start(self, now: float) -> int:
        """Start a task for each row taken; return how many."""
        self._due = await self.store.next_due()
        room = self.parallel - len(self._running)
        began = steady()
        # Grants first: a code dies in a minute and a sign-in in ten, and a look for a grant that is not known yet is wasted.
        grants = await self._take_links(now, room)
        attempts = await self._take_attempts(now, room - len(grants))
        strangers = await self._take_strangers(now, room - len(attempts) - len(grants))
        kept = await self._take_aside(now, room - len(attempts) - len(grants) - len(strangers))
        for attempt in attempts:
            self._spawn(self._match(attempt), f"match {attempt.attempt}")
        for many, length, among in (
            (grants, self._length, None),
            (strangers, self._length, self._strange),
            (kept, self._length_aside, self._aside),
        ):
            for grant in many:
                self._spawn(self._steps(grant, began + length), f"{grant.stage} {grant.code_hash[:12]}", among)
        return len(attempts) + len(grants) + len(strangers) + len(kept)

    async def _take_links(self, now: float, room: int) -> list[Grant]:
        if room <= 0 or not _due(self._due.links, now):
            return []
        return await self.store.take_grants(owner=self.owner, now=now, length=self._length, limit=room, queue=0)

    async def _take_attempts(self, now: float, room: int) -> list[Attempt]:
        if room <= 0 or not _due(self._due.attempts, now):
            return []
        return await self.store.take_attempts(owner=self.owner, now=now, length=self._length, limit=room)

    async def _take_aside(self, now: float, room: int) -> list[Grant]:
        """Take what only keeps tokens alive, never more than half of the room: links find the other half free."""
        limit = min(room, max(1, self.parallel // 2) - len(self._aside))
        if limit <= 0 or not _due(self._due.aside, now):
            return []
        return await self.store.take_grants(owner=self.owner, now=now, length=self._length_aside, limit=limit, queue=ASIDE)

    async def _take_strangers(self, now: float, room: int) -> list[Grant]:
        """Take strangers' codes never more than a quarter of the room; those too old are ended."""
        if not _due(self._due.strangers, now):
            return []
        if _due(self._due.strangers, now - CODE_LAST) and (many := await self.store.expire_strangers(now, EXPIRES)):
            log.info("strangers.expired", codes=many)
        limit = min(room, self.parallel // 4 - len(self._strange))  # a few a second get a place at Ring
        if limit <= 0:
            return []
        return await self.store.take_grants(owner=self.owner, now=now, length=self._length, limit=limit, queue=1)

    def _spawn(self, step: Awaitable[None], name: str, among: set[asyncio.Task[None]] | None = None) -> None:
        task = self._group.create_task(self._guard(step, name), name=name)
        self._running.add(task)
        if among is not None:
            among.add(task)
        task.add_done_callback(self._finished)

    async def _guard(self, step: Awaitable[None], name: str) -> None:
        """Leave a row to its lease's end where another linker moved it or the store is away; all else is a bug."""
        try:
            await step
        except Moved:
            log.info("link.superseded", step=name)
        except Unavailable as error:
            log.warning("link.delayed", step=name, why=str(error))

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._aside.discard(task)
        self._strange.discard(task)
        self.moved.set()
        asyncio.get_running_loop().call_later(GATHER, self.wake.set)

    def _until_due(self, now: float) -> float:
        """Return the seconds to sleep: until the next row is due, at most IDLE, and a moment where all due rows are held."""
        due = self._due.first()
        return IDLE if due is None else min(IDLE, max(HELD, due - now))


def _due(first: float | None, now: float) -> bool:
    return first is not None and first <= now
