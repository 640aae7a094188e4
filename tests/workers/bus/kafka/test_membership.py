"""A session of one who is no member any more reads nothing; a plain group's doubtful commit costs its member the membership."""

import asyncio
import gc
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.workers.bus.kafka.conftest import Place, persist, playing, record, until
from workers.bus.contract import Lane, Revoked, Stop
from workers.bus.kafka import consumer, group
from workers.bus.kafka.codes import REBALANCE_IN_PROGRESS, Broken, Refused
from workers.bus.kafka.consumer import hear
from workers.bus.kafka.group import Membership
from workers.bus.metrics import CONSUMERS_REBUILT

pytestmark = pytest.mark.kafka


def named(request: object) -> str:
    return str(getattr(request, "name", type(request).__name__)).partition("Request")[0]


def asked_of(lane: Lane) -> list[str]:
    """Have the names of all requests of this member noted from now on."""
    wire: Any = lane._session._wire  # type: ignore[attr-defined]
    ask, asked = wire.ask, list[str]()

    async def noting(node: int, request: object, **how: Any) -> object:  # noqa: ANN401
        asked.append(named(request))
        return await ask(node, request, **how)

    wire.ask = noting
    return asked


@pytest.mark.parametrize("atomic", [True, False])
async def test_an_opening_proves_its_membership_before_it_reads(place: Place, atomic: bool) -> None:  # noqa: FBT001
    stop, sessions = asyncio.Event(), 0

    async def work(lane: Lane, told: Stop) -> None:
        nonlocal sessions
        if lane.index:
            await told.wait()
            return
        sessions += 1
        if sessions == 1:
            await lane.commit((await lane.open()).next, b"note")
            raise Revoked
        session: Any = lane._session  # type: ignore[attr-defined]
        if sessions == 2:  # as one that slept while others came
            session.me = Membership(session.me.group, session.me.member_id, session.me.generation - 1)
            asked = asked_of(lane)
            with pytest.raises(Revoked):
                await lane.open()
            assert "OffsetFetch" not in asked
            raise Revoked
        asked = asked_of(lane)
        assert (await lane.open()).note == b"note"
        assert asked.index("Heartbeat") < asked.index("OffsetFetch")
        stop.set()

    async with place.open() as bus:
        await playing(bus, work, stop, atomic=atomic)
    assert sessions == 3


