"""Deliver on the real Kafka: order, burial and a kill, as on the other engines."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from schemas.topics import DELIVERY_ATTEMPTED, EVENT_RECORDED, delivery_dead
from tests.workers.deliver.support import (
    SECRET,
    STORES,
    Nobody,
    Sink,
    dead_letters,
    delivering,
    destination,
    event,
    header,
    until,
)
from workers.bus import kafka
from workers.bus.contract import GRACE, Bus
from workers.bus.kafka import topics
from workers.deliver import session
from workers.deliver.job import Deliver
from workers.deliver.policy import Standard
from workers.deliver.session import TOPIC
from workers.runtime.database import connect
from workers.runtime.secrets import Secret

LONG = Standard(schedule=(0.2,) * 500)
pytestmark = pytest.mark.kafka
TOPICS = (EVENT_RECORDED, DELIVERY_ATTEMPTED, delivery_dead("alerts"))


@pytest.fixture
async def kafka_bus(kafka_url: str, namespace: str) -> AsyncIterator[Bus]:
    await topics.apply(kafka_url, namespace=namespace, topics=TOPICS, single_broker=True)
    async with kafka.connect(kafka_url, namespace=namespace, topics=TOPICS) as bus:
        yield bus


async def test_events_come_in_order_the_bad_one_is_buried_and_all_is_committed(kafka_bus: Bus, sink: Sink) -> None:
    sink.answer = lambda identity, _number: 422 if identity == "bad" else 200
    await kafka_bus.publish([event("bad", device="bad")])
    devices = [f"d{number}" for number in range(12)]
    await kafka_bus.publish(
        [event(f"{device}-{turn:02}", device=device, account=device) for turn in range(20) for device in devices]
    )
    async with delivering(kafka_bus, destination(sink.url)) as worker:
        await until(lambda: len(sink.unique) == 241, 30)
        (letter,) = await dead_letters(kafka_bus, 1)
    assert header(letter, "ce_id") == "bad"
    orders = defaultdict(list)
    for identity in sink.ids:
        orders[identity.split("-")[0]].append(identity)
    assert all(order == sorted(order) for order in orders.values())
    assert len(sink.ids) == 243
    assert (await kafka_bus.lag(worker.name, [TOPIC])).records == 0


async def test_a_kill_in_mid_flight_loses_nothing(kafka_bus: Bus, sink: Sink) -> None:
    async def slowly(_id: str, _number: int) -> int:
        await asyncio.sleep(0.02)
        return 200

    sink.answer = slowly
    await kafka_bus.publish([event(f"e{number:03}", device=f"d{number}", account=f"a{number}") for number in range(300)])
    killed = asyncio.create_task(
        Deliver(kafka_bus, STORES[-1], destination(sink.url, concurrency=8), [Secret(SECRET)], Nobody(), namespace="test").run(
            asyncio.Event()
        )
    )
    await until(lambda: len(sink.unique) >= 100, 30)
    killed.cancel()
    await asyncio.wait([killed])
    async with delivering(kafka_bus, destination(sink.url)):
        await until(lambda: len(sink.unique) == 300, 30)
    assert len(sink.ids) - 300 <= 8 + 8 / 0.02 * 0.5


async def test_a_failing_key_waits_in_rows_and_a_kill_forgets_none_of_it(
    kafka_bus: Bus, sink: Sink, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "PARK_AFTER", timedelta(seconds=0.3))
    broken = True
    sink.answer = lambda identity, _number: 500 if broken and identity.startswith("bad") else 200
    async with connect(postgres_url) as store:
        await store.create_all()
        worker = Deliver(kafka_bus, store, destination(sink.url), [Secret(SECRET)], Nobody(), namespace="test", policy=LONG)
        running = asyncio.create_task(worker.run(asyncio.Event()))
        await kafka_bus.publish([event(f"bad{turn}", device="bad") for turn in range(3)])
        for turn in range(20):
            await kafka_bus.publish([event(f"good{turn}", device="good")])
            await asyncio.sleep(0.1)
        await until(lambda: worker.flight and worker.flight.waiting() == 3)
        await until(lambda: "good19" in sink.ids)
        running.cancel()
        await asyncio.wait([running])
        broken = False
        await kafka_bus.publish([event("bad3", device="bad")])
        again = Deliver(kafka_bus, store, destination(sink.url), [Secret(SECRET)], Nobody(), namespace="test", policy=LONG)
        stop = asyncio.Event()
        running = asyncio.create_task(again.run(stop))
        await until(lambda: "bad3" in sink.ids)
        stop.set()
        await running
    assert [one for one in sink.unique if one.startswith("bad")] == ["bad0", "bad1", "bad2", "bad3"]
    assert [sink.seen(f"bad{turn}") for turn in (1, 2, 3)] == [1, 1, 1]
    assert sum(sink.ids.count(f"good{turn}") for turn in range(20)) <= 20 + 3


async def test_a_service_that_takes_its_time_gets_nothing_twice_though_copies_come_and_go(kafka_bus: Bus, sink: Sink) -> None:
    """The group is dealt anew once what is under way has ended, however long a request may take."""

    async def slowly(identity: str, _number: int) -> int:
        await asyncio.sleep(GRACE + 0.5 if identity.endswith("-0") else 0.0)
        return 200

    sink.answer = slowly
    slow = destination(sink.url, timeout_s=10.0)
    devices = [f"d{number}" for number in range(24)]
    async with delivering(kafka_bus, slow):
        await kafka_bus.publish(
            [event(f"{device}-{turn}", device=device, account=device) for turn in (0, 1) for device in devices]
        )
        await until(lambda: len(sink.ids) == len(devices))
        async with delivering(kafka_bus, slow):
            await until(lambda: len(sink.unique) == 2 * len(devices))
    assert len(sink.ids) == 2 * len(devices)
    assert sink.most == len(devices)


async def test_in_peace_nothing_comes_twice_though_copies_come_and_go(kafka_bus: Bus, sink: Sink) -> None:
    """Whoever stays has requests under way when the group is dealt anew, and commits what becomes of them before that."""

    async def slowly(_id: str, _number: int) -> int:
        await asyncio.sleep(0.15)
        return 200

    async def goes_on(stop: asyncio.Event, sent: list[str]) -> None:
        while not stop.is_set():
            name = f"e{len(sent):04}"
            await kafka_bus.publish([event(name, device=f"d{len(sent) % 40}", account=f"a{len(sent) % 40}")])
            sent.append(name)
            await asyncio.sleep(0.01)

    sink.answer = slowly
    stop, sent = asyncio.Event(), list[str]()
    async with delivering(kafka_bus, destination(sink.url)), asyncio.TaskGroup() as tasks:
        tasks.create_task(goes_on(stop, sent))
        for _ in range(4):
            before = len(sink.ids)
            async with delivering(kafka_bus, destination(sink.url)):
                await until(lambda: len(sink.ids) > before + 150)  # noqa: B023 - called in this turn only
        stop.set()
        await until(lambda: len(sink.unique) == len(sent))
    assert len(sink.ids) == len(sent)
