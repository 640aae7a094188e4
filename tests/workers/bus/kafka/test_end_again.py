"""Partitions that a transaction's end has not reached get it with the next epoch, whatever the broker forgot (KAFKA-20734).

A broker that was killed forgets it by chance. One that does not verify which partitions belong to a transaction lets the same
be made on purpose: what is written to a partition that was never added gets no marker.
"""

import asyncio
from collections.abc import Iterator
from math import inf

import pytest

from deploy.local.kafka import Kafka
from schemas.topics import physical
from tests.conftest import broker, standing
from tests.workers.bus.kafka.conftest import Place, copying, everything, key, persist, playing, record, until
from workers.bus.contract import Record
from workers.bus.kafka import consumer, group, hanging, standstill, transaction
from workers.bus.kafka.codes import Broken, Refused
from workers.bus.kafka.eos import Place as Partition
from workers.bus.kafka.eos import describe_transaction, txn_offset_commit
from workers.bus.kafka.group import Membership
from workers.bus.kafka.transaction import Aborted, Carried, Touched, Transactor
from workers.bus.kafka.url import parse
from workers.bus.kafka.wire import GROUP, TRANSACTION, Wire

pytestmark = pytest.mark.kafka
LOST = [Record(topic="beta", key=key(0), value=b"lost end")]
WELL = [Record(topic="beta", key=key(1), value=b"good end")]


@pytest.fixture(scope="module")
def trusting() -> Iterator[Kafka]:
    with standing(broker(**{"transaction.partition.verification.enable": "false"})) as kafka:
        yield kafka


@pytest.fixture
async def forgetful(trusting: Kafka, namespace: str) -> Place:
    return await Place(trusting.url, namespace).prepare()


async def begun(place: Place, touched: Touched) -> tuple[Transactor, Wire]:
    wire = Wire(parse(place.url), patience=5)
    await wire.open([physical(place.namespace, "beta")])
    made = Transactor(wire, f"{place.namespace}.group.1", touched)
    async with asyncio.timeout(30):
        while not made.fit:  # a new broker's coordinators take a moment
            try:
                await made.begin()
            except (Broken, Refused):
                await asyncio.sleep(0.1)
    return made, wire


def beta(place: Place, index: int) -> Partition:
    return Partition(physical(place.namespace, "beta"), index)


async def readable(wire: Wire, place: Partition) -> int:
    return (await group.offsets(wire, [place], group.LATEST))[place]


@pytest.mark.parametrize("committed", [False, True])
async def test_what_got_no_marker_gets_the_end_that_the_coordinator_decided_on(forgetful: Place, *, committed: bool) -> None:
    touched, zero, one = Touched(), beta(forgetful, 0), beta(forgetful, 1)
    made, wire = await begun(forgetful, touched)
    touched.add({zero: LOST, one: WELL}, None)
    await made._add([one])
    await made._produce({zero: LOST, one: WELL})
    if committed:
        await made._end(commit=True)
    assert await readable(wire, zero) == 0  # whoever reads the partition would wait for ever
    await wire.close()

    successor, wire = await begun(forgetful, touched)  # as a new member of the same process makes it
    assert touched.committed is committed
    async with asyncio.timeout(30):
        while await readable(wire, zero) < 2:  # noqa: ASYNC110 (the record and its marker, which the broker writes in its own time)
            await asyncio.sleep(0.05)
    await successor.run({zero: [Record(topic="beta", key=key(0), value=b"next")]})
    await wire.close()
    async with forgetful.open() as bus:
        seen = {held.value for held in await everything(bus, "beta")}
    assert seen == ({b"lost end", b"good end", b"next"} if committed else {b"next"})


@pytest.mark.parametrize("committed", [False, True])
async def test_what_a_dead_process_left_is_ended_by_those_who_write_there(
    forgetful: Place, monkeypatch: pytest.MonkeyPatch, *, committed: bool
) -> None:
    monkeypatch.setattr(hanging, "HANGS", 1.0)  # half a minute, in which nothing else would happen
    monkeypatch.setattr(consumer, "WATCH", 0.5)
    zero, one = beta(forgetful, 0), beta(forgetful, 1)
    dead, wire = await begun(forgetful, Touched())
    await dead._add([one])
    await dead._produce({zero: LOST, one: WELL})
    if committed:
        await dead._end(commit=True)
    stop = asyncio.Event()
    async with forgetful.open() as bus, asyncio.TaskGroup() as tasks:
        tasks.create_task(playing(bus, lambda lane, told: copying(lane, told, []), stop))
        await persist(bus, [record(b"next")])
        async with asyncio.timeout(60):
            while await readable(wire, zero) < 4:  # noqa: ASYNC110 (both records and their markers)
                await asyncio.sleep(0.05)
        stop.set()
    await wire.close()
    async with forgetful.open() as bus:
        seen = {held.value for held in await everything(bus, "beta")}
    assert seen == ({b"lost end", b"good end", b"next"} if committed else {b"next"})


