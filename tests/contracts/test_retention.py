"""For how long records are kept that nobody has read (workers/bus/contract.py, Bus.retention), asked of each engine."""

from datetime import timedelta

from tests.contracts.test_bus import Engine, read, record, values


async def test_what_is_said_of_it_holds_and_takes_nothing_away(engine: Engine) -> None:
    async with engine.open() as bus:
        await bus.publish([record(b"first")])
        before = await bus.retention("alpha")
        for days in range(8, 18):
            await bus.retain("alpha", timedelta(days=days))
            assert await bus.retention("alpha") == (timedelta(days=days) if before else None)
        await bus.publish([record(b"second")])
        assert values(await read(bus, "group", b"second")) == [b"first", b"second"]
