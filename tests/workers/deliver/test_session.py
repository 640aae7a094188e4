"""Sessions that end under a delivery: a fake bus between it and the real one takes lanes away."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal

import pytest
from sqlalchemy import select

from schemas.topics import EVENT_RECORDED, declared, delivery, delivery_dead
from tests.workers.deliver.support import QUICK, SECRET, Nobody, Sink, dead_letters, delivering, destination, event, header, until
from workers.bus import memory
from workers.bus.contract import GRACE, Bus, BusUnavailable, Held, Lane, Record, Revoked, Start, Stop, Unknown, Work
from workers.bus.partition import partition
from workers.deliver import flight, ledger, session
from workers.deliver.job import Deliver
from workers.deliver.untold import untold
from workers.runtime.database import Database
from workers.runtime.secrets import Secret

ELSEWHERE = "a2"  # an account of another lane than a1


class TakenLane:
    """A lane whose commits fail as told, carried out or not; it remembers whether anything was committed after the end."""

    def __init__(self, lane: Lane, fails: Callable[[], Revoked | None], thawed: asyncio.Event, *, arrives: bool) -> None:
        self.index = lane.index
        self._lane, self._fails, self._thawed, self._arrives = lane, fails, thawed, arrives
        self.out = False  # a commit is
        self.over = False
        self.after_the_end = 0

    async def open(self) -> Start:
        return await self._lane.open()

    async def fetch(self, limit: int, wait: float) -> Sequence[Held]:
        return await self._lane.fetch(limit, wait)

    async def commit(self, next: Mapping[str, int], note: bytes, outputs: Sequence[Record] = ()) -> None:  # noqa: A002
        self.after_the_end += self.over
        self.out = True
        await self._thawed.wait()
        self.out = False
        if failure := self._fails():
            self.over = True
            if self._arrives:
                await self._lane.commit(next, note, outputs)
            raise failure
        await self._lane.commit(next, note, outputs)


class TakingBus:
    """The real bus, but that `fails` says which commits end the session."""

    def __init__(self, bus: Bus, fails: Callable[[], Revoked | None], *, arrives: bool = False) -> None:
        self._bus, self._fails, self._arrives = bus, fails, arrives
        self.thawed = asyncio.Event()  # else commits wait
        self.thawed.set()
        self.lanes: list[TakenLane] = []
        self.publish, self.exclusive, self.available, self.lag = bus.publish, bus.exclusive, bus.available, bus.lag

    async def consume(
        self,
        topics: Collection[str],
        group: str,
        work: Work,
        stop: Stop,
        *,
        atomic: bool,
        start: Literal["first", "end"] | datetime = "first",
        grace: float = GRACE,
    ) -> None:
        async def taken(lane: Lane, ends: Stop) -> None:
            self.lanes.append(TakenLane(lane, self._fails, self.thawed, arrives=self._arrives))
            await work(self.lanes[-1], ends)

        await self._bus.consume(topics, group, taken, stop, atomic=atomic, start=start, grace=grace)


async def slowly(_id: str, _number: int) -> int:
    await asyncio.sleep(0.02)
    return 200


@pytest.mark.parametrize("arrives", [False, True])
async def test_a_session_that_ends_repeats_and_loses_nothing_and_commits_nothing_more(
    bus: Bus, sink: Sink, *, arrives: bool
) -> None:
    sink.answer = slowly
    commits = iter(range(10_000))
    taking = TakingBus(bus, lambda: Unknown() if next(commits) in (9, 20, 31) else None, arrives=arrives)
    await bus.publish([event(f"e{number:03}", device=f"d{number}", account=f"a{number}") for number in range(300)])
    async with delivering(taking, destination(sink.url, concurrency=8)) as worker:
        await until(lambda: len(sink.unique) == 300, 30)
    ended = sum(lane.over for lane in taking.lanes)
    assert ended == 3
    assert not any(lane.after_the_end for lane in taking.lanes)
    assert len(sink.ids) == 300
    assert (await bus.lag(worker.name, [EVENT_RECORDED.name])).records == 0


async def test_what_was_accepted_is_sent_again_where_an_operator_has_set_the_position_back(sink: Sink) -> None:
    commits, before = iter(range(10_000)), list[str]()
    async with memory.connect("memory:", namespace="test", topics=declared(["alerts"])) as bus:
        assert isinstance(bus, memory.MemoryBus)
        lane = delivery("alerts"), partition(b"a1", bus.partitions(EVENT_RECORDED.name))

        def fails() -> Revoked | None:
            if next(commits) != 6:
                return None
            before.extend(sink.ids)
            bus.memory.next[lane][EVENT_RECORDED.name], bus.memory.notes[lane] = 2, b""  # as Kafka's own tool does it
            return Unknown()

        async with delivering(TakingBus(bus, fails), destination(sink.url)):
            for number in range(10):
                await bus.publish([event(f"e{number}")])
                await until(lambda: sink.seen(f"e{number}"))  # noqa: B023 - called in this turn only
                await asyncio.sleep(3 * session.PACE_S)
            await until(lambda: all(sink.seen(name) == 2 for name in before[2:]), 5)
    assert before
    assert sink.seen("e0") == sink.seen("e9") == 1


async def test_nothing_starts_while_a_commit_is_out_for_long(bus: Bus, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, real = {"ahead": 0.0}, ledger.steady
    monkeypatch.setattr(ledger, "steady", lambda: real() + clock["ahead"])
    gates = {f"e{number}": asyncio.Event() for number in range(2)}
    taking = TakingBus(bus, lambda: None)

    async def gated(identity: str, _number: int) -> int:
        if identity in gates:
            await gates[identity].wait()
        return 200

    sink.answer = gated
    await bus.publish(
        [event(f"e{number}", device=f"d{number}") for number in range(4)]
    )  # all of one lane, which reads on only between commits
    async with delivering(taking, destination(sink.url, concurrency=1)):
        await until(lambda: sink.ids == ["e0"])
        taking.thawed.clear()
        gates["e0"].set()
        await until(lambda: sink.ids == ["e0", "e1"] and any(lane.out for lane in taking.lanes))
        clock["ahead"] = 1.5
        gates["e1"].set()
        await until(lambda: not sink.flying)
        await asyncio.sleep(0.2)
        assert sink.ids == ["e0", "e1"]
        taking.thawed.set()
        await until(lambda: len(sink.ids) == 4)
    assert sink.ids == ["e0", "e1", "e2", "e3"]


async def test_nothing_starts_on_an_old_proof_of_membership(bus: Bus, sink: Sink, monkeypatch) -> None:  # noqa: ANN001
    clock = {"ahead": 0.0}
    real = ledger.steady
    monkeypatch.setattr(ledger, "steady", lambda: real() + clock["ahead"])
    failing = {"on": False}
    taking = TakingBus(bus, lambda: Revoked() if failing["on"] else None)
    async with delivering(taking, destination(sink.url)):
        await until(lambda: taking.lanes)
        await asyncio.sleep(0.1)
        clock["ahead"], failing["on"] = 60.0, True  # the machine was suspended, and the lane is another's by now
        await bus.publish([event("e1")])
        await until(lambda: any(lane.over for lane in taking.lanes))
        assert sink.ids == []
        failing["on"] = False
        await until(lambda: sink.ids == ["e1"])


async def test_what_was_picked_but_not_begun_when_the_session_ended_is_not_sent_by_it(bus: Bus, sink: Sink) -> None:
    commits = iter(range(10_000))
    taking = TakingBus(bus, lambda: Revoked() if next(commits) == 0 else None)
    async with delivering(taking, destination(sink.url)):
        await until(lambda: taking.lanes)
        await asyncio.sleep(2 * session.PACE_S)  # so that the first event's turn commits at once
        await bus.publish([event("e1")])
        await until(lambda: any(lane.over for lane in taking.lanes) and sink.ids)
        await bus.publish([event("e2")])
        await until(lambda: "e2" in sink.ids)
    assert sink.ids == ["e1", "e2"]


async def test_what_is_to_be_buried_is_not_finished_before_its_letter_is_held(bus: Bus, sink: Sink) -> None:
    sink.answer = lambda identity, _number: 422 if identity == "bad" else 200
    away, tried = TakingBus(bus, lambda: None), asyncio.Event()

    async def publish(records: Sequence[Record]) -> None:
        if any(record.topic == delivery_dead("alerts").name for record in records):
            tried.set()
            raise BusUnavailable
        await bus.publish(records)

    away.publish = publish
    await bus.publish([event("good", device="d0"), event("bad")])
    async with delivering(away, destination(sink.url)):
        await asyncio.wait_for(tried.wait(), 10)
        await asyncio.sleep(3 * session.PACE_S)  # what is finished would be committed by now
    async with delivering(bus, destination(sink.url)):
        (letter,) = await dead_letters(bus, 1)
    assert header(letter, "ce_id") == "bad"
    assert sink.seen("good") == 1


async def test_who_follows_one_that_a_former_session_buried_is_known_though_no_commit_told_of_it(
    bus: Bus, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "MARKS_S", 60.0)  # nor did the store hear of it
    sink.answer = lambda _identity, _number: 422
    unknown = iter([Unknown()])
    taking = TakingBus(bus, lambda: next(unknown, None) if sink.seen("bad0") == 3 else None)
    await bus.publish([event("bad0")])
    async with delivering(taking, destination(sink.url)):
        await until(lambda: any(lane.over for lane in taking.lanes))
        await bus.publish([event("bad1")])
        letters = await dead_letters(bus, 2)
    assert [header(letter, "dead_reason") for letter in letters] == ["refused", "follower"]
    assert (sink.seen("bad0"), sink.seen("bad1")) == (3, 1)


async def test_what_is_under_way_ends_before_a_delivery_does(bus: Bus, sink: Sink) -> None:
    async def slowly(_identity: str, _number: int) -> int:
        await asyncio.sleep(1.5)
        return 200

    sink.answer = slowly
    await bus.publish([event(f"e{number}", device=f"d{number}") for number in range(4)])
    async with delivering(bus, destination(sink.url)):
        await until(lambda: len(sink.ids) == 4)
    async with delivering(bus, destination(sink.url)):
        await bus.publish([event("later")])
        await until(lambda: "later" in sink.ids)
    assert sorted(sink.ids) == ["e0", "e1", "e2", "e3", "later"]


async def test_a_process_that_ends_does_not_wait_for_a_probe_of_a_destination_that_fails(
    bus: Bus, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flight, "HASTE_S", 0.1)
    hangs = False

    async def fails(_identity: str, _number: int) -> int:
        await asyncio.sleep(60.0 if hangs else 0.0)
        return 500

    sink.answer = fails
    await bus.publish([event(f"e{number}", device=f"d{number}") for number in range(40)])
    async with delivering(bus, destination(sink.url, timeout_s=14.0)) as worker:
        await until(lambda: worker.flight and worker.flight.health.failing and not sink.flying)
        hangs = True
        await until(lambda: sink.flying)
        ended = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - ended < 10


async def test_a_process_that_is_killed_while_the_bus_stands_still_has_noted_what_it_was_told(
    bus: Bus, sink: Sink, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "ANSWERS_IN_S", 0.3)
    frozen = TakingBus(bus, lambda: None)
    worker = Deliver(frozen, store, destination(sink.url), [Secret(SECRET)], Nobody(), namespace="test", policy=QUICK)
    running = asyncio.create_task(worker.run(asyncio.Event()))
    await bus.publish([event("first")])
    await until(lambda: sink.seen("first"))
    frozen.thawed.clear()
    names = [f"e{number}" for number in range(4)]
    await bus.publish([event(name, device=name) for name in names])
    async with asyncio.timeout(20):
        while await noted(store) < 4:  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.02)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    async with delivering(bus, destination(sink.url)):
        await bus.publish([event("later")])
        await until(lambda: sink.seen("later"))
    assert [sink.seen(name) for name in (*names, "later")] == [1, 1, 1, 1, 1]


async def test_what_was_noted_is_forgotten_once_a_slow_bus_was_told(
    bus: Bus, sink: Sink, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "ANSWERS_IN_S", 0.1)
    monkeypatch.setattr(ledger, "TIDY_EVERY_S", 0.2)
    slow = TakingBus(bus, lambda: None)
    async with delivering(slow, destination(sink.url)):
        await bus.publish([event("first")])
        await until(lambda: sink.seen("first"))
        slow.thawed.clear()
        await bus.publish([event(f"e{number}", device=f"e{number}") for number in range(4)])
        async with asyncio.timeout(20):
            while await noted(store) < 4:  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0.02)
            slow.thawed.set()
            while await noted(store):  # noqa: ASYNC110 - likewise
                await asyncio.sleep(0.02)


async def noted(store: Database) -> int:
    async with store.read() as connection:
        return len((await connection.execute(select(untold))).all())


async def test_what_is_finished_is_written_down_before_what_is_slow_ends_where_another_lane_ended_the_session(
    bus: Bus, sink: Sink, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, silent, commits, gate = {"now": 1_000.0}, False, list[str](), asyncio.Event()
    monkeypatch.setattr(ledger, "steady", lambda: clock["now"])  # it stands: a lane that has just committed is not due again

    def fails() -> Revoked | None:
        commits.append("one")
        return Unknown() if silent else None

    async def gated(identity: str, _number: int) -> int:
        if identity.startswith("slow"):
            await gate.wait()
        return 200

    sink.answer = gated
    await bus.publish([event("first")])
    async with delivering(TakingBus(bus, fails), destination(sink.url, concurrency=2, timeout_s=30.0)):
        await until(lambda: sink.seen("first"))
        clock["now"] += 1.0
        await until(lambda: commits)
        names = ["quick", *(f"slow{number}" for number in range(session.BATCH_LEAST + 2))]
        await bus.publish([event(name, device=name) for name in names])  # so many that its lane reads no further
        await until(lambda: sink.seen("slow1"))
        silent = True
        await bus.publish([event("other", account=ELSEWHERE)])  # its lane is due, and commits at once
        try:
            async with asyncio.timeout(5):
                while not await noted(store):  # noqa: ASYNC110 - likewise
                    await asyncio.sleep(0.02)
            assert sink.flying == 2, "what is slow is under way still"
        finally:
            silent = False
            gate.set()
        await until(lambda: {*names, "other"} <= {*sink.ids})
    assert sorted(sink.ids) == sorted(["first", "other", *names])


async def test_what_the_bus_was_never_told_is_known_to_whoever_has_the_lane_next(bus: Bus, sink: Sink) -> None:
    """The bus takes no commit any more, the process ends, and another one goes on."""
    silent = False
    taking = TakingBus(bus, lambda: Unknown() if silent else None)
    sink.answer = lambda identity, _number: 422 if identity == "bad0" else 200
    async with delivering(taking, destination(sink.url)):
        await bus.publish([event("first")])
        await until(lambda: sink.seen("first"))
        taking.thawed.clear()
        await bus.publish([event("bad0", device="bad"), *(event(f"e{number}", device=f"d{number}") for number in range(9))])
        await until(lambda: len(sink.unique) == 11)
        await dead_letters(bus, 1)
        silent = True
        taking.thawed.set()
    sent = [*sink.ids]
    async with delivering(bus, destination(sink.url)):
        await bus.publish([event("later"), event("bad1", device="bad")])
        await until(lambda: sink.seen("later") and sink.seen("bad1"))
    assert sorted(sink.ids[len(sent) :]) == ["bad1", "later"]
    assert [header(letter, "ce_id") for letter in await dead_letters(bus, 1)] == ["bad0"]
