"""Dispatch killed, frozen and failed at every await of its lane, on both stores, beside a second member that takes over.

The broker here has the guards of lane_model.py and nothing else: one owner, generations, positions, note and outputs that
become visible together. Real buses meet the same job in tests/workers/dispatch/test_job.py.
"""

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import msgspec
import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from schemas import cloudevents
from schemas.records import AccountChanged
from schemas.ring import arrival
from schemas.ring.peek import peek
from tests.workers.faults import Killed, Point, Strike, Watched, calm, fail, kill, outside
from workers.bus.contract import Bus, Held, Lane, Record, Revoked, Start, Stop, Work
from workers.dispatch.job import Dispatch
from workers.dispatch.parked import Bounds
from workers.dispatch.tables import STEPPED, claims
from workers.runtime import stops
from workers.runtime.database import Database, connect
from workers.runtime.drive import Drive
from workers.runtime.jobs import Step
from workers.runtime.lane import lanes
from workers.runtime.waiting import lines, waiting

NOW = datetime(2026, 2, 13, 14, tzinfo=UTC)


def webhook(
    request_id: str, *, account: str | None = "A", device: str = "D", kind: str = "motion_detected", app: str = "first"
) -> Record:
    meta = {"version": "1.1", "time": "2026-02-13T13:39:57Z", "request_id": request_id, "account_id": account}
    data = {"id": f"{device}-{request_id}", "type": kind, "attributes": {"source": device, "source_type": "devices"}}
    body = json.dumps({"meta": meta, "data": data}).encode()
    seen = peek(body)
    return Record(topic="webhook.received", key=seen.key, value=body, headers=arrival.headers(seen, NOW, app))


def linked(account: str, version: int, user: str = "u") -> Record:
    change = AccountChanged(
        account=account, version=version, generation=1, state="completed", linked=True, partner_user=user, at=NOW, apps=("first",)
    )
    return Record(topic="account.changed", key=account.encode(), value=msgspec.json.encode(change))


def removed(account: str, version: int) -> Record:
    change = AccountChanged(account=account, version=version, generation=1, state="removed", linked=False, at=NOW)
    return Record(topic="account.changed", key=account.encode(), value=msgspec.json.encode(change))


# Doubles near and far, an id that two events share, an orphan that finds its account, one that does not, junk. A links late,
# B never, C is removed while it waits and connects anew before that is known, of D too many wait, and G was forgotten before.
# Two of A's come by another app.
STORY = (
    webhook("1"),
    webhook("7", account="C", device="K"),
    webhook("1"),
    webhook("2"),
    webhook("x1", app="next"),
    webhook("3", account="B", device="E"),
    webhook("8", account="G", device="H"),
    linked("A", 1),
    webhook("9", account="C", device="K", kind="app_integration_removed"),
    webhook("10", account="C", device="K"),
    *(webhook(f"d{number}", account="D", device="F") for number in range(4)),
    removed("C", 1),
    webhook("2", account="B", device="E"),
    linked("C", 2),
    webhook("4", account=None),
    linked("A", 2),
    webhook("5"),
    webhook("x2", app="next"),
    Record(topic="webhook.received", key=b"x", value=b"junk", headers=arrival.headers(peek(b"junk"), NOW, "first")),
    webhook("6", account=None, device="unknown"),
    webhook("2"),
    webhook("4", account=None),
    webhook("5"),
)
BOUNDS = Bounds(wait=timedelta(seconds=300), per_account=3)
TICK = timedelta(seconds=25)  # from one look at the clock to the next


EXPECTED: Final = 17


class Eager(Dispatch):
    """Looks between all batches for what may go, and knows how often there was nothing."""

    rests = 0

    def owes(self, index: int) -> bool:  # noqa: ARG002 - the seam's shape
        return True

    async def due(self, step: Step, limit: int, now: datetime) -> Sequence[Record] | None:
        outputs = await super().due(step, limit, now)
        Eager.rests = 0 if outputs else Eager.rests + 1
        return outputs


class Broker:
    """One lane of one group, and what the world sees of it."""

    def __init__(self, story: Sequence[Record]) -> None:
        self.logs: dict[str, list[Held]] = {"webhook.received": [], "account.changed": []}
        self.all: list[Held] = []
        self.next: dict[str, int] = {}
        self.note = b""
        self.out: list[Record] = []
        self.expected = EXPECTED
        self.generation, self.owner = 1, 0
        self.changed = asyncio.Event()
        self.working: set[int] = set()
        self.append(story)

    def append(self, records: Sequence[Record]) -> None:
        for record in records:
            if record.topic in self.logs:
                log = self.logs[record.topic]
                held = Held(**msgspec.structs.asdict(record), index=0, offset=len(log), time=NOW)
                log.append(held)
                self.all.append(held)
            else:
                self.out.append(record)

    def give(self, owner: int) -> None:
        self.generation, self.owner = self.generation + 1, owner
        self.changed.set()
        self.changed = asyncio.Event()

    @property
    def finished(self) -> bool:
        """Say whether all is read and out, and nothing more has come since."""
        read = all(self.next.get(topic, 0) == len(log) for topic, log in self.logs.items())
        return read and len(self.out) >= self.expected and Eager.rests > 1

    def member(self, number: int, point: Point) -> Bus:
        return cast("Bus", Member(self, number, point))


