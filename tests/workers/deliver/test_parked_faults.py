"""Deliver killed and failed at every await of its lane while keys wait in rows, on both stores; the next session ends the story.

The broker here has one lane and one owner; real buses meet the same code in tests/workers/deliver/test_parked.py.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import cast

import msgspec
import pytest
from sqlalchemy import or_, select
from structlog.testing import capture_logs

from tests.workers.deliver.support import SECRET, Nobody, Sink, destination, event, header
from tests.workers.faults import Point, Strike, Watched, calm, fail, kill, outside
from workers.bus.contract import Bus, Held, Lane, Record, Revoked, Start, Stop, Work
from workers.deliver import session
from workers.deliver.job import Deliver
from workers.deliver.policy import Standard
from workers.deliver.session import TOPIC
from workers.deliver.tables import tries
from workers.deliver.untold import untold
from workers.deliver.window import noted
from workers.runtime.database import Database, connect
from workers.runtime.lane import lanes
from workers.runtime.secrets import Secret
from workers.runtime.waiting import STEPPED, lines, waiting

NOW = datetime(2026, 2, 13, 14, tzinfo=UTC)
# A's first fails for a while and its third once; B's first is refused and buried; C is well.
STORY = tuple(event(f"{key}{turn}", device=key) for turn in range(4) for key in "ABC")
POLICY = Standard(schedule=(0.02,) * 400)


class Broker:
    """One lane of one group, and what was put on other topics."""

    def __init__(self) -> None:
        self.log = [Held(**msgspec.structs.asdict(one), index=0, offset=at, time=NOW) for at, one in enumerate(STORY)]
        self.next, self.note, self.out = 0, b"", list[Record]()

    async def publish(self, records: Sequence[Record]) -> None:
        self.out += records

    @property
    def dead(self) -> list[str]:
        letters = (cast("Held", record) for record in self.out if record.topic.endswith(".dead"))
        return [header(letter, "ce_id") for letter in letters]


class Member:
    """A process's connection to the broker."""

    def __init__(self, broker: Broker, point: Point) -> None:
        self._broker, self._point = broker, point
        self.publish = broker.publish

    async def consume(
        self, topics: Collection[str], group: str, work: Work, stop: Stop, *, atomic: bool, start: object, grace: float
    ) -> None:
        del start, grace
        assert (atomic, [*topics], group) == (False, [TOPIC], "delivery.alerts")
        while not stop.is_set():
            with suppress(Revoked):
                await work(SimLane(self._broker, self._point), stop)


class SimLane(Lane):
    def __init__(self, broker: Broker, point: Point) -> None:
        self.index, self._broker, self._point, self._at = 0, broker, point, 0

    async def open(self) -> Start:
        await self._point("open.before")
        start = Start(next={TOPIC: self._broker.next}, note=self._broker.note, gaps={})
        self._at = self._broker.next
        await self._point("open.after")
        return start

    async def fetch(self, limit: int, wait: float) -> Sequence[Held]:  # noqa: ARG002 - a few at a time make several steps
        await self._point("fetch")
        new = self._broker.log[self._at : self._at + 3]
        self._at += len(new)
        await asyncio.sleep(0.002)
        return new

    async def commit(self, next: Mapping[str, int], note: bytes, outputs: Sequence[Record] = ()) -> None:  # noqa: A002 - the seam
        assert not outputs
        await self._point("commit.before")
        self._broker.next, self._broker.note = next[TOPIC], note
        await self._point("commit.after")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(session, "PARK_AFTER", timedelta(seconds=0.01))
    monkeypatch.setattr(session, "PACE_S", 0.01)
    monkeypatch.setattr(session, "IDLE_WAIT_S", 0.01)
    with capture_logs():
        yield


@pytest.fixture
async def rows(store_url: str) -> AsyncIterator[Database]:
    async with connect(store_url) as database:
        await database.create_all()
        yield database


@asynccontextmanager
async def running(broker: Broker, database: Database, sink: Sink, point: Point = calm) -> AsyncIterator["asyncio.Task[None]"]:
    stop = asyncio.Event()
    watched, bus = cast("Database", Watched(database, point)), cast("Bus", Member(broker, point))
    worker = Deliver(
        bus, watched, destination(sink.url, concurrency=4), [Secret(SECRET)], Nobody(), namespace="test", policy=POLICY
    )
    task = asyncio.create_task(worker.run(stop))
    try:
        yield task
    finally:
        stop.set()
        with suppress(BaseExceptionGroup):  # of Killed
            await task


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not met():  # noqa: ASYNC110 - what is met is no one event
            await asyncio.sleep(0.002)


