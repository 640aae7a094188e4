"""The fence in the file itself: what a queue or a clock cannot reorder, a session's number refuses."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from workers.bus.contract import Record, Revoked, Start
from workers.bus.sqlite import SqliteBus, deeds
from workers.bus.sqlite.deeds import Member, Read

Open = Callable[..., AbstractAsyncContextManager[SqliteBus]]


async def begun(bus: SqliteBus) -> Member:
    return await bus.writer.ask(deeds.begin("group"))


async def opened_lane(bus: SqliteBus, member: Member) -> Start:
    lane = Read(0, {"alpha": bus.layout.of("alpha")[0]})
    return await bus.writer.ask(deeds.opening(member, lane, [lane], "first"))


async def test_a_commit_of_a_former_session_is_refused_by_the_file(opened: Open) -> None:
    async with opened() as bus:
        former = await begun(bus)
        await opened_lane(bus, former)
        latter = await begun(bus)
        late = deeds.rows(bus.layout, [Record(topic="alpha", key=b"key", value=b"late")])
        with pytest.raises(Revoked):
            await bus.writer.ask(deeds.commit(former, 0, {1: 0}, b"late", late))
        assert (await opened_lane(bus, latter)).note == b""
        with pytest.raises(Revoked):
            await opened_lane(bus, former)
        assert all(bus.writer.ends[slot] == 0 for slot in bus.layout.of("alpha"))


async def test_sessions_are_numbered_on_after_a_restart(opened: Open) -> None:
    async with opened() as bus:
        former = await begun(bus)
    async with opened() as bus:
        assert (await begun(bus)).session > former.session


async def test_a_position_above_the_logs_end_is_refused(opened: Open) -> None:
    async with opened() as bus:
        member = await begun(bus)
        await opened_lane(bus, member)
        with pytest.raises(ValueError, match="above the log's end"):
            await bus.writer.ask(deeds.commit(member, 0, {1: 1}, b"", ()))
        await bus.writer.ask(deeds.commit(member, 0, {1: 0}, b"", ()))


async def test_a_refused_deed_leaves_its_companions_in_the_same_transaction_whole(opened: Open) -> None:
    async with opened() as bus:
        member = await begun(bus)
        await opened_lane(bus, member)
        record = Record(topic="alpha", key=b"key", value=b"value")
        async with bus.exclusive("name") as former, bus.exclusive("name"):
            outcomes = await asyncio.gather(*(each.publish([record]) for each in (bus, former, bus)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [type(None), Revoked, type(None)]
        assert sum(bus.writer.ends.values()) == 2
