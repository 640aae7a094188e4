"""What is forgotten when, and what happens while there is no room."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from workers.bus.contract import BusUnavailable, Lane, Record, Stop
from workers.bus.metrics import FILE_BYTES
from workers.bus.partition import partition
from workers.bus.sqlite import SqliteBus
from workers.bus.sqlite.retention import attend, keys
from workers.bus.sqlite.room import needs

Open = Callable[..., AbstractAsyncContextManager[SqliteBus]]

KEY = next(key for key in (b"%d" % number for number in range(99)) if partition(key, 2) == 0)
TOMORROW = timedelta(days=1, hours=1)


def record(value: bytes, topic: str = "alpha", key: bytes = KEY) -> Record:
    return Record(topic=topic, key=key, value=value)


async def in_lane(bus: SqliteBus, group: str, scenario: Callable[[Lane], Awaitable[object]], topic: str = "alpha") -> None:
    stop = asyncio.Event()

    async def work(lane: Lane, told: Stop) -> None:
        if lane.index:
            await told.wait()
            return
        await scenario(lane)
        stop.set()

    async with asyncio.timeout(20):
        await bus.consume([topic], group, work, stop, atomic=True)


async def position(bus: SqliteBus, group: str, offset: int) -> None:
    async def moves(lane: Lane) -> None:
        await lane.open()
        await lane.commit({"alpha": offset}, b"")

    await in_lane(bus, group, moves)


async def values(bus: SqliteBus, topic: str = "alpha") -> list[bytes]:
    seen: list[bytes] = []

    async def reads(lane: Lane) -> None:
        await lane.open()
        while batch := await lane.fetch(1_000, 0):
            seen.extend(held.value for held in batch)

    await in_lane(bus, f"reader {datetime.now(UTC).timestamp()}", reads, topic)
    return seen


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110  (the keeper tells nobody)
            await asyncio.sleep(0.02)


class TestRetention:
    async def test_what_is_younger_than_its_retention_stays(self, opened: Open) -> None:
        async with opened() as bus:
            await bus.publish([record(b"one")])
            await bus.keeper.sweep(datetime.now(UTC) + timedelta(hours=23))
            assert await values(bus) == [b"one"]

    async def test_what_nobody_reads_goes_by_its_age(self, opened: Open) -> None:
        async with opened() as bus:
            await bus.publish([record(b"one")])
            await bus.keeper.sweep(datetime.now(UTC) + TOMORROW)
            assert await values(bus) == []

    async def test_only_what_is_older_goes(self, opened: Open) -> None:
        now = [1_000_000.0]
        async with opened(clock=lambda: now[0]) as bus:
            for hour in range(10):
                now[0] = 1_000_000.0 + hour * 3_600
                await bus.publish([record(b"%d" % hour)])
            await bus.keeper.sweep(datetime.fromtimestamp(1_000_000 + 24 * 3_600 + 5.5 * 3_600, UTC))
            assert await values(bus) == [b"6", b"7", b"8", b"9"]

    async def test_nothing_above_a_live_groups_position_goes(self, opened: Open) -> None:
        async with opened() as bus:
            await bus.publish([record(b"%d" % number) for number in range(5)])
            await position(bus, "slow", 2)
            await position(bus, "quick", 5)
            await bus.keeper.sweep(datetime.now(UTC) + TOMORROW)
            assert await values(bus) == [b"2", b"3", b"4"]

    async def test_a_group_absent_for_a_week_of_running_time_pins_nothing(self, opened: Open) -> None:
        async with opened() as bus:
            await bus.publish([record(b"%d" % number) for number in range(5)])
            await position(bus, "gone", 2)
            await bus.writer.ask(attend(set(), timedelta(days=7, seconds=1)))
            await bus.keeper.sweep(datetime.now(UTC) + TOMORROW)
            assert await values(bus) == []

    async def test_a_group_that_came_back_counts_again(self, opened: Open) -> None:
        async with opened() as bus:
            await bus.publish([record(b"%d" % number) for number in range(5)])
            await bus.writer.ask(attend(set(), timedelta(days=7, seconds=1)))
            await position(bus, "back", 2)
            await bus.keeper.sweep(datetime.now(UTC) + TOMORROW)
            assert await values(bus) == [b"2", b"3", b"4"]

    async def test_thousands_go_in_pieces_and_offsets_go_on(self, opened: Open) -> None:
        async with opened() as bus:
            await bus.publish([record(b"%d" % number) for number in range(3_000)])
            await bus.keeper.sweep(datetime.now(UTC) + TOMORROW)
            assert await values(bus) == []
            await bus.publish([record(b"next")])
        async with opened() as bus:

            async def finds_it(lane: Lane) -> None:
                await lane.open()
                assert [(held.offset, held.value) for held in await lane.fetch(10, 1)] == [(3_000, b"next")]

            await in_lane(bus, "group", finds_it)

    async def test_offsets_go_on_when_all_had_gone_before_a_restart(self, opened: Open) -> None:
        async with opened() as bus:
            await bus.publish([record(b"one"), record(b"two")])
            await bus.keeper.sweep(datetime.now(UTC) + TOMORROW)
        async with opened() as bus:
            assert bus.writer.ends[bus.layout.of("alpha")[0]] == 2


class TestCompaction:  # looked at after a restart: what was just published may still be handed out from memory
    async def test_the_newest_of_each_key_stays(self, opened: Open) -> None:
        keys = [key for key in (b"%d" % number for number in range(999)) if partition(key, 2) == 0][:3]
        async with opened() as bus:
            await bus.publish([record(b"%d %s" % (version, key), "kept", key) for version in range(4) for key in keys])
            await bus.keeper.compact(bus.layout.of("kept")[0])
        async with opened() as bus:
            assert await values(bus, "kept") == [b"3 " + key for key in keys]

    async def test_what_a_group_has_still_to_read_stays_too(self, opened: Open) -> None:
        async with opened() as bus:
            await bus.publish([record(b"%d" % version, "kept") for version in range(4)])

            async def moves(lane: Lane) -> None:
                await lane.open()
                await lane.commit({"kept": 2}, b"")

            await in_lane(bus, "group", moves, "kept")
            await bus.keeper.compact(bus.layout.of("kept")[0])
        async with opened() as bus:
            assert await values(bus, "kept") == [b"2", b"3"]

    async def test_a_tombstone_takes_what_had_its_key_and_after_a_day_itself(self, opened: Open) -> None:
        gone, here = [key for key in (b"%d" % number for number in range(99)) if partition(key, 2) == 0][:2]
        hours = timedelta(hours=2)
        async with opened() as bus:
            await bus.publish([record(b"1", "kept", gone), record(b"", "kept", gone), record(b"2", "kept", here)])
            slot = bus.layout.of("kept")[0]
            for later in (timedelta(), hours):
                await bus.keeper.sweep(datetime.now(UTC) + later)
            assert [key for _, key in await bus.keeper._run(lambda link: keys(link, slot))] == [gone, here]
            await bus.keeper.sweep(datetime.now(UTC) + hours + TOMORROW)
        async with opened() as bus:
            assert await values(bus, "kept") == [b"2"]

    async def test_a_sweep_compacts_when_enough_has_come(self, opened: Open) -> None:
        async with opened() as bus:
            await bus.publish([record(b"%d" % version, "kept") for version in range(1_000)])
            await bus.keeper.sweep(datetime.now(UTC) + TOMORROW)
        async with opened() as bus:
            assert await values(bus, "kept") == [b"999"]

    async def test_holes_are_no_gap_for_a_group_that_reads_on(self, opened: Open) -> None:
        async with opened() as bus:
            await bus.publish([record(b"%d" % version, "kept") for version in range(10)])
            await bus.keeper.compact(bus.layout.of("kept")[0])
        async with opened() as bus:

            async def scenario(lane: Lane) -> None:
                start = await lane.open()
                assert dict(start.gaps) == {}
                assert [(held.offset, held.value) for held in await lane.fetch(5, 1)] == [(9, b"9")]

            await in_lane(bus, "group", scenario, "kept")


class TestRoom:
    async def test_beyond_the_byte_cap_publishes_are_refused_until_something_was_read_and_went(self, opened: Open) -> None:
        now = [1_000_000.0]
        async with opened("?bytes=3000000", clock=lambda: now[0]) as bus:
            await bus.publish([record(b"x" * 400_000) for _ in range(8)])
            await bus.keeper.look()
            with pytest.raises(BusUnavailable, match="cap is 3000000"):
                await bus.publish([record(b"one more")])
            assert not bus.available()

            async def lanes_go_on(lane: Lane) -> None:
                await lane.open()
                await lane.commit({"alpha": 8}, b"", [record(b"output", "kept")])

            await in_lane(bus, "group", lanes_go_on)
            await bus.keeper.sweep(datetime.fromtimestamp(now[0], UTC) + TOMORROW)
            await bus.keeper.look()
            await bus.publish([record(b"one more")])
            assert bus.available()

    async def test_a_full_disk_refuses_publishes_frees_the_ballast_and_recovers(self, opened: Open, path: Path) -> None:
        ballast = path.with_name("bus.db.ballast")
        async with opened() as bus:
            await bus.publish([record(b"before")])
            assert ballast.stat().st_size == 64 * 2**20
            pages = bus.writer.pragma("page_count")
            bus.writer.pragma(f"max_page_count = {pages}")  # SQLite then says what it says on a full disk
            with pytest.raises(BusUnavailable, match="full"):
                await asyncio.gather(*(bus.publish([record(b"x" * 100_000)]) for _ in range(20)))
            assert not bus.available()
            await until(ballast.exists)  # freed, and reserved again, as this disk has room after all
            bus.writer.pragma("max_page_count = 1073741823")
            await until(bus.available)
            await bus.publish([record(b"after")])
            assert await values(bus) == [b"before", b"after"]

    async def test_while_the_disk_is_full_publishes_fail_at_once_and_lanes_go_on(self, opened: Open) -> None:
        async with opened() as bus:
            bus.keeper.filled()
            assert not bus.available()
            with pytest.raises(BusUnavailable, match="the disk is full: 64 MiB of room are needed in /"):
                await bus.publish([record(b"refused")])
            await position(bus, "group", 0)

    async def test_a_start_without_room_looks_again_within_seconds(self, opened: Open, path: Path) -> None:
        ballast = path.with_name("bus.db.ballast")
        ballast.mkdir()  # no ballast can be stowed
        FILE_BYTES.labels("cap").set(0)
        async with opened() as bus:
            await until(lambda: bool(FILE_BYTES.labels("cap")._value.get()))  # the first look is behind us
            with pytest.raises(BusUnavailable, match="the disk is full"):
                await bus.publish([record(b"refused")])
            ballast.rmdir()
            await until(bus.available)

    def test_a_limit_on_the_size_of_files_is_named(self) -> None:
        assert needs(Path("/var"), None) == "the disk is full: 64 MiB of room are needed in /var"
        assert "or a file would outgrow this process's limit of 1000 bytes (ulimit -f" in needs(Path("/var"), 1_000)

    async def test_the_log_is_cut_when_it_has_grown(self, opened: Open, path: Path) -> None:
        log = path.with_name("bus.db-wal")
        async with opened() as bus:
            for _ in range(20):
                await asyncio.gather(*(bus.publish([record(b"x" * 200_000)]) for _ in range(20)))
            await until(lambda: log.stat().st_size < 32 * 2**20)
        assert not log.exists()


async def test_times_never_fall_whatever_the_clock_does(opened: Open) -> None:
    clock = [2_000.0]
    times: list[datetime] = []

    async def reads(lane: Lane) -> None:
        await lane.open()
        times.extend(held.time for held in await lane.fetch(10, 1))

    async with opened(clock=lambda: clock[0]) as bus:
        await bus.publish([record(b"one")])
        clock[0] = 1_000.0
        await bus.publish([record(b"two")])
    async with opened(clock=lambda: clock[0]) as bus:
        await bus.publish([record(b"three")])
        await in_lane(bus, "group", reads)
    assert [time.timestamp() for time in times] == [2_000.0] * 3


async def test_a_second_member_stands_by_until_the_first_is_gone(opened: Open) -> None:
    stops, running = [asyncio.Event(), asyncio.Event()], list[int]()

    async def member(number: int, bus: SqliteBus) -> None:
        async def work(lane: Lane, told: Stop) -> None:
            await lane.open()
            running.append(number)
            await told.wait()

        await bus.consume(["alpha"], "group", work, stops[number], atomic=True)

    async with opened() as bus, asyncio.timeout(20), asyncio.TaskGroup() as members:
        members.create_task(member(0, bus))
        await until(lambda: running == [0, 0])
        members.create_task(member(1, bus))
        await asyncio.sleep(0.1)
        assert running == [0, 0]
        stops[0].set()
        await until(lambda: running == [0, 0, 1, 1])
        stops[1].set()


async def test_an_idle_bus_with_waiting_lanes_writes_nothing(opened: Open, path: Path) -> None:
    stop = asyncio.Event()

    async def work(lane: Lane, told: Stop) -> None:
        await lane.open()
        while not told.is_set():
            await lane.fetch(10, 0.5)

    async with opened() as bus:
        task = asyncio.create_task(bus.consume(["alpha"], "group", work, stop, atomic=True))
        await asyncio.sleep(0.3)
        before = _changes(path)
        await asyncio.sleep(1)
        assert _changes(path) == before
        stop.set()
        await task


def _changes(path: Path) -> int:
    return path.with_name("bus.db-wal").stat().st_mtime_ns
