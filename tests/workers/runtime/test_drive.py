import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text, delete, select, update
from structlog.testing import capture_logs

from schemas.errors import Rejected
from schemas.topics import MESSAGE_LIMIT, Topic, dead
from workers.bus import memory
from workers.bus.contract import Bus, Held, Record
from workers.runtime.database import Database, StoreUnavailable, connect
from workers.runtime.dead import letter
from workers.runtime.drive import Drive, after, sized
from workers.runtime.jobs import Step
from workers.runtime.lag import LagSweep
from workers.runtime.metrics import BURIED, CRASHES, GAPS, LAG_RECORDS, LAG_SECONDS
from workers.runtime.poison import Suspicion
from workers.runtime.supervise import Fatal

NOW = datetime(2026, 2, 13, tzinfo=UTC)
own = MetaData()


def table(name: str, *more: Column[int]) -> Table:
    return Table(
        name,
        own,
        Column("word", Text, primary_key=True),
        Column("grp", Text),
        Column("lane", Integer),
        Column("n", BigInteger),
        *more,
    )


seen, waiting = table("seen"), table("waiting", Column("release_n", BigInteger))


def topic(name: str, *, partitions: int = 1) -> Topic:
    return Topic(
        name=name, key="word", retention=timedelta(1), writers=("ingress",), readers=("dispatch",), partitions=partitions
    )


def word(text: str, size: int = 0) -> Record:
    return Record(topic="in", key=b"k", value=text.encode() + b"." * size, headers=(("h", b"1"),))


Answer = Sequence[Record] | Rejected


@dataclass
class Echo:
    """Notes each word in a row and says it again; `moods` says what else happens at which word, in turn."""

    moods: dict[str, list[Callable[[], Answer | None]]] = field(default_factory=dict)
    waits: bool = False
    batches: list[list[str]] = field(default_factory=list)
    name = "echo"
    topics = ("in",)

    @property
    def stepped(self) -> Sequence[Table]:
        return (seen, waiting) if self.waits else (seen,)

    async def __call__(self, batch: Sequence[Held], step: Step, now: datetime) -> Sequence[Answer]:
        assert now == NOW
        words = [held.value.decode() for held in batch]
        self.batches.append(words)
        where = {"grp": step.group, "lane": step.index, "n": step.n}
        table = waiting if self.waits else seen
        await step.connection.execute(table.insert(), [{"word": text, **where} for text in words])
        return [self._answer(held) for held in batch]

    def _answer(self, held: Held) -> Answer:
        mood = self.moods.get(held.value.decode().rstrip("."), [])
        answer = mood.pop(0)() if mood else None
        said = Record(topic="out", key=held.key, value=held.value)
        return answer if answer is not None else () if self.waits else (said,)

    async def due(self, step: Step, limit: int, now: datetime) -> Sequence[Record] | None:
        assert now == NOW
        mine = (waiting.c.grp == step.group, waiting.c.lane == step.index)
        await step.connection.execute(delete(waiting).where(*mine, waiting.c.release_n < step.n))
        rows = await step.connection.scalars(select(waiting.c.word).where(*mine, waiting.c.release_n.is_(None)).limit(limit))
        words = [*rows]
        await step.connection.execute(update(waiting).where(waiting.c.word.in_(words)).values(release_n=step.n))
        return [Record(topic="out", key=b"k", value=text.encode()) for text in words] or None


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as logged:
        yield logged


@pytest.fixture
async def database(store_url: str) -> AsyncIterator[Database]:
    async with connect(store_url) as database:
        await database.create_all()
        async with database.begin() as connection:
            await connection.run_sync(own.create_all)
        yield database


@pytest.fixture
async def bus() -> AsyncIterator[memory.MemoryBus]:
    topics = [topic("in"), topic("out"), topic(dead("in"))]
    async with memory.connect("memory:", namespace="t", topics=topics) as bus:
        assert isinstance(bus, memory.MemoryBus)
        yield bus


def out(bus: memory.MemoryBus, name: str = "out") -> list[str]:
    return [held.value.decode() for held in bus.memory.logs[name, 0].records]


