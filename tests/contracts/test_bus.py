"""What every bus promises (workers/bus/contract.py, correctness.md), asked of each engine through the same door."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Protocol

import pytest

from schemas.errors import Rejected
from schemas.topics import MESSAGE_LIMIT
from workers.bus.contract import GRACE, NOTE_LIMIT, Bus, Held, Lane, Record, Revoked, Stop, TooLarge
from workers.bus.partition import partition

PATIENCE = 60.0  # seconds for what takes an engine a group's join; a loaded machine is slow, a lost record never comes


Scenario = Callable[[Lane], Awaitable[object]]


class Engine(Protocol):
    def open(self) -> AbstractAsyncContextManager[Bus]:
        """Connect; a second time is a restart."""
        ...

    async def expire(self, bus: Bus, name: str, index: int, below: int) -> None:
        """Let the records below an offset expire, as retention would."""
        ...


def key(index: int, number: int = 0) -> bytes:
    """Return a key of that index; other numbers, other keys."""
    mine = (text for n in count() if partition(text := b"key-%d" % n, 3) == index)
    return next(text for n, text in enumerate(mine) if n == number)


def record(value: bytes, *, topic: str = "alpha", index: int = 0, number: int = 0) -> Record:
    return Record(topic=topic, key=key(index, number), value=value)


def values(batch: Sequence[Record]) -> list[bytes]:
    return [each.value for each in batch]


async def consume(bus: Bus, group: str, work: Callable[[Lane, Stop], Awaitable[None]], stop: Stop, **options: object) -> None:
    options = {"topics": ["alpha"], "atomic": True} | options
    async with asyncio.timeout(PATIENCE):
        await bus.consume(group=group, work=work, stop=stop, **options)


async def on_lane(
    bus: Bus, group: str, scenario: Callable[[Lane], Awaitable[object]], *, index: int = 0, **options: object
) -> None:
    """Play a scenario in one lane while the others idle; then stop."""
    stop = asyncio.Event()

    async def work(lane: Lane, told: Stop) -> None:
        if lane.index != index:
            await told.wait()
            return
        await scenario(lane)
        stop.set()

    await consume(bus, group, work, stop, **options)


async def read(bus: Bus, group: str, until: bytes, **options: object) -> list[Held]:
    """Return what the group reads and commits until it has met a value; what is seen counts once it is committed."""
    stop, seen = asyncio.Event(), list[Held]()

    async def work(lane: Lane, told: Stop) -> None:
        following = dict((await lane.open()).next)
        while not told.is_set():
            if batch := await lane.fetch(100, 0.2):
                following |= {held.topic: held.offset + 1 for held in batch}
                await lane.commit(following, b"")
                seen.extend(batch)
            if until in values(batch):
                stop.set()

    await consume(bus, group, work, stop, **options)
    return seen


async def take(lane: Lane, number: int) -> list[Held]:
    """Fetch exactly so many."""
    taken: list[Held] = []
    while len(taken) < number:
        taken += await lane.fetch(number - len(taken), 5)
    return taken


def after(batch: Sequence[Held], **others: int) -> dict[str, int]:
    return others | {held.topic: held.offset + 1 for held in batch}


class TestPublishing:
    async def test_a_record_comes_back_as_it_went_in(self, engine: Engine) -> None:
        headers = (("type", b"motion"), ("type", b"again"), ("bytes", bytes(range(256))), ("empty", b""))
        sent = Record(topic="alpha", key=b"\x00\xff" + key(0), value=bytes(range(256)), headers=headers)
        async with engine.open() as bus:
            began = datetime.now(UTC) - timedelta(seconds=1)
            await bus.publish([sent])
            [held] = await read(bus, "group", sent.value)
        assert (held.topic, held.key, held.value, held.headers) == (sent.topic, sent.key, sent.value, sent.headers)
        assert (held.index, held.offset) == (partition(sent.key, 3), 0)
        assert began <= held.time <= datetime.now(UTC) + timedelta(seconds=1)

    async def test_an_empty_value_and_an_empty_key_are_records_too(self, engine: Engine) -> None:
        async with engine.open() as bus:
            await bus.publish([Record(topic="alpha", key=b"", value=b"")])
            [held] = await read(bus, "group", b"")
        assert (held.key, held.value, held.headers) == (b"", b"", ())

    async def test_records_of_a_key_stay_in_order_and_on_one_index(self, engine: Engine) -> None:
        async with engine.open() as bus:
            for number in range(40):
                await bus.publish([record(b"%d %d" % (index, number), index=index) for index in range(3)])
            await bus.publish([record(b"end", index=index) for index in range(3)])
            seen = await self._all(bus, 123)
        for index in range(3):
            mine = [held.value for held in seen if held.key == key(index)]
            assert mine == [b"%d %d" % (index, number) for number in range(40)] + [b"end"]
        assert {(held.key, held.index) for held in seen} == {(key(index), index) for index in range(3)}

    async def test_a_thousand_publishes_at_once_are_all_there_exactly_once(self, engine: Engine) -> None:
        async with engine.open() as bus:
            sent = [record(b"%d" % number, index=number % 3, number=number % 7) for number in range(1_000)]
            await asyncio.gather(*(bus.publish([each]) for each in sent))
            seen = await self._all(bus, 1_000)
        assert sorted(values(seen)) == sorted(values(sent))

    async def test_publishing_nothing_is_done_at_once(self, engine: Engine) -> None:
        async with engine.open() as bus:
            await bus.publish([])

    async def test_an_unknown_topic_is_rejected_and_its_companions_with_it(self, engine: Engine) -> None:
        async with engine.open() as bus:
            with pytest.raises(Rejected):
                await bus.publish([record(b"companion"), record(b"lost", topic="nowhere")])
            await bus.publish([record(b"sentinel")])
            assert values(await read(bus, "group", b"sentinel")) == [b"sentinel"]

    async def test_of_a_batch_with_a_record_too_large_none_is_published(self, engine: Engine) -> None:
        async with engine.open() as bus:
            with pytest.raises(TooLarge):
                await bus.publish([record(b"companion"), record(b"x" * (MESSAGE_LIMIT + 1))])
            await bus.publish([record(b"sentinel")])
            assert values(await read(bus, "group", b"sentinel")) == [b"sentinel"]

    async def test_the_largest_record_passes(self, engine: Engine) -> None:
        value = b"x" * (MESSAGE_LIMIT - 64)
        async with engine.open() as bus:
            await bus.publish([record(value)])
            assert values(await read(bus, "group", value)) == [value]

    async def test_an_open_bus_is_available(self, engine: Engine) -> None:
        async with engine.open() as bus:
            await bus.publish([record(b"one")])
            assert bus.available()

    @staticmethod
    async def _all(bus: Bus, number: int) -> list[Held]:
        stop, seen = asyncio.Event(), list[Held]()

        async def work(lane: Lane, told: Stop) -> None:
            await lane.open()
            while not told.is_set():
                seen.extend(await lane.fetch(100, 0.2))
                if len(seen) >= number:
                    stop.set()

        await consume(bus, "all", work, stop)
        return seen


class TestReading:
    async def test_every_index_has_one_lane(self, engine: Engine) -> None:
        stop, lanes = asyncio.Event(), list[int]()

        async def work(lane: Lane, told: Stop) -> None:
            await lane.open()
            lanes.append(lane.index)
            if len(lanes) == 3:
                stop.set()
            await told.wait()

        async with engine.open() as bus:
            await consume(bus, "group", work, stop)
        assert sorted(lanes) == [0, 1, 2]

    async def test_a_fetch_hands_out_at_most_its_limit_and_goes_on_where_it_was(self, engine: Engine) -> None:
        async def scenario(lane: Lane) -> None:
            await lane.open()
            seen: list[Held] = []
            while len(seen) < 7:
                batch = await lane.fetch(3, 5)
                assert len(batch) <= 3
                seen += batch
            assert values(seen) == [b"%d" % number for number in range(7)]

        async with engine.open() as bus:
            await bus.publish([record(b"%d" % number) for number in range(7)])
            await on_lane(bus, "group", scenario)

    async def test_a_fetch_of_nothing_returns_after_its_wait(self, engine: Engine) -> None:
        async def scenario(lane: Lane) -> None:
            await lane.open()
            began = asyncio.get_running_loop().time()
            assert list(await lane.fetch(10, 0.3)) == []
            assert 0.25 < asyncio.get_running_loop().time() - began < 20

        async with engine.open() as bus:
            await on_lane(bus, "group", scenario)

    async def test_a_waiting_fetch_gets_what_is_published_meanwhile(self, engine: Engine) -> None:
        async with engine.open() as bus:

            async def scenario(lane: Lane) -> None:
                await lane.open()
                waiting = asyncio.create_task(lane.fetch(10, 20))
                await asyncio.wait([waiting], timeout=0.2)
                assert not waiting.done()
                await bus.publish([record(b"elsewhere", index=1), record(b"here")])
                assert values(await waiting) == [b"here"]

            await on_lane(bus, "group", scenario)

    async def test_a_lane_of_several_topics_reads_one_index_of_them_all(self, engine: Engine) -> None:
        async def scenario(lane: Lane) -> None:
            start = await lane.open()
            assert dict(start.next) == {"alpha": 0, "beta": 0}
            seen = await take(lane, 2)
            assert {(held.topic, held.value) for held in seen} == {("alpha", b"a"), ("beta", b"b")}
            await lane.commit(after(seen), b"both")
            assert list(await lane.fetch(10, 0.1)) == []

        async with engine.open() as bus:
            sent = [record(b"a"), record(b"b", topic="beta"), record(b"other", index=1), record(b"third", topic="gamma")]
            await bus.publish(sent)
            await on_lane(bus, "group", scenario, topics=["alpha", "beta"])

    async def test_two_groups_read_everything_independently(self, engine: Engine) -> None:
        async with engine.open() as bus:
            await bus.publish([record(b"one"), record(b"two")])
            both = await asyncio.gather(read(bus, "left", b"two"), read(bus, "right", b"two"))
        assert [values(seen) for seen in both] == [[b"one", b"two"]] * 2


class TestStarting:
    async def test_a_new_group_starts_at_the_first_record(self, engine: Engine) -> None:
        async with engine.open() as bus:
            await bus.publish([record(b"old"), record(b"new")])
            assert values(await read(bus, "group", b"new", start="first")) == [b"old", b"new"]

    async def test_a_new_group_may_start_at_the_end(self, engine: Engine) -> None:
        async with engine.open() as bus:
            await bus.publish([record(b"old")])

            async def scenario(lane: Lane) -> None:
                assert dict((await lane.open()).next) == {"alpha": 1}
                await bus.publish([record(b"new")])
                assert values(await take(lane, 1)) == [b"new"]

            await on_lane(bus, "group", scenario, start="end")

    async def test_a_new_group_may_start_at_a_time(self, engine: Engine) -> None:
        async with engine.open() as bus:
            await bus.publish([record(b"old"), record(b"old too")])
            seen = await read(bus, "looks at the clock", b"old too")
            between = seen[-1].time + timedelta(milliseconds=2)
            await asyncio.sleep((between - datetime.now(UTC)).total_seconds() + 0.005)
            await bus.publish([record(b"new"), record(b"newer")])
            assert values(await read(bus, "group", b"newer", start=between)) == [b"new", b"newer"]

    async def test_a_start_later_than_every_record_is_the_end(self, engine: Engine) -> None:
        async with engine.open() as bus:
            await bus.publish([record(b"old")])

            async def scenario(lane: Lane) -> None:
                assert dict((await lane.open()).next) == {"alpha": 1}

            await on_lane(bus, "group", scenario, start=datetime.now(UTC) + timedelta(days=1))

    async def test_the_first_positions_are_committed_and_hold_in_later_sessions(self, engine: Engine) -> None:
        async def looks(lane: Lane) -> None:
            await lane.open()

        async def finds_what_came_since(lane: Lane) -> None:
            await lane.open()
            assert values(await take(lane, 1)) == [b"between"]

        async with engine.open() as bus:
            await on_lane(bus, "group", looks, start="end")
            await bus.publish([record(b"between")])
            await on_lane(bus, "group", finds_what_came_since, start="end")

    async def test_what_expired_unread_is_a_gap(self, engine: Engine) -> None:
        async with engine.open() as bus:
            await bus.publish([record(b"%d" % number) for number in range(5)])

            async def reads_one(lane: Lane) -> None:
                await lane.open()
                await lane.commit(after(await take(lane, 1)), b"one")

            async def finds_a_gap(lane: Lane) -> None:
                start = await lane.open()
                assert (dict(start.next), dict(start.gaps), start.note) == ({"alpha": 4}, {"alpha": 3}, b"one")
                assert values(await take(lane, 1)) == [b"4"]

            await on_lane(bus, "group", reads_one)
            await engine.expire(bus, "alpha", 0, below=4)
            await on_lane(bus, "group", finds_a_gap)

    async def test_a_first_start_behind_expired_records_is_no_gap(self, engine: Engine) -> None:
        async with engine.open() as bus:
            await bus.publish([record(b"%d" % number) for number in range(3)])
            await engine.expire(bus, "alpha", 0, below=2)

            async def scenario(lane: Lane) -> None:
                start = await lane.open()
                assert (dict(start.next), dict(start.gaps)) == ({"alpha": 2}, {})

            await on_lane(bus, "group", scenario)


class TestCommitting:
    async def test_a_new_lane_has_an_empty_note(self, engine: Engine) -> None:
        async def scenario(lane: Lane) -> None:
            start = await lane.open()
            assert (start.note, dict(start.next), dict(start.gaps)) == (b"", {"alpha": 0}, {})

        async with engine.open() as bus:
            await on_lane(bus, "group", scenario)

    @pytest.mark.parametrize("options", [{"atomic": True}, {"atomic": False}], ids=["atomic", "plain"])
    async def test_position_and_note_survive_a_restart(self, engine: Engine, options: dict[str, bool]) -> None:
        async def first(lane: Lane) -> None:
            await lane.open()
            await lane.commit(after((await take(lane, 3))[:2]), b"\x00\xff note")

        async def second(lane: Lane) -> None:
            start = await lane.open()
            assert (dict(start.next), start.note) == ({"alpha": 2}, b"\x00\xff note")
            assert values(await take(lane, 1)) == [b"2"]

        async with engine.open() as bus:
            await bus.publish([record(b"%d" % number) for number in range(3)])
            await on_lane(bus, "group", first, **options)
        async with engine.open() as bus:
            await on_lane(bus, "group", second, **options)

    @pytest.mark.parametrize("options", [{"atomic": True}, {"atomic": False}], ids=["atomic", "plain"])
    async def test_the_last_of_many_commits_stands(self, engine: Engine, options: dict[str, bool]) -> None:
        async def first(lane: Lane) -> None:
            await lane.open()
            for held in await take(lane, 5):
                await lane.commit(after([held]), b"n=%d" % held.offset)

        async def second(lane: Lane) -> None:
            start = await lane.open()
            assert (dict(start.next), start.note) == ({"alpha": 5}, b"n=4")

        async with engine.open() as bus:
            await bus.publish([record(b"%d" % number) for number in range(5)])
            await on_lane(bus, "group", first, **options)
            await on_lane(bus, "group", second, **options)

    async def test_the_longest_note_comes_back_byte_for_byte(self, engine: Engine) -> None:
        note = bytes(number * 7 % 256 for number in range(NOTE_LIMIT))

        async def first(lane: Lane) -> None:
            await lane.commit((await lane.open()).next, note)

        async def second(lane: Lane) -> None:
            assert (await lane.open()).note == note

        async with engine.open() as bus:
            await on_lane(bus, "group", first)
            await on_lane(bus, "group", second)

    async def test_a_commit_that_cannot_be_meant_is_a_bug_and_shows_nothing(self, engine: Engine) -> None:
        async def scenario(lane: Lane) -> None:
            start = await lane.open()
            with pytest.raises(ValueError, match="note"):
                await lane.commit(start.next, b"x" * (NOTE_LIMIT + 1))
            with pytest.raises(ValueError, match="every topic"):
                await lane.commit({"alpha": 0}, b"half")
            with pytest.raises(TypeError, match="atomic"):
                await lane.commit(start.next, b"plain", [record(b"out")])
            assert start.note == b""
            await lane.commit(start.next, b"whole")

        async def finds_the_last(lane: Lane) -> None:
            assert (await lane.open()).note == b"whole"

        async with engine.open() as bus:
            await on_lane(bus, "group", scenario, topics=["alpha", "beta"], atomic=False)
            await on_lane(bus, "group", finds_the_last, topics=["alpha", "beta"], atomic=False)

    async def test_outputs_of_a_commit_are_records_for_other_groups(self, engine: Engine) -> None:
        async def scenario(lane: Lane) -> None:
            await lane.open()
            batch = await take(lane, 1)
            await lane.commit(after(batch), b"1", [record(b"out", topic="beta"), record(b"out too", topic="gamma", index=2)])

        async with engine.open() as bus:
            await bus.publish([record(b"in")])
            await on_lane(bus, "group", scenario)
            assert values(await read(bus, "beta reader", b"out", topics=["beta"])) == [b"out"]
            assert values(await read(bus, "gamma reader", b"out too", topics=["gamma"])) == [b"out too"]

    async def test_a_commit_with_an_output_too_large_shows_nothing_and_the_session_goes_on(self, engine: Engine) -> None:
        async def scenario(lane: Lane) -> None:
            await lane.open()
            batch = await take(lane, 1)
            with pytest.raises(TooLarge):
                await lane.commit(
                    after(batch), b"large", [record(b"never", topic="beta"), record(b"x" * (MESSAGE_LIMIT + 1), topic="beta")]
                )
            await lane.commit(after(batch), b"small", [record(b"sentinel", topic="beta")])

        async def finds_the_second(lane: Lane) -> None:
            assert (await lane.open()).note == b"small"

        async with engine.open() as bus:
            await bus.publish([record(b"in")])
            await on_lane(bus, "group", scenario)
            await on_lane(bus, "group", finds_the_second)
            assert values(await read(bus, "reader", b"sentinel", topics=["beta"])) == [b"sentinel"]

    async def test_lanes_commit_side_by_side(self, engine: Engine) -> None:
        stop, done = asyncio.Event(), set[int]()

        async def work(lane: Lane, told: Stop) -> None:
            start = await lane.open()
            for number in range(10):
                await lane.commit(start.next, b"%d" % number, [record(b"%d %d" % (lane.index, number), topic="beta")])
            done.add(lane.index)
            if len(done) == 3:
                stop.set()
            await told.wait()

        async with engine.open() as bus:
            await consume(bus, "group", work, stop)
            await bus.publish([record(b"sentinel", topic="beta")])
            seen = values(await read(bus, "reader", b"sentinel", topics=["beta"]))
        for index in range(3):
            assert [value for value in seen if value.startswith(b"%d " % index)] == [b"%d %d" % (index, n) for n in range(10)]

    async def test_lag_counts_what_is_not_committed(self, engine: Engine) -> None:
        async def reads_two(lane: Lane) -> None:
            await lane.open()
            await lane.commit(after((await take(lane, 5))[:2]), b"")

        async with engine.open() as bus:
            began = datetime.now(UTC) - timedelta(seconds=1)
            await bus.publish([record(b"%d" % number) for number in range(5)])
            await on_lane(bus, "group", reads_two)
            lag = await bus.lag("group", ["alpha"])
            assert lag.records == 3
            assert lag.oldest is not None
            assert began <= lag.oldest <= datetime.now(UTC) + timedelta(seconds=1)
            await read(bus, "group", b"4")
            lag = await bus.lag("group", ["alpha"])
        assert (lag.records, lag.oldest) == (0, None)

    async def test_lag_knows_the_oldest_of_all_indexes_however_large_its_records_are(self, engine: Engine) -> None:
        async with engine.open() as bus:
            await bus.publish([record(b"x" * 5_000, index=2)])
            await asyncio.sleep(1.2)
            await bus.publish([record(b"x" * 5_000, index=index) for index in (0, 1)])

            opened, stop = set[int](), asyncio.Event()

            async def opens(lane: Lane, _ends: Stop) -> None:
                await lane.open()
                opened.add(lane.index)
                if len(opened) == 3:
                    stop.set()

            await consume(bus, "group", opens, stop)
            lag = await bus.lag("group", ["alpha"])
        assert lag.oldest is not None
        assert datetime.now(UTC) - lag.oldest > timedelta(seconds=1)

    async def test_what_a_group_has_committed_is_told_by_index(self, engine: Engine) -> None:
        async def reads_two(lane: Lane) -> None:
            await lane.open()
            await lane.commit(after((await take(lane, 5))[:2]), b"")

        async with engine.open() as bus:
            assert await bus.committed("group", "alpha") == {}
            await bus.publish([record(b"%d" % number) for number in range(5)])
            await on_lane(bus, "group", reads_two)
            assert (await bus.committed("group", "alpha"))[0] == 2


class TestSessions:
    async def test_a_work_that_raises_revoked_gets_a_new_session_and_what_it_had_not_committed(self, engine: Engine) -> None:
        stop, sessions = asyncio.Event(), list[list[bytes]]()

        async def work(lane: Lane, told: Stop) -> None:
            if lane.index:
                await told.wait()
                return
            await lane.open()
            batch = await take(lane, 2)
            sessions.append(values(batch))
            if len(sessions) < 3:
                raise Revoked
            await lane.commit(after(batch), b"")
            stop.set()

        async with engine.open() as bus:
            await bus.publish([record(b"one"), record(b"two")])
            await consume(bus, "group", work, stop)
        assert sessions == [[b"one", b"two"]] * 3

    async def test_one_revoked_work_ends_the_sessions_of_all_lanes(self, engine: Engine) -> None:
        stop, opened = asyncio.Event(), list[int]()

        async def work(lane: Lane, told: Stop) -> None:
            await lane.open()
            opened.append(lane.index)
            if lane.index == 0:
                if opened.count(0) == 2:
                    stop.set()
                elif {1, 2} - set(opened):
                    await all_open.wait()
                if not stop.is_set():
                    raise Revoked
            elif set(opened) == {1, 2} or len(set(opened)) == 3:
                all_open.set()
            await told.wait()

        all_open = asyncio.Event()
        async with engine.open() as bus:
            await consume(bus, "group", work, stop)
        assert opened.count(0) == 2
        assert opened.count(1) >= 1

    async def test_every_call_of_an_ended_session_raises_revoked_and_shows_nothing(self, engine: Engine) -> None:
        stop, former = asyncio.Event(), list[Lane]()

        async def work(lane: Lane, told: Stop) -> None:
            if lane.index:
                await told.wait()
                return
            await lane.open()
            batch = await take(lane, 1)
            if not former:
                former.append(lane)
                raise Revoked
            with pytest.raises(Revoked):
                await former[0].fetch(1, 0)
            with pytest.raises(Revoked):
                await former[0].commit(after(batch), b"late", [record(b"late", topic="beta")])
            with pytest.raises(Revoked):
                await former[0].open()
            await lane.commit(after(batch), b"in time", [record(b"in time", topic="beta")])
            stop.set()

        async with engine.open() as bus:
            await bus.publish([record(b"one")])
            await consume(bus, "group", work, stop)
            assert values(await read(bus, "reader", b"in time", topics=["beta"])) == [b"in time"]

    async def test_a_waiting_fetch_of_an_ended_session_raises_revoked_at_once(self, engine: Engine) -> None:
        stop, ended = asyncio.Event(), list[int]()

        async def work(lane: Lane, told: Stop) -> None:
            if ended:
                await told.wait()
                return
            await lane.open()
            if lane.index == 0:
                await asyncio.wait_for(waits.wait(), 20)
                raise Revoked
            waits.set()
            try:
                await lane.fetch(1, 1_000)
            except Revoked:
                ended.append(lane.index)
                stop.set()
                raise

        waits = asyncio.Event()
        async with engine.open() as bus:
            await consume(bus, "group", work, stop)
        assert ended

    async def test_calls_after_consume_has_ended_raise_revoked(self, engine: Engine) -> None:
        lanes = list[Lane]()

        async def scenario(lane: Lane) -> None:
            await lane.open()
            lanes.append(lane)

        async with engine.open() as bus:
            await on_lane(bus, "group", scenario)
            with pytest.raises(Revoked):
                await lanes[0].commit({"alpha": 0}, b"late")
            with pytest.raises(Revoked):
                await lanes[0].fetch(1, 0)

    async def test_any_other_exception_of_a_work_leaves_consume(self, engine: Engine) -> None:
        told_others = list[int]()

        async def work(lane: Lane, told: Stop) -> None:
            if lane.index == 0:
                await lane.open()
                raise ZeroDivisionError
            await told.wait()
            told_others.append(lane.index)

        async with engine.open() as bus:
            with pytest.raises(ZeroDivisionError):
                await consume(bus, "group", work, asyncio.Event())
        assert sorted(told_others) == [1, 2]

    async def test_after_such_an_exception_the_group_can_be_consumed_again(self, engine: Engine) -> None:
        async def fails(lane: Lane) -> None:
            await lane.open()
            await take(lane, 1)
            raise ZeroDivisionError

        async with engine.open() as bus:
            await bus.publish([record(b"one")])
            with pytest.raises(ZeroDivisionError):
                await on_lane(bus, "group", fails)
            assert values(await read(bus, "group", b"one")) == [b"one"]

    async def test_stop_lets_a_work_commit_what_it_has_begun(self, engine: Engine) -> None:
        stop = asyncio.Event()

        async def work(lane: Lane, told: Stop) -> None:
            await lane.open()
            if lane.index == 0:
                batch = await take(lane, 1)
                stop.set()
                await told.wait()
                await lane.commit(after(batch), b"after stop")

        async def finds_it(lane: Lane) -> None:
            assert (await lane.open()).note == b"after stop"

        async with engine.open() as bus:
            await bus.publish([record(b"one")])
            await consume(bus, "group", work, stop)
            await on_lane(bus, "group", finds_it)

    async def test_stop_ends_the_wait_for_records(self, engine: Engine) -> None:
        stop, waiting, batches = asyncio.Event(), asyncio.Event(), list[Sequence[Held]]()

        async def work(lane: Lane, told: Stop) -> None:
            if lane.index:
                await told.wait()
                return
            await lane.open()
            waiting.set()
            batches.append(await lane.fetch(10, PATIENCE))

        async def tell() -> None:
            await waiting.wait()
            await asyncio.sleep(0.1)  # into the wait; a stop that comes before it does the same
            stop.set()

        async with engine.open() as bus, asyncio.timeout(PATIENCE / 2), asyncio.TaskGroup() as tasks:
            tasks.create_task(tell())
            await consume(bus, "group", work, stop)
        assert [list(batch) for batch in batches] == [[]]

    async def test_a_work_that_a_stray_cancellation_ends_gets_a_new_session(self, engine: Engine) -> None:
        stop, sessions = asyncio.Event(), Counter[int]()

        async def work(lane: Lane, told: Stop) -> None:
            await lane.open()
            sessions[lane.index] += 1
            if lane.index == 0 and sessions[0] == 1:
                raise asyncio.CancelledError  # a library's own, that nobody asked for
            if sessions[0] == 2:
                stop.set()
            await told.wait()

        async with engine.open() as bus, asyncio.timeout(PATIENCE / 2):
            await consume(bus, "group", work, stop)
        assert sessions[0] == 2

    async def test_a_work_that_ignores_stop_is_waited_for_as_long_as_was_said(self, engine: Engine) -> None:
        assert GRACE == 5
        stop, cut = asyncio.Event(), list[float]()
        clock = asyncio.get_running_loop().time

        async def work(lane: Lane, told: Stop) -> None:
            del told
            if lane.index:
                return
            stop.set()
            began = clock()
            try:
                await asyncio.sleep(60)
            finally:
                cut.append(clock() - began)

        async with engine.open() as bus:
            await consume(bus, "group", work, stop, grace=1.0)
        assert 0.9 < cut[0] < 20

    async def test_a_stop_set_before_consume_ends_it(self, engine: Engine) -> None:
        stop = asyncio.Event()
        stop.set()

        async def work(lane: Lane, told: Stop) -> None:
            del lane
            await told.wait()

        async with engine.open() as bus:
            await consume(bus, "group", work, stop)

    async def test_cancelling_consume_cancels_the_works(self, engine: Engine) -> None:
        started, cancelled = asyncio.Event(), list[int]()

        async def work(lane: Lane, told: Stop) -> None:
            try:
                started.set()
                await asyncio.sleep(60 if told else 0)
            except asyncio.CancelledError:
                cancelled.append(lane.index)
                raise

        async with engine.open() as bus:
            task = asyncio.create_task(consume(bus, "group", work, asyncio.Event(), grace=0.5))
            await asyncio.wait_for(started.wait(), PATIENCE)
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert 0 in cancelled or len(cancelled) == 3


class TestExclusive:
    async def test_the_holder_publishes(self, engine: Engine) -> None:
        async with engine.open() as bus:
            async with bus.exclusive("announce") as publisher:
                await publisher.publish([record(b"one")])
                await publisher.publish([record(b"two"), record(b"three")])
            assert values(await read(bus, "group", b"three")) == [b"one", b"two", b"three"]

    async def test_a_new_holder_fences_the_former_whose_late_records_are_never_seen(self, engine: Engine) -> None:
        async with engine.open() as bus:
            async with bus.exclusive("announce") as former:
                await former.publish([record(b"early")])
                async with bus.exclusive("announce") as latter:
                    with pytest.raises(Revoked):
                        await former.publish([record(b"late")])
                    await latter.publish([record(b"sentinel")])
                    with pytest.raises(Revoked):
                        await former.publish([record(b"later still")])
            assert values(await read(bus, "group", b"sentinel")) == [b"early", b"sentinel"]

    async def test_names_do_not_disturb_one_another(self, engine: Engine) -> None:
        async with engine.open() as bus:
            async with bus.exclusive("one") as one, bus.exclusive("two") as two:
                await one.publish([record(b"one")])
                await two.publish([record(b"two")])
            assert values(await read(bus, "group", b"two")) == [b"one", b"two"]

    async def test_a_record_too_large_leaves_the_holder_in_place(self, engine: Engine) -> None:
        async with engine.open() as bus:
            async with bus.exclusive("announce") as publisher:
                with pytest.raises(TooLarge):
                    await publisher.publish([record(b"companion"), record(b"x" * (MESSAGE_LIMIT + 1))])
                await publisher.publish([record(b"sentinel")])
            assert values(await read(bus, "group", b"sentinel")) == [b"sentinel"]
