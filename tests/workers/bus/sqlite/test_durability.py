"""What was acknowledged is there, whatever happened to the process or its disk."""

import asyncio
import resource
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from workers.bus.contract import BusBroken, BusUnavailable, Lane, Record, Stop
from workers.bus.sqlite import SqliteBus

Open = Callable[..., AbstractAsyncContextManager[SqliteBus]]

# A publisher that writes each number to its ledger after the bus has acknowledged it and never before.
PUBLISHER = """
import asyncio, itertools, os, sys
from schemas.topics import DAY, Topic
from workers.bus.contract import Record
from workers.bus.sqlite import connect

topics = [Topic(name="alpha", key="test", retention=DAY, writers=(), readers=(), partitions=2)]

async def main():
    async with connect(sys.argv[1], namespace="test", topics=topics) as bus:
        numbers = itertools.count(int(sys.argv[2]))
        async def publish():
            for number in numbers:
                text = str(number).encode()
                await bus.publish([Record(topic="alpha", key=text, value=text.rjust(2000))])
                os.write(1, text + b"\\n")
        await asyncio.gather(*(publish() for _ in range(32)))

asyncio.run(main())
"""


async def acknowledged_until_killed(path: Path, first: int, moments: int) -> list[int]:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PUBLISHER, f"sqlite:///{path}", str(first), stdout=PIPE)
    assert process.stdout is not None
    lines = [await process.stdout.readline() for _ in range(moments)]
    process.send_signal(signal.SIGKILL)
    rest = await process.stdout.read()
    await process.wait()
    complete = b"".join(lines) + rest[: rest.rfind(b"\n") + 1]
    return [int(line) for line in complete.splitlines()]


def held(path: Path) -> list[int]:
    """Count in the file itself, as a judge from outside."""
    with sqlite3.connect(path) as link:
        return [int(value) for (value,) in link.execute("select value from record")]


async def test_ten_kills_lose_nothing_acknowledged(path: Path) -> None:
    ledger: list[int] = []
    for kill in range(10):
        ledger += await acknowledged_until_killed(path, kill * 1_000_000, moments=50 + kill * 37)
    there = held(path)
    assert len(ledger) > 2_000
    assert set(ledger) - set(there) == set()
    assert len(there) == len(set(there))


async def test_offsets_go_on_after_a_kill_without_a_hole(opened: Open, path: Path) -> None:
    await acknowledged_until_killed(path, 0, moments=100)
    async with opened() as bus:
        await asyncio.gather(*(bus.publish([Record(topic="alpha", key=b"%d" % n, value=b"%d" % n)]) for n in range(100)))
    with sqlite3.connect(path) as link:
        rows = [row for (row,) in link.execute("select id from record order by id")]
    for slot in {row >> 40 for row in rows}:
        offsets = [row & ((1 << 40) - 1) for row in rows if row >> 40 == slot]
        assert offsets == list(range(len(offsets)))


async def test_an_end_of_the_block_settles_everything_that_was_accepted(opened: Open, path: Path) -> None:
    async with opened() as bus:
        records = [Record(topic="alpha", key=b"%d" % number, value=b"%d" % number) for number in range(500)]
        publishes = [asyncio.create_task(bus.publish([record])) for record in records]
        await asyncio.sleep(0)
    await asyncio.gather(*publishes)
    assert sorted(held(path)) == list(range(500))
    with pytest.raises(BusUnavailable):
        await bus.publish(records)


async def test_every_commit_is_synced(opened: Open) -> None:
    async with opened() as bus:
        assert bus.writer.pragma("synchronous") == 2  # FULL
        assert bus.writer.pragma("journal_mode") == "wal"


@contextmanager
def growth_fails() -> Iterator[None]:
    """Make the operating system refuse writes: a real I/O error, of the kind a dying disk gives.

    No file may have more than a page: the keeper may have begun its log anew, which then has room without growing.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.getpagesize(), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_an_io_error_acknowledges_nobody_and_ends_the_block(opened: Open, path: Path) -> None:
    publishes: list[asyncio.Task[None]] = []
    began = datetime.now(UTC)

    async def block() -> None:
        async with opened() as bus:
            await bus.publish([Record(topic="alpha", key=b"1", value=b"1")])
            with growth_fails():
                publishes.extend(
                    asyncio.create_task(bus.publish([Record(topic="alpha", key=b"2", value=b"2")])) for _ in range(8)
                )
                await asyncio.sleep(60)  # the bus ends the block, not this clock

    with pytest.raises(BusBroken, match=r"disk I/O error.*a file of this process may have at most \d+ bytes \(ulimit -f"):
        await block()
    assert (datetime.now(UTC) - began).total_seconds() < 20
    outcomes = await asyncio.gather(*publishes, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {BusBroken}
    assert held(path) == [1]


async def test_a_lane_of_a_broken_bus_leaves_consume(opened: Open) -> None:
    async def work(lane: Lane, told: Stop) -> None:
        await lane.open()
        if lane.index:
            await told.wait()
            return
        with growth_fails():
            await lane.commit({"alpha": 0}, b"x" * 2_000)
        await told.wait()

    async def block() -> None:
        async with opened() as bus:
            await bus.consume(["alpha"], "group", work, asyncio.Event(), atomic=True)

    with pytest.raises(BusBroken):
        await block()


async def test_more_than_can_wait_for_the_disk_is_refused_at_once(opened: Open, path: Path) -> None:
    record = Record(topic="alpha", key=b"key", value=b"7".rjust(500_000))
    async with opened() as bus:
        publishes = [asyncio.create_task(bus.publish([record])) for _ in range(200)]
        outcomes = await asyncio.gather(*publishes, return_exceptions=True)
    refused = [outcome for outcome in outcomes if outcome is not None]
    assert {type(outcome) for outcome in refused} == {BusUnavailable}
    assert len(held(path)) == 200 - len(refused) >= 30


def damage(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: 2**15] + b"\xff" * (len(whole) - 2**16) + whole[-(2**15) :])


async def test_a_damaged_file_ends_the_block_when_it_is_read(opened: Open, path: Path) -> None:
    async with opened() as bus:
        await bus.publish([Record(topic="alpha", key=b"%d" % n, value=b"%d" % n + b" " * 3_000) for n in range(200)])
    damage(path)

    async def work(lane: Lane, told: Stop) -> None:
        await lane.open()
        while not told.is_set():
            await lane.fetch(100, 1)

    async def block() -> None:
        async with opened() as bus, asyncio.timeout(30):
            await bus.consume(["alpha"], "group", work, asyncio.Event(), atomic=True)

    with pytest.raises(BusBroken, match="malformed"):
        await block()


async def test_a_file_locked_by_another_program_is_unavailable_and_then_works_again(opened: Open, path: Path) -> None:
    record = Record(topic="alpha", key=b"key", value=b"1")
    async with opened() as bus:
        assert bus.writer.pragma("busy_timeout") == 5_000
        bus.writer.pragma("busy_timeout = 300")
        with sqlite3.connect(path, isolation_level=None) as stranger:
            stranger.execute("begin immediate")
            with pytest.raises(BusUnavailable):
                await bus.publish([record])
            stranger.execute("rollback")
        await bus.publish([record])
    assert 1 in held(path)