class Member:
    """A process's connection to the broker."""

    def __init__(self, broker: Broker, number: int, point: Point) -> None:
        self._broker, self._number, self._point = broker, number, point

    async def consume(self, topics: Collection[str], group: str, work: Work, stop: Stop, *, atomic: bool, start: object) -> None:
        assert (group, atomic, set(topics), start) == ("dispatch", True, set(self._broker.logs), "first")
        while not stop.is_set():
            if self._broker.owner != self._number:
                await either(self._broker.changed, stop)
                continue
            self._broker.working.add(self._number)
            with suppress(Revoked):  # its only news of a takeover: a sleeper has not heard the broker's
                await work(SimLane(self._broker, self._point), stop)
            self._broker.working.discard(self._number)


async def either(*events: asyncio.Event | Stop) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiting:
            waiter.cancel()


class SimLane(Lane):
    def __init__(self, broker: Broker, point: Point) -> None:
        self.index, self._broker, self._point = 0, broker, point
        self._generation, self._read = broker.generation, 0

    async def open(self) -> Start:
        await self._point("open.before")
        self._check()
        start = Start(
            next={topic: self._broker.next.get(topic, 0) for topic in self._broker.logs}, note=self._broker.note, gaps={}
        )
        await self._point("open.after")
        return start

    async def fetch(self, limit: int, wait: float) -> Sequence[Held]:  # noqa: ARG002 - four at a time make several steps
        await self._point("fetch")
        self._check()
        new = [held for held in self._broker.all[self._read :] if held.offset >= self._broker.next.get(held.topic, 0)][:4]
        if not new:
            await asyncio.sleep(0.001)
            return ()
        self._read = self._broker.all.index(new[-1]) + 1
        return new

    async def commit(self, next: Mapping[str, int], note: bytes, outputs: Sequence[Record] = ()) -> None:  # noqa: A002 - the seam
        await self._point("commit.before")
        self._check()
        assert set(next) == set(self._broker.logs)
        self._broker.next, self._broker.note = dict(next), note
        self._broker.append(outputs)
        await self._point("commit.after")

    def _check(self) -> None:
        if self._generation != self._broker.generation:
            raise Revoked


@asynccontextmanager
async def running(broker: Broker, database: Database, number: int, point: Point = calm) -> AsyncIterator["asyncio.Task[None]"]:
    stop, ticks = asyncio.Event(), itertools.count()
    watched = cast("Database", Watched(database, point))
    drive = Drive(broker.member(number, point), Eager("test", BOUNDS), watched, clock=lambda: NOW + next(ticks) * TICK)
    task = asyncio.create_task(drive.run(stop))
    try:
        yield task
    finally:
        stop.set()
        with suppress(Killed):
            await task


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not met():  # noqa: ASYNC110 - what is met is no one event
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as logged:
        yield logged


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Database]:
    async with connect(store_url) as database:
        await database.create_all()
        async with database.begin() as connection:
            await stops.stop(connection, stops.fingerprint("test", "G"), "forgotten", NOW.timestamp())
        yield database


async def wiped(database: Database) -> None:
    async with database.begin() as connection:
        for table in (*STEPPED, lanes):
            await connection.execute(table.delete())


def published(broker: Broker) -> list[tuple[str, str]]:
    events = [cloudevents.read(record.headers, record.value) for record in broker.out if record.topic == "event.recorded"]
    return [(event.accountid, event.id) for event in events]


async def right(broker: Broker, database: Database) -> None:
    """Nothing lost, nothing doubled, each account's order kept, the dead buried once, and the store says the same."""
    orders: dict[str, list[str]] = {}
    for account, name in published(broker):
        orders.setdefault(account, []).append(name.partition("~")[0])
    assert orders == {"A": ["1", "2", "5", "4"], "B": ["3", "2"], "C": ["9", "10"], "D": ["d1", "d2", "d3"]}
    topics = Counter(record.topic for record in broker.out)
    assert topics == {"event.recorded": 11, "webhook.received.dead": 5, "account.told": 1}
    async with database.read() as connection:
        rows = (await connection.execute(select(claims).where(claims.c.release_n.is_(None)))).all()
        assert {row.request_id for row in rows} == {name for _, name in published(broker)} | {"7", "8"}
        assert not (await connection.execute(select(waiting).where(waiting.c.release_n.is_(None)))).all()
        assert not (await connection.execute(select(lines).where(lines.c.release_n.is_(None)))).all()
        for table in STEPPED:
            assert all(max(row.n, row.release_n or 0) <= int(broker.note) for row in await connection.execute(select(table)))
        (lane,) = await connection.execute(select(lanes))
    assert 0 <= int(broker.note) - lane.n <= 1


async def test_an_undisturbed_lane_tells_the_story(store: Database) -> None:
    broker = Broker(STORY)
    async with running(broker, store, 0):
        await until(lambda: broker.finished)
    await right(broker, store)


