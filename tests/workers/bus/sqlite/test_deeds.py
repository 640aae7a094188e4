"""The fence in the file itself: what a queue or a clock cannot reorder, a session's number refuses."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from workers.bus.contract import Record, Revoked
from workers.bus.sqlite import SqliteBus, deeds
from workers.bus.sqlite.deeds import Read

Open = Callable[..., AbstractAsyncContextManager[SqliteBus]]


async def test_a_commit_of_a_former_session_is_refused_by_the_file(opened: Open) -> None:
    async with opened() as bus:
        slot = bus.layout.of("alpha")[0]
        former = await bus.writer.ask(deeds.begin("group"))
        latter = await bus.writer.ask(deeds.begin("group"))
        with pytest.raises(Revoked):
            await bus.writer.ask(
                deeds.commit(
                    former, 0, {slot: 0}, b"late", deeds.rows(bus.layout, [Record(topic="alpha", key=b"key", value=b"late")])
                )
            )
        lane = Read(0, {"alpha": slot})
        assert (await bus.writer.ask(deeds.opening(latter, lane, [lane], "first"))).note == b""
        with pytest.raises(Revoked):
            await bus.writer.ask(deeds.opening(former, lane, [lane], "first"))
        assert all(bus.writer.ends[slot] == 0 for slot in bus.layout.of("alpha"))


async def test_sessions_are_numbered_on_after_a_restart(opened: Open) -> None:
    async with opened() as bus:
        former = await bus.writer.ask(deeds.begin("group"))
    async with opened() as bus:
        assert (await bus.writer.ask(deeds.begin("group"))).session > former.session


async def test_a_position_above_the_logs_end_is_refused_and_its_companions_pass(opened: Open) -> None:
    async with opened() as bus:
        slot = bus.layout.of("alpha")[0]
        member = await bus.writer.ask(deeds.begin("group"))
        with pytest.raises(ValueError, match="above the log's end"):
            await bus.writer.ask(deeds.commit(member, 0, {slot: 1}, b"", ()))
        await bus.writer.ask(deeds.commit(member, 0, {slot: 0}, b"", ()))