class World:
    """A fresh broker and sink; the store is wiped in between."""

    def __init__(self, sink: Sink) -> None:
        self.broker, self.sink = Broker(), sink
        sink.ids.clear()
        sink.answer = self._answer
        self.accepted: list[str] = []

    def _answer(self, identity: str, number: int) -> int:
        if identity == "B0":
            return 422
        if (identity == "A0" and number <= 8) or (identity == "A2" and number <= 1):
            return 500
        self.accepted.append(identity)
        return 200

    @property
    def over(self) -> bool:
        return {*self.accepted, *self.broker.dead} == {f"{key}{turn}" for turn in range(4) for key in "ABC"}

    async def finished(self, database: Database) -> None:
        """Wait until nothing is left to do."""
        async with asyncio.timeout(20):
            while not (self.over and self.broker.next == len(STORY) and not await self.waits(database)):  # noqa: ASYNC110 -- many things
                await asyncio.sleep(0.005)

    async def waits(self, database: Database) -> bool:
        """Say whether rows are left, also by a step that the lane's note does not make true."""
        true = noted(self.broker.note) or 0
        left = or_(waiting.c.release_n.is_(None), waiting.c.release_n > true)
        async with database.read() as connection:
            return (await connection.execute(select(waiting.c.key).where(left))).first() is not None


async def right(world: World, database: Database, kills: int) -> None:
    """Nothing lost, order kept, hardly anything twice, and the store says the same."""
    order = defaultdict(list)
    for identity in dict.fromkeys(world.accepted):
        order[identity[0]].append(identity)
    assert order == {"A": ["A0", "A1", "A2", "A3"], "B": ["B1", "B2", "B3"], "C": ["C0", "C1", "C2", "C3"]}
    assert {*world.broker.dead} == {"B0"}
    assert len(world.broker.dead) <= 1 + kills
    assert max(Counter(world.accepted).values()) <= 1 + kills
    n = noted(world.broker.note)
    assert n is not None
    async with database.read() as connection:
        for table in STEPPED:
            assert all(max(row.n, row.release_n or 0) <= n for row in await connection.execute(select(table)))
        assert not (await connection.execute(select(lines.c.key).where(lines.c.release_n.is_(None)))).all()
        assert len((await connection.execute(select(tries))).all()) <= len(
            "ABC"
        )  # of the last step's lines: the next deletes them
        (lane,) = await connection.execute(select(lanes))
    assert 0 <= n - lane.n <= 1


async def wiped(database: Database) -> None:
    async with database.begin() as connection:
        for table in (*STEPPED, tries, untold, lanes):
            await connection.execute(table.delete())


async def points(database: Database, sink: Sink) -> list[str]:
    """Return the points that an undisturbed run passes until all is done."""
    world, names = World(sink), list[str]()

    async def note(name: str) -> None:
        if not (world.over and world.broker.next == len(STORY)):
            names.append(name)

    async with running(world.broker, database, sink, note):
        await world.finished(database)
    await right(world, database, 0)
    await wiped(database)
    return names


async def moments(database: Database, sink: Sink) -> list[int]:
    """Return at which points to strike: half of them on each store; of fetches and within transactions (rollbacks) fewer."""
    names = await points(database, sink)
    assert {"store.commit.after", "commit.after", "store.read", "open.after"} <= {*names}
    turn = 0 if database.dialect == "sqlite" else 1
    return [at for at, name in enumerate(names, 1) if at % (6 if name == "fetch" or not outside(name) else 2) == turn]


async def test_killed_anywhere_the_next_process_ends_the_story(rows: Database, sink: Sink) -> None:
    for at in await moments(rows, sink):
        world = World(sink)
        async with running(world.broker, rows, sink, Strike(at, kill)) as task:
            await until(lambda: task.done() or world.over)  # noqa: B023 - called in this turn only
        async with running(world.broker, rows, sink):
            await world.finished(rows)
        await right(world, rows, 1)
        await wiped(rows)


async def test_failed_anywhere_the_same_process_ends_the_story_and_sends_nothing_again(rows: Database, sink: Sink) -> None:
    for at in await moments(rows, sink):
        world = World(sink)
        async with running(world.broker, rows, sink, Strike(at, fail)):
            await world.finished(rows)
        await right(world, rows, 0)
        await wiped(rows)