async def test_killed_anywhere_the_next_member_ends_the_story(store: Database) -> None:
    for at in await moments(store, 0):
        broker = Broker(STORY)
        async with running(broker, store, 0, Strike(at, kill)) as task:
            await until(lambda: task.done() or broker.finished)  # noqa: B023 - called in this turn only
        broker.give(1)
        async with running(broker, store, 1):
            await until(lambda: broker.finished)  # noqa: B023 - called in this turn only
        await right(broker, store)
        await wiped(store)


async def test_failed_anywhere_the_same_member_ends_the_story(store: Database) -> None:
    for at in await moments(store, 2):
        broker = Broker(STORY)
        async with running(broker, store, 0, Strike(at, fail)):
            await until(lambda: broker.finished)  # noqa: B023 - called in this turn only
        await right(broker, store)
        await wiped(store)


async def test_frozen_anywhere_outside_a_transaction_and_thawed_after_the_takeover_it_harms_nothing(store: Database) -> None:
    for at in await quiet_moments(store):
        broker, thaw, asleep = Broker(STORY), asyncio.Event(), asyncio.Event()

        async def freeze(name: str) -> None:
            if outside(name):
                asleep.set()  # noqa: B023 - called in this turn only
                await thaw.wait()  # noqa: B023 - called in this turn only

        async with running(broker, store, 0, Strike(at, freeze)):
            await until(lambda: asleep.is_set() or broker.finished)  # noqa: B023 - called in this turn only
            broker.give(1)
            async with running(broker, store, 1):
                await until(lambda: broker.finished)  # noqa: B023 - called in this turn only
                thaw.set()
                await asyncio.sleep(0.01)
                broker.append([webhook("last")])
                broker.expected += 1
                await until(lambda: broker.finished)  # noqa: B023 - called in this turn only
        assert published(broker).pop() == ("A", "last")
        broker.out.pop()
        await ended(store)
        await right(broker, store)
        await wiped(store)


async def test_a_sleeper_that_wakes_at_any_moment_of_its_successors_opening_and_first_step_harms_nothing(store: Database) -> None:
    moments = await quiet_moments(store)
    for asleep_at, wakes_at in itertools.product(moments[:8], moments[:12]):
        broker, thaw, asleep = Broker(STORY), asyncio.Event(), asyncio.Event()

        async def freeze(name: str) -> None:
            if outside(name):
                asleep.set()  # noqa: B023 - called in this turn only
                await thaw.wait()  # noqa: B023 - called in this turn only

        async def wake(name: str) -> None:
            thaw.set()  # noqa: B023 - called in this turn only
            await until(lambda: not outside(name) or 0 not in broker.working)  # noqa: B023 - called in this turn only

        async with running(broker, store, 0, Strike(asleep_at, freeze)):
            await until(lambda: asleep.is_set() or broker.finished)  # noqa: B023 - called in this turn only
            broker.give(1)
            async with running(broker, store, 1, Strike(wakes_at, wake)):
                await until(lambda: broker.finished)  # noqa: B023 - called in this turn only
        await right(broker, store)
        await wiped(store)


async def moments(store: Database, turn: int) -> list[int]:
    """Return the points at which to strike: all where no transaction is open, the others once in two tests on two stores."""
    turn += 0 if store.dialect == "sqlite" else 1  # within a transaction every fault is a rollback
    names = await points(store)
    assert len(names) > 150
    return [at for at, name in enumerate(names, 1) if outside(name) or at % 4 == turn]


async def quiet_moments(store: Database) -> list[int]:
    """Return the points of a run at which no transaction is open."""
    names = await points(store)
    quiet = [at for at, name in enumerate(names, 1) if outside(name)]
    assert "commit.after" in [names[at - 1] for at in quiet[:12]]  # the whole opening, and a whole step
    return quiet


async def points(store: Database) -> list[str]:
    """Return the points that an undisturbed run passes."""
    broker, names = Broker(STORY), list[str]()

    async def note(name: str) -> None:
        names.append(name)

    async with running(broker, store, 0, note):
        await until(lambda: broker.finished)
    await wiped(store)
    return names


async def ended(store: Database) -> None:
    """Take the extra event out again."""
    async with store.begin() as connection:
        await connection.execute(claims.delete().where(claims.c.request_id == "last"))


async def test_two_faults_at_random_places_in_turn_harm_nothing(store: Database) -> None:
    dice = random.Random(20_260_213)  # noqa: S311 - dice of a test
    for _ in range(30):
        broker = Broker(STORY)
        for number in (0, 1, 2):
            strike = Strike(dice.randrange(1, 90), dice.choice([kill, fail]))
            broker.give(number)
            async with running(broker, store, number, strike) as task:
                await until(lambda: task.done() or broker.finished)  # noqa: B023 - called in this turn only
        broker.give(3)
        async with running(broker, store, 3):
            await until(lambda: broker.finished)  # noqa: B023 - called in this turn only
        await right(broker, store)
        await wiped(store)
