"""Two members, rebalances in mid-step, zombies and doubtful transactions on a real broker: nothing lost, nothing doubled."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from schemas.topics import physical
from tests.workers.bus.kafka.conftest import PARTITIONS, Place, after, copying, everything, key, playing, record, until
from workers.bus.contract import Lane, Record, Revoked, Stop, Unknown
from workers.bus.kafka import codes, group, transaction
from workers.bus.kafka.eos import Place as Partition
from workers.bus.kafka.group import Membership
from workers.bus.kafka.transaction import Aborted, Carried, Fenced, Transactor
from workers.bus.kafka.url import parse
from workers.bus.kafka.wire import Wire

pytestmark = pytest.mark.kafka


def of_lane(lane: Lane) -> Membership:
    me: Membership = lane._session.me  # type: ignore[attr-defined]
    return me


def spot(place: Place, topic: str, index: int = 0) -> Partition:
    return Partition(physical(place.namespace, topic), index)


async def transactor(place: Place, name: str = "any") -> Transactor:
    wire = Wire(parse(place.url), patience=5)
    await wire.open([spot(place, "alpha").topic, spot(place, "beta").topic])
    made = Transactor(wire, f"{place.namespace}.{name}")
    await made.begin()
    return made


async def test_members_come_and_go_in_mid_step_and_every_record_is_copied_once_in_order(place: Place) -> None:
    number = 600
    stops = [asyncio.Event() for _ in range(3)]
    async with place.open() as bus, asyncio.TaskGroup() as tasks:
        seen: list[bytes] = []
        members = [tasks.create_task(playing(bus, lambda lane, told: copying(lane, told, seen), stop)) for stop in stops[:1]]
        for n in range(number):
            await bus.publish([record(b"%d" % n, index=n % PARTITIONS)])
            if n == 150:
                members.append(tasks.create_task(playing(bus, lambda lane, told: copying(lane, told, seen), stops[1])))
            if n == 300:
                members.append(tasks.create_task(playing(bus, lambda lane, told: copying(lane, told, seen), stops[2])))
            if n == 450:
                stops[0].set()
        await until(lambda: len(seen) >= number)
        for stop in stops:
            stop.set()
        await asyncio.gather(*members)
        copied = await everything(bus, "beta")
    assert Counter(held.value for held in copied) == Counter(b"%d" % n for n in range(number))
    for index in range(PARTITIONS):
        mine = [int(held.value) for held in copied if held.index == index]
        assert mine == sorted(mine)


async def test_a_plain_group_reads_everything_over_a_rebalance(place: Place) -> None:
    stops, seen = [asyncio.Event(), asyncio.Event()], set[bytes]()

    async def work(lane: Lane, told: Stop) -> None:
        following = dict((await lane.open()).next)
        while not told.is_set():
            if batch := await lane.fetch(10, 0.2):
                seen.update(held.value for held in batch)
                following |= after(batch)
                await lane.commit(following, b"note")

    async with place.open() as bus, asyncio.TaskGroup() as tasks:
        tasks.create_task(playing(bus, work, stops[0], atomic=False))
        for n in range(300):
            await bus.publish([record(b"%d" % n, index=n % PARTITIONS)])
            if n == 100:
                tasks.create_task(playing(bus, work, stops[1], atomic=False))
        await until(lambda: len(seen) == 300)
        for stop in stops:
            stop.set()
    async with place.open() as bus:
        assert (await bus.lag("group", ["alpha"])).records == 0


@pytest.mark.parametrize("who", ["former generation", "stranger"])
async def test_offsets_of_a_former_generation_and_of_a_stranger_are_refused_and_their_outputs_never_seen(
    place: Place, who: str
) -> None:
    stop, zombie = asyncio.Event(), await transactor(place)

    async def work(lane: Lane, told: Stop) -> None:
        start = await lane.open()
        if lane.index == 0:
            me = of_lane(lane)
            wrong = {
                "former generation": Membership(me.group, me.member_id, me.generation - 1),
                "stranger": Membership(me.group, "stranger", me.generation),
            }[who]
            carried = Carried(wrong, {spot(place, "alpha"): (5, "zombie")})
            with pytest.raises(Aborted):
                await zombie.run({spot(place, "beta"): [record(b"late", topic="beta")]}, carried)
            await lane.commit(start.next, b"mine", [record(b"in time", topic="beta")])
            stop.set()
        await told.wait()

    async with place.open() as bus:
        await playing(bus, work, stop)
        assert [held.value for held in await everything(bus, "beta")] == [b"in time"]
        wire = zombie._wire
        committed = await group.committed(wire, f"{place.namespace}.group", [spot(place, "alpha")])
    assert committed == {spot(place, "alpha"): (0, group.pack(b"mine"))}
    await wire.close()


async def test_a_heartbeat_of_a_former_generation_proves_nothing(place: Place) -> None:
    stop, wire = asyncio.Event(), (await transactor(place))._wire

    async def work(lane: Lane, told: Stop) -> None:
        if lane.index == 0:
            await group.prove(wire, me := of_lane(lane))
            with pytest.raises(codes.Refused) as refused:
                await group.prove(wire, Membership(me.group, me.member_id, me.generation - 1))
            assert refused.value.code in codes.EXPELLED
            stop.set()
        await told.wait()

    async with place.open() as bus:
        await playing(bus, work, stop)
    await wire.close()


async def test_a_read_waits_until_no_transaction_can_change_it_any_more(place: Place) -> None:
    stop, pending = asyncio.Event(), await transactor(place)
    alpha = spot(place, "alpha")

    async def work(lane: Lane, told: Stop) -> None:
        await lane.open()
        if lane.index == 0:
            me = of_lane(lane)
            await pending._work({}, Carried(me, {alpha: (0, "pending")}))
            reading = asyncio.create_task(group.committed(pending._wire, me.group, [alpha]))
            await asyncio.wait([reading], timeout=0.5)
            assert not reading.done()
            await pending._end(commit=True)
            assert await reading == {alpha: (0, "pending")}
            stop.set()
        await told.wait()

    async with place.open() as bus:
        await playing(bus, work, stop)
    await pending._wire.close()


async def test_a_dead_members_open_transaction_delays_the_next_session_and_is_undone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "TIMEOUT_MS", 2_000)  # the broker looks every second
    stop, dead = asyncio.Event(), await transactor(place)
    opened: list[int] = []

    async def work(lane: Lane, told: Stop) -> None:
        start = await lane.open()
        if lane.index == 0:
            opened.append(start.next["alpha"])
            if len(opened) == 1:
                await dead._work({spot(place, "beta"): [record(b"never", topic="beta")]}, carried(lane, place))
                raise Revoked
            stop.set()
        await told.wait()

    async with place.open() as bus:
        await playing(bus, work, stop)
        assert opened == [0, 0]
        assert await everything(bus, "beta") == []
    await dead._wire.close()


def carried(lane: Lane, place: Place) -> Carried:
    return Carried(of_lane(lane), {spot(place, "alpha"): (9, "")})


@pytest.mark.parametrize("arrives", [True, False])
async def test_a_commit_whose_answer_is_lost_is_unknown_and_the_next_session_sees_the_truth(
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
    arrives: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr(transaction, "END", 0.3)
    stop, notes, opened = asyncio.Event(), list[bytes](), list[int]()

    async def work(lane: Lane, told: Stop) -> None:
        start = await lane.open()
        opened.append(lane.index)
        if lane.index == 0:
            await until(lambda: len(opened) >= PARTITIONS)  # their first positions go in transactions of their own
            notes.append(start.note)
            if len(notes) == 1:
                lose_ends(lane, arrives=arrives)
                with pytest.raises(Unknown):
                    await lane.commit(start.next, b"doubtful", [record(b"output", topic="beta")])
                with pytest.raises(Revoked):
                    await lane.fetch(1, 0)
                raise Unknown
            stop.set()
        await told.wait()

    async with place.open() as bus:
        await playing(bus, work, stop)
        copied = [held.value for held in await everything(bus, "beta")]
    assert (notes[1], copied) == ((b"doubtful", [b"output"]) if arrives else (b"", []))


def lose_ends(lane: Lane, *, arrives: bool) -> None:
    """Lose every answer to EndTxn, or the request itself, for as long as this session lasts."""
    wire: Any = lane._session._wire  # type: ignore[attr-defined]
    ask = wire.ask

    async def losing(node: int, request: object, **how: Any) -> object:  # noqa: ANN401
        if type(request).__name__ == "EndTxnRequest":
            if arrives:
                while code := (await ask(node, request, **how)).error_code:
                    assert code in codes.AGAIN
            raise codes.Broken("lost")
        if getattr(request, "name", "") == "InitProducerIdRequest":  # the next epoch
            wire.ask = ask
        return await ask(node, request, **how)

    wire.ask = losing


async def test_a_refused_commit_ends_the_sessions_of_all_lanes_and_leaves_nothing(place: Place) -> None:
    stop, sessions = asyncio.Event(), Counter[int]()

    async def work(lane: Lane, told: Stop) -> None:
        start = await lane.open()
        sessions[lane.index] += 1
        if lane.index == 0 and sessions[0] == 1:
            lane._session._merger._me = Membership(of_lane(lane).group, "stranger", 1)  # type: ignore[attr-defined]
            with pytest.raises(Revoked) as refused:
                await lane.commit(start.next, b"refused", [record(b"output", topic="beta")])
            assert not isinstance(refused.value, Unknown)
            raise Revoked
        if min(sessions[index] for index in range(PARTITIONS)) >= 1 and sessions[0] == 2:
            stop.set()
        await told.wait()

    async with place.open() as bus:
        await playing(bus, work, stop)
        assert await everything(bus, "beta") == []


@pytest.mark.parametrize("atomic", [True, False])
async def test_commits_that_meet_become_one_transaction_or_one_request(place: Place, *, atomic: bool) -> None:
    stop, runs, done = asyncio.Event(), list[int](), Counter[int]()

    async def work(lane: Lane, told: Stop) -> None:
        start = await lane.open()
        merger = lane._session._merger  # type: ignore[attr-defined]
        if not runs:
            runs.append(0)
            run = merger._committer.run

            async def counting(*given: object) -> None:
                runs[0] += 1
                await run(*given)

            merger._committer.run = counting
        for n in range(20):
            await lane.commit(start.next, b"%d" % n, [record(b"%d" % n, topic="beta", index=lane.index)] if atomic else ())
            done[lane.index] += 1
        if done.total() == 20 * PARTITIONS:
            stop.set()
        await told.wait()

    async with place.open() as bus:
        await playing(bus, work, stop, atomic=atomic)
        assert len(await everything(bus, "beta")) == (20 * PARTITIONS if atomic else 0)
    assert runs[0] < 20 * PARTITIONS * 0.7


async def test_a_position_after_the_last_record_is_raised_past_transaction_markers(place: Place) -> None:
    stop, writer = asyncio.Event(), await transactor(place)

    async def work(lane: Lane, told: Stop) -> None:
        start = await lane.open()
        if lane.index == 0:
            batch = await lane.fetch(10, 20)
            await until(lambda: (lane._session.position(spot(place, "alpha")) or 0) >= 2)  # type: ignore[attr-defined]
            await lane.commit(start.next | after(batch), b"")
            stop.set()
        await told.wait()

    async with place.open() as bus:
        await writer.run({spot(place, "alpha"): [record(b"one")]})
        await playing(bus, work, stop)
        assert (await bus.lag("group", ["alpha"])).records == 0
    await writer._wire.close()


async def test_a_slow_lane_is_paused_and_holds_nobody_up(place: Place) -> None:
    stop, got = asyncio.Event(), Counter[int]()

    async def work(lane: Lane, told: Stop) -> None:
        await lane.open()
        while not told.is_set():
            if lane.index == 0:
                await told.wait()
            got[lane.index] += len(await lane.fetch(1_000, 0.2))
            if got[1] == 3_000:
                assert len(lane_buffer) == 0 or len(lane_buffer[0]._buffer) < 3_000
                stop.set()

    lane_buffer: list[Any] = []
    async with place.open() as bus:
        await bus.publish([record(b"x" * 200, index=n % 2) for n in range(6_000)])
        await playing(bus, work, stop)
    assert got[0] <= 3_000


async def test_a_holder_goes_on_after_a_failed_publish_unless_another_has_come(place: Place) -> None:
    async with place.open() as bus, bus.exclusive("announce") as holder:
        held: Transactor = holder._transactor  # type: ignore[attr-defined]
        await holder.publish([record(b"one")])
        held.fit = False  # as after a failure
        await holder.publish([record(b"two")])
        other = await transactor(place, "exclusive.announce")
        held.fit = False
        with pytest.raises(Revoked):
            await holder.publish([record(b"late")])
        assert [each.value for each in await everything(bus, "alpha")] == [b"one", b"two"]
        await other._wire.close()


async def test_an_epoch_is_lost_to_whoever_takes_the_next(place: Place) -> None:
    former, latter = await transactor(place), await transactor(place)
    with pytest.raises(Fenced):
        await former.run({spot(place, "beta"): [Record(topic="beta", key=key(0), value=b"late")]})
    await former._wire.close()
    await latter._wire.close()