async def test_positions_that_a_dead_process_left_without_an_end_are_given_one(
    forgetful: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "STABLE", 1.0)
    dead, wire = await begun(forgetful, Touched())
    name, alpha = f"{forgetful.namespace}.group", Partition(physical(forgetful.namespace, "alpha"), 0)
    request = txn_offset_commit(dead._id, dead._producer, (name, "", -1), {alpha: (7, "")})
    await wire.insist(GROUP, name, request, transaction._offsets_taken, deadline=asyncio.get_running_loop().time() + 10)
    with pytest.raises(Refused, match="88"):
        await group.committed(wire, name, [alpha])
    seen, stop = list[bytes](), asyncio.Event()
    async with forgetful.open() as bus, asyncio.TaskGroup() as tasks:
        await persist(bus, [record(b"next")])
        tasks.create_task(playing(bus, lambda lane, told: copying(lane, told, seen), stop))
        await until(lambda: seen == [b"next"])
        stop.set()
    await wire.close()


async def forgotten(made: Transactor, zero: Partition, one: Partition) -> None:
    """Run a transaction that commits, and whose end the broker forgets to write to a partition."""
    add, made._add = made._add, lambda _: add([one])  # type: ignore[method-assign, assignment]
    await made.run({zero: LOST, one: WELL})
    made._add = add  # type: ignore[method-assign]


def stranger(place: Place) -> Carried:
    """Return positions that the group does not take."""
    me = Membership(f"{place.namespace}.group", "nobody", 7)
    return Carried(me, {Partition(physical(place.namespace, "alpha"), 0): (1, "")})


def cut(wire: Wire) -> None:
    """Break all connections, as a broker that is killed does."""
    for conn in [*wire.client._conns.values()]:
        conn.close()


@pytest.mark.parametrize("known", [True, False], ids=["the break was seen", "it is seen in sending"])
async def test_an_end_that_was_confirmed_and_then_forgotten_is_not_undone_by_the_next_transaction(
    forgetful: Place, monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    zero, one = beta(forgetful, 0), beta(forgetful, 1)
    made, wire = await begun(forgetful, Touched())
    await forgotten(made, zero, one)
    over = wire.held(TRANSACTION, made._id)
    cut(wire)
    if not known:  # it breaks after the look and before the sending
        await wire.insist(TRANSACTION, made._id, describe_transaction(made._id), transaction._described, deadline=inf)
        with monkeypatch.context() as once:
            once.setattr(wire, "held", lambda *_: over)
            with pytest.raises(Aborted, match="another one now"):
                await made.run({zero: LOST}, stranger(forgetful))
        await made.begin()
    with pytest.raises(Aborted):
        await made.run({zero: LOST}, stranger(forgetful))
    await made.begin()
    await wire.close()
    async with forgetful.open() as bus:
        assert sorted(held.value for held in await everything(bus, "beta")) == [b"good end", b"lost end"]


async def test_an_end_that_could_not_be_said_again_is_said_with_the_next_epoch(
    forgetful: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    zero, one = beta(forgetful, 0), beta(forgetful, 1)
    made, wire = await begun(forgetful, Touched())
    await forgotten(made, zero, one)
    cut(wire)
    with monkeypatch.context() as once:
        once.setattr(wire, "leader", lambda _: None)
        with pytest.raises(Aborted, match="nobody leads"):
            await made.run({one: WELL})
    await made.begin()
    await wire.close()
    async with forgetful.open() as bus:
        assert sorted(held.value for held in await everything(bus, "beta")) == [b"good end", b"lost end"]


async def test_a_connection_that_stays_needs_no_new_epoch(place: Place) -> None:
    zero = beta(place, 0)
    made, wire = await begun(place, Touched())
    epoch = made._producer
    await made.run({zero: WELL})
    await made.run({zero: WELL})
    assert made._producer == epoch
    await wire.close()


def test_a_partition_hangs_when_it_stands_still_for_longer_than_a_transaction_lives() -> None:
    zero, one = Partition("t", 0), Partition("t", 1)
    seen = standstill.since({}, {zero: 5, one: 5}, 100.0)
    seen = standstill.since(seen, {zero: 5, one: 6}, 120.0)
    assert standstill.longer_than(hanging.HANGS, seen, 129.9) == frozenset()
    assert standstill.longer_than(hanging.HANGS, seen, 130.0) == {zero}
    assert standstill.since(seen, {}, 131.0) == {}


async def test_without_a_memory_the_next_commit_would_commit_it(forgetful: Place) -> None:
    zero = beta(forgetful, 0)
    made, wire = await begun(forgetful, Touched())
    await made._produce({zero: LOST})
    await wire.close()
    successor, wire = await begun(forgetful, Touched())
    await successor.run({zero: [Record(topic="beta", key=key(0), value=b"next")]})
    await wire.close()
    async with forgetful.open() as bus:
        assert {held.value for held in await everything(bus, "beta")} == {b"lost end", b"next"}
