"""What looking into a topic without a group promises (workers/bus/contract.py, Browser), asked of each engine."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from schemas.errors import Rejected
from tests.contracts.test_bus import Engine, after, on_lane, read, record, take, values
from workers.bus.contract import Browser, Held, Lane, Span

HEADERS = (("type", b"motion"), ("bytes", bytes(range(256))), ("empty", b""))
HOUR = timedelta(hours=1)


async def all_of(browser: Browser, topic: str, index: int, limit: int = 100) -> list[Held]:
    """Read from the first offset on until nothing comes."""
    seen, offset = list[Held](), 0
    while batch := await browser.read(topic, index, offset, limit):
        seen += batch
        offset = batch[-1].offset + 1
    return seen


def firsts(spans: Sequence[Span]) -> list[tuple[int, int]]:
    return [(span.index, span.first) for span in spans]


class TestReading:
    async def test_a_topic_to_which_nobody_wrote_is_empty(self, engine: Engine) -> None:
        async with engine.open() as bus, bus.browse() as browser:
            assert await browser.spans("alpha") == [Span(index, 0, 0) for index in range(3)]
            assert list(await browser.read("alpha", 0, 0, 10)) == []
            assert list(await browser.read("alpha", 0, 7, 10)) == []
            assert await browser.since("alpha", datetime.now(UTC) - HOUR) == {0: 0, 1: 0, 2: 0}

    async def test_records_come_as_they_went_in_and_in_their_order(self, engine: Engine) -> None:
        async with engine.open() as bus, bus.browse() as browser:
            sent = [msgspec.structs.replace(record(b"%d" % number, index=1), headers=HEADERS) for number in range(5)]
            await bus.publish(sent)
            held = await browser.read("alpha", 1, 0, 10)
        assert values(held) == [b"0", b"1", b"2", b"3", b"4"]
        assert [(one.topic, one.index, one.offset) for one in held] == [("alpha", 1, number) for number in range(5)]
        assert {(one.key, one.headers) for one in held} == {(sent[0].key, HEADERS)}

    async def test_it_begins_where_it_is_told_to_and_brings_no_more_than_was_asked_for(self, engine: Engine) -> None:
        async with engine.open() as bus, bus.browse() as browser:
            await bus.publish([record(b"%d" % number) for number in range(9)])
            assert values(await browser.read("alpha", 0, 3, 4)) == [b"3", b"4", b"5", b"6"]
            assert list(await browser.read("alpha", 0, 9, 4)) == []
            assert [span.next for span in await browser.spans("alpha")] == [9, 0, 0]
            await bus.publish([record(b"9")])
            assert values(await browser.read("alpha", 0, 9, 4)) == [b"9"]

    async def test_what_has_expired_is_passed_over(self, engine: Engine) -> None:
        async with engine.open() as bus, bus.browse() as browser:
            await bus.publish([record(b"%d" % number) for number in range(6)])
            await engine.expire(bus, "alpha", 0, 4)
            assert firsts(await browser.spans("alpha")) == [(0, 4), (1, 0), (2, 0)]
            assert values(await browser.read("alpha", 0, 0, 10)) == [b"4", b"5"]
            await engine.expire(bus, "alpha", 0, 6)
            assert list(await browser.read("alpha", 0, 0, 10)) == []
            assert (await browser.spans("alpha"))[0] == Span(0, 6, 6)

    async def test_large_records_come_a_mebibyte_at_a_time(self, engine: Engine) -> None:
        async with engine.open() as bus, bus.browse() as browser:
            sent = [b"%d" % number * 400_000 for number in range(5)]
            for value in sent:
                await bus.publish([record(value)])
            first = await browser.read("alpha", 0, 0, 100)
            assert 1 <= len(first) <= 3
            assert values(await all_of(browser, "alpha", 0)) == sent

    async def test_what_steps_put_out_is_read_over_their_markers(self, engine: Engine) -> None:
        async def scenario(lane: Lane) -> None:
            await lane.open()
            for number in range(4):
                batch = await take(lane, 1)
                await lane.commit(after(batch), b"", [record(b"out %d" % number, topic="beta")])

        async with engine.open() as bus, bus.browse() as browser:
            await bus.publish([record(b"%d" % number) for number in range(4)])
            await on_lane(bus, "group", scenario)
            async with asyncio.timeout(10):
                while len(held := await all_of(browser, "beta", 0, limit=1)) < 4:  # noqa: ASYNC110 - nothing tells when
                    await asyncio.sleep(0.02)  # the last step's marker comes a moment later
            end = (await browser.spans("beta"))[0].next
            assert values(held) == [b"out 0", b"out 1", b"out 2", b"out 3"]
            assert list(await browser.read("beta", 0, end, 10)) == []
            assert [values(await browser.read("beta", 0, one.offset, 1)) for one in held] == [[each] for each in values(held)]

    async def test_no_group_notices(self, engine: Engine) -> None:
        async with engine.open() as bus:
            await bus.publish([record(b"one"), record(b"two")])
            async with bus.browse() as browser:
                assert values(await browser.read("alpha", 0, 0, 10)) == [b"one", b"two"]
            assert values(await read(bus, "group", b"two")) == [b"one", b"two"]
            async with bus.browse() as browser:
                assert values(await browser.read("alpha", 0, 0, 10)) == [b"one", b"two"]

    async def test_many_may_read_at_once(self, engine: Engine) -> None:
        async with engine.open() as bus, bus.browse() as browser:
            await bus.publish([record(b"%d %d" % (index, n), index=index) for index in range(3) for n in range(50)])
            seen = await asyncio.gather(*(all_of(browser, "alpha", index, limit=7) for index in range(3) for _ in range(4)))
        assert [values(one) for one in seen] == [
            [b"%d %d" % (index, n) for n in range(50)] for index in range(3) for _ in range(4)
        ]

    async def test_what_was_held_before_a_restart_is_there_after_it(self, engine: Engine) -> None:
        async with engine.open() as bus:
            await bus.publish([record(b"one")])
        async with engine.open() as bus, bus.browse() as browser:
            assert values(await browser.read("alpha", 0, 0, 10)) == [b"one"]

    async def test_an_unknown_topic_is_rejected(self, engine: Engine) -> None:
        async with engine.open() as bus, bus.browse() as browser:
            for ask in (browser.spans("nowhere"), browser.read("nowhere", 0, 0, 1), browser.since("nowhere", datetime.now(UTC))):
                with pytest.raises(Rejected):
                    await ask


class TestTimes:
    async def test_a_time_finds_the_first_record_that_was_taken_then_or_later(self, engine: Engine) -> None:
        async with engine.open() as bus, bus.browse() as browser:
            for number in range(3):
                await bus.publish([record(b"%d" % number, index=index) for index in range(2)])
                await asyncio.sleep(0.02)
            times = [held.time for held in await browser.read("alpha", 0, 0, 10)]
            assert [(await browser.since("alpha", time))[0] for time in times] == [0, 1, 2]
            assert (await browser.since("alpha", times[1] + timedelta(milliseconds=1)))[0] == 2
            assert await browser.since("alpha", times[0] - HOUR) == {0: 0, 1: 0, 2: 0}
            assert await browser.since("alpha", times[2] + HOUR) == {0: 3, 1: 3, 2: 0}

    async def test_a_time_before_what_has_expired_finds_the_first_that_is_kept(self, engine: Engine) -> None:
        async with engine.open() as bus, bus.browse() as browser:
            await bus.publish([record(b"%d" % number) for number in range(6)])
            await engine.expire(bus, "alpha", 0, 4)
            assert (await browser.since("alpha", datetime.now(UTC) - HOUR))[0] == 4
