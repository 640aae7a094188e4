"""What it promises to learn of topics while it runs (workers/bus/contract.py, Bus.declare), asked of each engine."""

import msgspec
import pytest

from schemas.errors import Rejected
from tests.contracts.conftest import LATER
from tests.contracts.test_bus import Engine, on_lane, read, record, take, values
from workers.bus.contract import Lane


async def test_a_topic_that_is_declared_later_is_written_read_looked_at_and_measured(engine: Engine) -> None:
    async with engine.open() as bus, bus.browse() as browser:
        await bus.publish([record(b"before")])
        assert values(await read(bus, "group", b"before")) == [b"before"]
        with pytest.raises(Rejected):
            await bus.publish([record(b"early", topic="later")])
        assert [span.next for span in await browser.spans("alpha")] == [1, 0, 0], "it is open before"
        await bus.declare([LATER])
        await bus.declare([LATER])
        await bus.publish([record(b"%d" % number, topic="later") for number in range(3)])
        assert values(await browser.read("later", 0, 0, 10)) == [b"0", b"1", b"2"]
        assert values(await read(bus, "group of it", b"2", topics=["later"])) == [b"0", b"1", b"2"]
        assert (await bus.lag("group of it", ["later"])).records == 0
        assert (await bus.committed("group of it", "later"))[0] == 3

        async def copies(lane: Lane) -> None:
            following = dict((await lane.open()).next)
            held = await take(lane, 1)
            await lane.commit(following | {"alpha": held[0].offset + 1}, b"", [record(b"copy", topic="later")])

        await on_lane(bus, "copying", copies)
        assert values(await browser.read("later", 0, 3, 10)) == [b"copy"]
        await bus.publish([record(b"after")])
        assert values(await read(bus, "group", b"after")) == [b"after"]


async def test_it_is_there_after_a_restart_that_declares_it_again(engine: Engine) -> None:
    async with engine.open() as bus:
        await bus.declare([LATER])
        await bus.publish([record(b"kept", topic="later")])
    async with engine.open() as bus, bus.browse() as browser:
        await bus.declare([LATER])
        assert values(await browser.read("later", 0, 0, 10)) == [b"kept"]


async def test_one_that_differs_is_refused_and_changes_nothing(engine: Engine) -> None:
    async with engine.open() as bus:
        await bus.declare([LATER])
        other = msgspec.structs.replace(LATER, partitions=5)
        with pytest.raises(Rejected):
            await bus.declare([other])
        await bus.publish([record(b"still", topic="later")])
        assert values(await read(bus, "group", b"still", topics=["later"])) == [b"still"]


async def test_one_that_no_operator_made_is_refused(engine: Engine) -> None:
    if type(engine).__name__ != "Kafka":
        pytest.skip("the others make it themselves")
    absent = msgspec.structs.replace(LATER, name="absent")
    async with engine.open() as bus:
        with pytest.raises(Rejected, match="absent"):
            await bus.declare([absent, LATER])
        for name in ("absent", "later"):
            with pytest.raises(Rejected):
                await bus.publish([record(b"x", topic=name)])
        await bus.publish([record(b"goes on")])
        assert values(await read(bus, "group", b"goes on")) == [b"goes on"]