async def rows(database: Database) -> set[str]:
    async with database.read() as connection:
        return {*await connection.scalars(select(seen.c.word))}


async def until(met: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not met():  # noqa: ASYNC110 - what is met is no one event
            await asyncio.sleep(0.002)


@asynccontextmanager
async def driven(bus: Bus, job: Echo, database: Database, bugs: type[Exception] = ZeroDivisionError) -> AsyncIterator[Drive]:
    """Run the job as the supervisor does: a worker that crashes is run again."""
    stop, drive = asyncio.Event(), Drive(bus, job, database, clock=lambda: NOW)

    async def keep() -> None:
        while not stop.is_set():
            try:
                await drive.run(stop)
            except bugs:
                await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(keep())
        yield drive
        stop.set()


def crash() -> Answer:
    raise ZeroDivisionError


def nonsense() -> Answer:
    return 7  # type: ignore[return-value] # a job's bug that shows only when its answer is read


def away() -> Answer:
    raise StoreUnavailable


async def test_what_comes_in_goes_out_and_is_noted_once(bus: memory.MemoryBus, database: Database) -> None:
    async with driven(bus, Echo(), database):
        for number in range(50):
            await bus.publish([word(str(number))])
        await until(lambda: len(out(bus)) == 50)
    assert out(bus) == [str(number) for number in range(50)]
    assert await rows(database) == {*out(bus)}
    assert bus.memory.next["echo", 0] == {"in": 50}


async def test_a_restart_goes_on_where_the_last_run_ended(bus: memory.MemoryBus, database: Database) -> None:
    for text in ("a", "b", "c"):
        await bus.publish([word(text)])
        async with driven(bus, Echo(), database):
            await until(lambda: out(bus)[-1:] == [text])  # noqa: B023 - called in this turn only
    assert out(bus) == ["a", "b", "c"]


async def test_while_something_is_unavailable_the_same_batch_comes_again(bus: memory.MemoryBus, database: Database) -> None:
    job = Echo({"b": [away, away]})
    await bus.publish([word("a"), word("b")])
    with capture_logs() as logged:
        async with driven(bus, job, database):
            await until(lambda: len(out(bus)) == 2)
    assert job.batches == [["a", "b"]] * 3
    assert out(bus) == ["a", "b"]
    assert [line["event"] for line in logged] == ["step.delayed"]  # once, however often it was tried


async def test_a_worker_ends_soon_after_its_stop_although_the_store_is_away(bus: memory.MemoryBus, database: Database) -> None:
    job = Echo({"a": [away] * 1000})
    await bus.publish([word("a")])
    async with asyncio.timeout(20), driven(bus, job, database):
        await until(lambda: len(job.batches) > 1)
    assert out(bus) == []


async def test_a_rejected_record_is_a_dead_letter_and_its_neighbours_pass(bus: memory.MemoryBus, database: Database) -> None:
    await bus.publish([word("a"), word("b"), word("c")])
    async with driven(bus, Echo({"b": [lambda: Rejected("no", reason="odd")]}), database):
        await until(lambda: len(out(bus)) == 2)
    (letter,) = bus.memory.logs["in.dead", 0].records
    assert (letter.key, letter.value) == (b"k", b"b")
    assert dict(letter.headers) == {
        "h": b"1",
        "dead_reason": b"odd",
        "dead_at": b"2026-02-13T00:00:00+00:00",
        "dead_attempts": b"1",
        "dead_topic": b"in",
        "dead_partition": b"0",
        "dead_offset": b"1",
    }


async def test_a_job_that_crashes_now_and_then_loses_nothing(bus: memory.MemoryBus, database: Database) -> None:
    await bus.publish([word("a"), word("b"), word("c")])
    async with driven(bus, Echo({"a": [crash], "c": [crash]}), database):
        await until(lambda: len(out(bus)) == 3)
    assert out(bus) == ["a", "b", "c"]
    assert out(bus, "in.dead") == []


@pytest.mark.parametrize("poison", [{"w0"}, {"w39"}, {"w7", "w8", "w30"}])
async def test_after_three_crashes_the_poison_alone_is_buried(
    bus: memory.MemoryBus, database: Database, poison: set[str], logged: list[MutableMapping[str, Any]]
) -> None:
    buried, crashes = BURIED.labels(job="echo")._value.get(), CRASHES.labels(job="echo")._value.get()
    job = Echo({text: [crash] * 1000 for text in poison})
    words = [f"w{number}" for number in range(40)]
    await bus.publish([word(text) for text in words])
    async with driven(bus, job, database) as drive:
        await until(lambda: len(out(bus)) + len(out(bus, "in.dead")) == 40)
    assert out(bus) == [text for text in words if text not in poison]
    assert {*out(bus, "in.dead")} == poison
    assert {dict(held.headers)["dead_reason"] for held in bus.memory.logs["in.dead", 0].records} == {b"crashed"}
    assert await rows(database) == {*words} - poison
    assert BURIED.labels(job="echo")._value.get() - buried == len(poison)
    assert CRASHES.labels(job="echo")._value.get() - crashes < 3 + 8 * len(poison)
    assert drive.suspicions[0] == Suspicion()
    assert len([line for line in logged if line["event"] == "record.buried" and line["log_level"] == "error"]) == len(poison)


async def test_a_bug_that_shows_in_a_jobs_answer_leaves_no_rows_that_a_later_step_makes_true(
    bus: memory.MemoryBus, database: Database
) -> None:
    job = Echo({"b": [nonsense] * 1000})
    await bus.publish([word("a"), word("b"), word("c")])
    async with driven(bus, job, database, bugs=TypeError):
        await until(lambda: len(out(bus)) + len(out(bus, "in.dead")) == 3)
    assert (out(bus), out(bus, "in.dead")) == (["a", "c"], ["b"])
    assert await rows(database) == {"a", "c"}


async def test_an_output_that_no_topic_takes_buries_its_record_and_undoes_its_rows(
    bus: memory.MemoryBus, database: Database
) -> None:
    huge = Record(topic="out", key=b"k", value=b"x" * (MESSAGE_LIMIT + 1))
    await bus.publish([word("a"), word("b"), word("c")])
    async with driven(bus, Echo({"b": [lambda: (huge,)] * 9}), database):
        await until(lambda: len(out(bus)) + len(out(bus, "in.dead")) == 3)
    assert (out(bus), out(bus, "in.dead")) == (["a", "c"], ["b"])
    assert await rows(database) == {"a", "c"}


async def test_what_waits_is_released_once_and_forgotten(bus: memory.MemoryBus, database: Database) -> None:
    await bus.publish([word("a"), word("b")])
    async with driven(bus, Echo(waits=True), database):
        await until(lambda: len(out(bus)) == 2)
    async with driven(bus, Echo(waits=True), database):
        await bus.publish([word("c")])
        await until(lambda: len(out(bus)) == 3)
    assert sorted(out(bus)) == ["a", "b", "c"]
    async with database.read() as connection:
        assert [*await connection.scalars(select(waiting.c.word))] == ["c"]


async def test_an_operators_reset_repeats_records_but_undoes_nothing(bus: memory.MemoryBus, database: Database) -> None:
    await bus.publish([word("a")])
    async with driven(bus, Echo(), database):
        await until(lambda: out(bus) == ["a"])
    bus.memory.notes["echo", 0] = b""
    async with driven(bus, Echo(), database):
        await bus.publish([word("b")])
        await until(lambda: out(bus) == ["a", "b"])
    assert await rows(database) == {"a", "b"}
    assert bus.memory.notes["echo", 0] == b"2"


async def test_a_broken_disk_leaves_the_worker_as_it_is(bus: memory.MemoryBus, database: Database) -> None:
    def broken() -> Answer:
        raise Fatal

    await bus.publish([word("a")])
    with pytest.raises(Fatal):
        await Drive(bus, Echo({"a": [broken]}), database, clock=lambda: NOW).run(asyncio.Event())


async def test_lag_is_measured_in_records_and_seconds(bus: memory.MemoryBus, database: Database) -> None:
    sweep = LagSweep(bus, "echo", ("in",))
    async with driven(bus, Echo(), database):
        await bus.publish([word("a")])
        await until(lambda: out(bus) == ["a"])
    await bus.publish([word("b"), word("c")])
    await sweep(bus.memory.logs["in", 0].records[1].time + timedelta(seconds=7))
    assert LAG_RECORDS.labels(group="echo")._value.get() == 2
    assert LAG_SECONDS.labels(group="echo")._value.get() == 7


@pytest.mark.parametrize(
    ("limit", "size", "seconds", "expected"),
    [
        (100, 100, 0.2, 200),
        (100, 99, 0.05, 100),
        (100, 100, 0.3, 100),
        (100, 5, 0.6, 100),
        (100, 5, 1.1, 50),
        (16, 16, 9, 16),
        (150, 150, 0, 200),
        (200, 200, 0, 200),
    ],
)
def test_batches_grow_while_steps_are_swift_and_shrink_when_they_are_slow(
    limit: int, size: int, seconds: float, expected: int
) -> None:
    assert sized(limit, size, seconds) == expected


def test_the_worker_is_restarted_twice_and_then_the_batch_is_halved_to_its_end() -> None:
    suspicion = Suspicion()
    assert [suspicion.crashed({"in": 4}, {"in": 44}, 40) for _ in range(2)] == [False, False]
    assert not suspicion.crashed({"in": 5}, {"in": 45}, 40)  # another position is another story
    assert [suspicion.crashed({"in": 4}, {"in": 44}, 40) for _ in range(3)] == [False, False, True]
    limits = [suspicion.limit]
    while suspicion.limit > 1:
        assert suspicion.crashed({"in": 4}, {"in": 4 + suspicion.limit}, suspicion.limit)
        limits.append(suspicion.limit)
    assert limits == [20, 10, 5, 2, 1]
    suspicion.passed({"in": 5})
    assert suspicion.limit == 2
    suspicion.passed({"in": 44})
    assert suspicion == Suspicion()


async def test_what_expired_before_it_was_read_is_counted_and_told(
    bus: memory.MemoryBus, database: Database, logged: list[MutableMapping[str, Any]]
) -> None:
    before = GAPS.labels(job="echo")._value.get()
    for texts in (["a"], ["b", "c", "d"]):
        await bus.publish([word(text) for text in texts])
        if "d" in texts:
            bus.memory.logs["in", 0].expire(3)
        async with driven(bus, Echo(), database):
            await until(lambda: out(bus)[-1:] == texts[-1:])  # noqa: B023 - called in this turn only
    assert out(bus) == ["a", "d"]
    assert GAPS.labels(job="echo")._value.get() - before == 2
    assert [(line["event"], line["records"]) for line in logged] == [("lane.gap_found", 2)]


def held(value: bytes, offset: int = 4, headers: tuple[tuple[str, bytes], ...] = ()) -> Held:
    return Held(topic="in", key=b"k", value=value, headers=headers, index=2, offset=offset, time=NOW)


@pytest.mark.parametrize(
    ("batch", "expected"), [((), {"in": 3, "other": 9}), ((held(b"", 4), held(b"", 6)), {"in": 7, "other": 9})]
)
def test_a_position_names_every_topic_of_the_lane(batch: Sequence[Held], expected: Mapping[str, int]) -> None:
    assert after({"in": 3, "other": 9}, batch) == expected


@pytest.mark.parametrize("oversized", [held(b"x" * MESSAGE_LIMIT), held(b"x", headers=(("h", b"x" * MESSAGE_LIMIT),))])
def test_a_dead_letter_that_does_not_fit_keeps_coordinates_and_hash(oversized: Held) -> None:
    buried = letter(oversized, "odd", at=NOW, attempts=3)
    body = json.loads(buried.value)
    assert (body["topic"], body["partition"], body["offset"], body["bytes"]) == ("in", 2, 4, len(oversized.value))
    assert len(body["sha256"]) == 64
    assert dict(buried.headers)["dead_attempts"] == b"3"
    assert dict(buried.headers)["dead_body"] == b"omitted"
