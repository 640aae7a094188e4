"""A producer id, an epoch or a flight at its end: the next goes on without a loss or a double."""

import asyncio
from collections import Counter

import pytest

from tests.workers.bus.kafka.conftest import PARTITIONS, Place, copying, everything, persist, playing, record, until
from workers.bus.contract import BusUnavailable, Lane, Stop
from workers.bus.kafka import consumer, line, transaction
from workers.bus.kafka.bus import KafkaBus

pytestmark = pytest.mark.kafka


async def test_a_publisher_whose_sequence_numbers_are_used_up_gets_a_new_id(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "SEQUENCES", 10)
    ids = set[tuple[int, int]]()
    async with place.open() as bus:
        assert isinstance(bus, KafkaBus)
        for n in range(35):
            await persist(bus, [record(b"%d" % n)])
            if (now := bus._producer._line) is not None:
                ids.add(now._producer)
        await until(bus.available)
        assert [held.value for held in await everything(bus, "alpha")] == [b"%d" % n for n in range(35)]
    assert len(ids) >= 3


async def test_lanes_whose_sequence_numbers_are_used_up_get_a_new_epoch(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transaction, "SEQUENCES", 20)
    monkeypatch.setattr(consumer, "LASTED", 0.0)  # no growing pauses
    stop, seen, epochs = asyncio.Event(), list[bytes](), set[int]()

    async def work(lane: Lane, told: Stop) -> None:
        epochs.add(lane._session._merger._committer._producer[1])  # type: ignore[attr-defined]
        await copying(lane, told, seen)

    async with place.open() as bus, asyncio.TaskGroup() as tasks:
        tasks.create_task(playing(bus, work, stop))
        for n in range(200):
            await bus.publish([record(b"%d" % n, index=n % PARTITIONS)])
        await until(lambda: len(set(seen)) == 200)
        stop.set()
    async with place.open() as bus:
        assert Counter(held.value for held in await everything(bus, "beta")) == Counter(b"%d" % n for n in range(200))
    assert len(epochs) > 2


async def test_a_stray_cancellation_of_a_flight_fails_its_publishes_and_no_later_ones(place: Place) -> None:
    async with place.open() as bus:
        assert isinstance(bus, KafkaBus)
        broken = bus._producer._line
        assert broken is not None

        async def ask(*_: object) -> object:
            raise asyncio.CancelledError  # as if a library had let its own escape

        broken._wire.ask = ask  # type: ignore[assignment, method-assign]
        async with asyncio.timeout(10):
            with pytest.raises(BusUnavailable):
                await bus.publish([record(b"cut")])
            await persist(bus, [record(b"later")])
        assert [held.value for held in await everything(bus, "alpha")] == [b"later"]