async def test_a_lane_that_opens_while_the_group_is_dealt_anew_cuts_no_other_off_from_its_last_commit(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, opened, refuses, told_well = asyncio.Event(), asyncio.Event(), [False], list[bool]()
    prove = group.prove

    async def proven(wire: Any, me: Membership) -> None:  # noqa: ANN401
        if refuses[0]:
            refuses[0] = False
            raise Refused("Heartbeat", REBALANCE_IN_PROGRESS)
        await prove(wire, me)

    monkeypatch.setattr(group, "prove", proven)

    async def work(lane: Lane, told: Stop) -> None:
        if told_well:
            await told.wait()
        elif lane.index == 0:
            start = await lane.open()
            opened.set()
            await told.wait()
            await lane.commit(start.next, b"done meanwhile")  # Revoked, if the other's refusal ended this one, too
            told_well.append(True)
        elif lane.index == 1:
            await opened.wait()
            refuses[0] = True
            await lane.open()
        else:
            await told.wait()

    async def idle(lane: Lane, told: Stop) -> None:
        del lane
        await told.wait()

    async with place.open() as bus, asyncio.TaskGroup() as tasks:
        tasks.create_task(playing(bus, work, stop, atomic=False))
        await asyncio.wait_for(opened.wait(), 30)
        await until(lambda: not refuses[0])
        await asyncio.sleep(0.2)
        tasks.create_task(playing(bus, idle, stop, atomic=False))  # who joins has it dealt anew
        await until(lambda: bool(told_well))
        stop.set()


async def test_a_group_that_stood_for_long_may_take_its_time_to_be_dealt_anew(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How long there is no assignment counts from its end: whoever left in the midst of it would have all wait once more."""
    monkeypatch.setattr(consumer, "WATCH", 0.1)
    monkeypatch.setattr(consumer, "UNASSIGNED", 8.0)
    stop, working = asyncio.Event(), set[str]()

    async def work(lane: Lane, told: Stop, name: str, *, ends_in: float) -> None:
        del lane
        working.add(name)
        await told.wait()
        await asyncio.sleep(0 if stop.is_set() else ends_in)

    async with place.open() as bus, asyncio.TaskGroup() as tasks:
        rebuilt = [metric.samples for metric in CONSUMERS_REBUILT.collect()]
        tasks.create_task(playing(bus, partial(work, name="slow", ends_in=3.0), stop, atomic=False))
        tasks.create_task(playing(bus, partial(work, name="quick", ends_in=0.0), stop, atomic=False))
        await until(lambda: working == {"slow", "quick"}, within=30)
        await asyncio.sleep(8.3)
        tasks.create_task(playing(bus, partial(work, name="late", ends_in=0.0), stop, atomic=False))
        await until(lambda: "late" in working, within=30)
        assert [metric.samples for metric in CONSUMERS_REBUILT.collect()] == rebuilt
        stop.set()


async def test_a_position_that_expired_is_told_once_though_requests_are_under_way(place: Place) -> None:
    """The sessions end as soon as what is under way has; until then nothing is asked of the broker again and again."""
    stop, gone, gaps = asyncio.Event(), asyncio.Event(), list[int]()

    async def work(lane: Lane, told: Stop) -> None:
        if (gap := (await lane.open()).gaps.get("alpha")) is not None:
            gaps.append(gap)
            stop.set()
        if lane.index == 0 and not stop.is_set():
            await gone.wait()
            with suppress(Revoked):
                while not told.is_set():
                    await lane.fetch(500, 0.2)
            await asyncio.sleep(2)
        await told.wait()

    async with place.open() as bus, asyncio.TaskGroup() as tasks:
        for _ in range(8):
            await persist(bus, [record(b"x" * 1_000) for _ in range(1_000)])  # more than is read ahead of the work
        with capture_logs() as lines:
            tasks.create_task(playing(bus, work, stop, atomic=False))
            await asyncio.sleep(3)
            await place.expire("alpha", 0, 7_999)
            gone.set()
            await until(lambda: bool(gaps))
    assert len(gaps) == 1
    assert [line["event"] for line in lines].count("consumer.out_of_range") == 1


async def test_a_topic_that_was_deleted_and_made_anew_is_read_again_within_seconds(place: Place) -> None:
    stop, seen, open_now = asyncio.Event(), list[bytes](), set[int]()

    async def work(lane: Lane, told: Stop) -> None:
        await lane.open()
        open_now.add(lane.index)
        try:
            while not told.is_set():
                seen.extend(held.value for held in await lane.fetch(10, 0.2))
        finally:
            open_now.discard(lane.index)

    async with place.open() as bus, asyncio.TaskGroup() as group:
        group.create_task(playing(bus, work, stop, atomic=False))
        await until(lambda: open_now == {0, 1, 2})
        await place.delete("alpha")
        await until(lambda: not open_now)
        await place.prepare()
        await persist(bus, [record(b"new")])
        await until(lambda: b"new" in seen, within=30)  # aiokafka itself looks once a minute
        stop.set()


async def test_a_plain_commit_that_may_come_late_ends_the_membership_whatever_ended_the_sessions_first(place: Place) -> None:
    stop, under_way, members = asyncio.Event(), asyncio.Event(), list[str]()

    async def work(lane: Lane, told: Stop) -> None:
        start = await lane.open()
        me: Membership = lane._session.me  # type: ignore[attr-defined]
        if lane.index == 0:
            members.append(me.member_id)
            if len(members) == 2:
                stop.set()
                return
            await under_way.wait()
            raise Revoked  # the first reason for the end: not the commit of the other lane
        if lane.index == 1 and len(members) < 2 and not under_way.is_set():
            wire: Any = lane._session._wire  # type: ignore[attr-defined]
            ask = wire.ask

            async def losing(node: int, request: object, **how: Any) -> object:  # noqa: ANN401
                if not named(request).startswith("OffsetCommit"):
                    return await ask(node, request, **how)
                wire.ask = ask
                under_way.set()
                await told.wait()
                raise Broken("no answer")

            wire.ask = losing
            with pytest.raises(Revoked):
                await lane.commit(start.next, b"late")
            raise Revoked
        await told.wait()

    async with place.open() as bus:
        await playing(bus, work, stop, atomic=False)
    assert members[0] != members[1]


@pytest.mark.parametrize("heard", [True, False])
async def test_a_task_of_the_client_that_died_long_ago_tells_nobody_without_a_place(heard: bool) -> None:  # noqa: FBT001
    async def dying() -> None:
        raise AssertionError("Did we not perform bootstrap?")

    told = list[str]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
    coordinator = SimpleNamespace(_coordination_task=asyncio.create_task(dying()), _heartbeat_task=None)
    await asyncio.wait([coordinator._coordination_task])
    if heard:
        hear(SimpleNamespace(_coordinator=coordinator, _fetcher=SimpleNamespace(_pending_tasks=())))
        await asyncio.sleep(0)
    del coordinator
    gc.collect()
    assert told == ([] if heard else ["Task exception was never retrieved"])
