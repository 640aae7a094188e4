"""A bus and a store in which dispatch runs, and what tests put in and read out, on both pairs of engines."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import uuid4

import msgspec
from prometheus_client import REGISTRY
from sqlalchemy import func, select

from schemas import cloudevents, topics
from schemas.events import Event
from schemas.records import CLOCKS_APART, AccountChanged, LinkState
from schemas.ring import arrival
from schemas.ring.peek import peek
from workers.bus.contract import Bus, Held, Lane, Record, Stop
from workers.bus.partition import partition
from workers.dispatch.job import Dispatch
from workers.dispatch.parked import Bounds
from workers.dispatch.route import Route, Routes
from workers.runtime.database import Database
from workers.runtime.drive import Drive
from workers.runtime.metrics import RECORDS
from workers.runtime.waiting import LIVE, lines

NOW = datetime(2026, 2, 13, 14, tzinfo=UTC)
READ = (topics.WEBHOOK_RECEIVED, topics.ACCOUNT_CHANGED)
NAMESPACE = "test"  # of the stop table
END = b"end "  # and what makes it one reader's own
KEYS = [
    next(key for n in count() if partition(key := b"%d" % n, topics.PARTITIONS) == index) for index in range(topics.PARTITIONS)
]
USED = (*topics.READ_BY_JOBS, topics.EVENT_RECORDED, *(topic.dead for topic in READ))
AT_ONCE = Bounds(wait=timedelta(0))  # nothing waits for a link


def body(
    request_id: str, *, account: str | None = "A", device: str = "D", kind: str = "motion_detected", at: datetime = NOW
) -> bytes:
    meta = {"version": "1.1", "time": at.isoformat(), "request_id": request_id, "account_id": account}
    data = {"id": f"{device}-{kind}", "type": kind, "attributes": {"source": device, "source_type": "devices"}}
    return json.dumps({"meta": meta, "data": data}).encode()


def counted(kind: str, outcome: str) -> float:
    labels = {"type": kind, "outcome": outcome}
    return REGISTRY.get_sample_value("ringhook_events_total", labels) or 0.0


def received(raw: bytes, at: datetime = NOW, *, app: str = "first") -> Record:
    seen = peek(raw)
    return Record(topic="webhook.received", key=seen.key, value=raw, headers=arrival.headers(seen, at, app))


def changed(
    account: str,
    version: int,
    *,
    user: str | None = "u",
    linked: bool = True,
    state: LinkState = "removed",
    at: datetime = NOW,
    apps: tuple[str, ...] = (),
    generation: int = 1,
    since: datetime | None = None,
) -> Record:
    code = datetime.fromtimestamp(generation / 1_000_000, UTC)
    change = AccountChanged(
        account=account,
        version=version,
        generation=generation,
        state="completed" if linked else state,
        linked=linked,
        partner_user=user,
        at=at,
        since=(since or code - timedelta(seconds=CLOCKS_APART)) if linked else None,
        apps=apps,
    )
    return Record(topic="account.changed", key=account.encode(), value=msgspec.json.encode(change))


@dataclass
class House:
    """A bus and a store; opening the bus again is a restart."""

    open: Callable[[], AbstractAsyncContextManager[Bus]]
    database: Database
    bounds: Bounds = field(default_factory=lambda: AT_ONCE)
    clock: Callable[[], datetime] = lambda: NOW
    routes: Sequence[Route] = ()

    async def tell(self, *stages: Sequence[Record]) -> tuple[list[Event], list[tuple[str, str]]]:
        """Publish stage after stage, each once the one before is dispatched; return events, and the dead with their reasons."""
        async with self.open() as bus:
            async with self.running(bus) as job:
                for stage in stages:
                    goal = finished() + len(stage)
                    await bus.publish(stage)
                    await dispatched(bus, job, goal)
            return await recorded(bus)

    @asynccontextmanager
    async def running(self, bus: Bus) -> AsyncIterator[Dispatch]:
        stop, job = asyncio.Event(), Dispatch(NAMESPACE, self.bounds, Routes(self.routes))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(Drive(bus, job, self.database, clock=self.clock).run(stop))
            yield job
            stop.set()

    async def emptied(self) -> None:
        """Return once something has waited, and nothing does any more."""
        for some in (True, False):
            async with asyncio.timeout(60):
                while (await self.waiting() > 0) is not some:  # noqa: ASYNC110 - the store tells nobody
                    await asyncio.sleep(0.02)

    async def waiting(self) -> int:
        """Return how many lines of waiting events there are."""
        async with self.database.read() as connection:
            return await connection.scalar(select(func.count()).select_from(lines).where(LIVE)) or 0


def finished() -> float:
    return sum(RECORDS.labels(job="dispatch", outcome=outcome)._value.get() for outcome in ("done", "rejected"))


async def dispatched(bus: Bus, job: Dispatch, goal: float) -> None:
    """Return once so many records are finished in all, and none is left: none published again, none that may go now."""
    async with asyncio.timeout(60):
        while finished() < goal or (await bus.lag("dispatch", Dispatch.topics)).records or job._hasty:  # noqa: ASYNC110 - the bus tells nobody
            await asyncio.sleep(0.02)


async def everything(bus: Bus, name: str) -> list[Held]:
    """Return what a topic holds, read by a group of the test's own to an end that it publishes on each lane."""
    stop, found, end = asyncio.Event(), list[Held](), END + uuid4().bytes
    await bus.publish([Record(topic=name, key=key, value=end) for key in KEYS])

    async def work(lane: Lane, told: Stop) -> None:
        await lane.open()
        while not told.is_set():
            found.extend(await lane.fetch(1000, 5))
            if sum(held.value == end for held in found) == topics.PARTITIONS:
                stop.set()

    async with asyncio.timeout(60):
        await bus.consume([name], f"reader.{name}.{id(stop)}", work, stop, atomic=False)
    own = [held for held in found if not held.value.startswith(END)]
    return sorted(own, key=lambda held: (held.index, held.offset))


async def recorded(bus: Bus) -> tuple[list[Event], list[tuple[str, str]]]:
    events = [cloudevents.read(held.headers, held.value) for held in await everything(bus, "event.recorded")]
    dead = await everything(bus, "webhook.received.dead")
    return events, [(peek(held.value).request_id, (held.header("dead_reason") or b"").decode()) for held in dead]
