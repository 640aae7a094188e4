"""The broker frozen, killed, restarted and absent: publishes end in time, what was acknowledged is there, consumers come back."""

import asyncio
import contextlib
import time
from collections import Counter
from typing import Any

import pytest

from deploy.local import ports
from deploy.local.kafka import Kafka
from schemas.errors import Misconfigured
from schemas.topics import DAY, Topic, physical
from tests.workers.bus.kafka.conftest import (
    PARTITIONS,
    TOPICS,
    Place,
    copying,
    drained,
    everything,
    persist,
    playing,
    record,
    until,
)
from workers.bus import kafka
from workers.bus.contract import Bus, BusUnavailable, Lane, Stop, TooLarge
from workers.bus.kafka.bus import KafkaBus
from workers.bus.kafka.eos import alter_configs
from workers.bus.kafka.url import parse
from workers.bus.kafka.wire import Wire

pytestmark = pytest.mark.kafka


async def test_a_frozen_broker_fails_publishes_within_their_deadline_and_then_at_once_and_a_thawed_one_takes_them_again(
    fragile: Place, kafka_server: Kafka
) -> None:
    async with fragile.open() as bus:
        await bus.publish([record(b"before")])
        await kafka_server.freeze()
        began = time.monotonic()
        failed = await asyncio.gather(*(bus.publish([record(b"during", index=n % 3)]) for n in range(50)), return_exceptions=True)
        assert all(isinstance(error, BusUnavailable) for error in failed)
        assert time.monotonic() - began < 12  # 2 s, and what the machine adds; without a deadline it would be until the thaw
        assert not bus.available()
        began = time.monotonic()
        with pytest.raises(BusUnavailable):
            await bus.publish([record(b"while down")])
        assert time.monotonic() - began < 1.5  # the deadline is 2
        await kafka_server.thaw()
        await until(bus.available)
        await persist(bus, [record(b"after")])
        seen = Counter(held.value for held in await everything(bus, "alpha"))
    assert (seen[b"before"], seen[b"after"], seen[b"while down"]) == (1, 1, 0)


async def refused(bus: Bus) -> None:
    """Publish to alpha until it takes nothing: a broker deletes a topic a moment after it said so."""
    with contextlib.suppress(BusUnavailable):
        while True:
            await bus.publish([record(b"lost")])


async def test_a_topic_that_takes_nothing_is_known_to_readiness_although_the_broker_is_there(place: Place) -> None:
    async with place.open() as bus:
        await bus.publish([record(b"before"), record(b"before", topic="beta")])
        await place.delete("alpha")
        await refused(bus)
        assert isinstance(bus, KafkaBus)
        await until(lambda: bus._producer._line is not None)
        assert not bus.available()
        await persist(bus, [record(b"of another topic", topic="beta")])
        assert not bus.available()
        await place.prepare()
        await persist(bus, [record(b"after")])
        assert bus.available()


async def test_a_broker_that_falls_silent_is_noticed_although_nobody_publishes(fragile: Place, kafka_server: Kafka) -> None:
    async with fragile.open() as bus:
        assert bus.available()
        await kafka_server.freeze()
        await until(lambda: not bus.available())
        await kafka_server.thaw()
        await until(bus.available)
        await persist(bus, [record(b"after")])


@pytest.mark.timeout(240)
async def test_a_broker_killed_and_restarted_under_load_loses_nothing_that_was_acknowledged(
    fragile: Place, kafka_server: Kafka
) -> None:
    acknowledged, over = set[bytes](), asyncio.Event()

    async def one(bus: Bus, who: int) -> None:
        n = 0
        while not over.is_set():
            n += 1
            value = b"%d-%d" % (who, n)
            try:
                await bus.publish([record(value, index=n % PARTITIONS)])
            except BusUnavailable:
                await asyncio.sleep(0.05)
            else:
                acknowledged.add(value)

    async with fragile.open() as bus, asyncio.TaskGroup() as tasks:
        for who in range(16):
            tasks.create_task(one(bus, who))
        await until(lambda: len(acknowledged) > 500)
        await kafka_server.kill()
        await kafka_server.start()
        held = len(acknowledged)
        await until(lambda: len(acknowledged) > held + 500)
        over.set()
    async with fragile.open() as bus:
        seen = {each.value for each in await everything(bus, "alpha")}
    assert acknowledged - seen == set()


@pytest.mark.timeout(240)
async def test_lanes_copy_each_record_once_over_a_freeze_and_a_kill_of_the_broker(fragile: Place, kafka_server: Kafka) -> None:
    number, seen, stop = 900, list[bytes](), asyncio.Event()
    async with fragile.open() as bus, asyncio.TaskGroup() as tasks:
        tasks.create_task(playing(bus, lambda lane, told: copying(lane, told, seen), stop))
        tries = Counter[int]()
        for n in range(number):
            tries[n] = await persist(bus, [record(b"%d" % n, index=n % PARTITIONS)])
            if n == 300:
                await until(lambda: len(seen) > 50)
                await kafka_server.freeze()
                await asyncio.sleep(3)
                await kafka_server.thaw()
            if n == 600:
                await kafka_server.kill()
                await kafka_server.start()
        await drained(bus)
        stop.set()
    async with fragile.open() as bus:
        into = Counter(held.value for held in await everything(bus, "alpha"))
        out = Counter(held.value for held in await everything(bus, "beta"))
    assert set(into) == {b"%d" % n for n in range(number)}
    assert out == into  # a publish tried twice may be there twice; the copy has each exactly as often


async def test_an_absent_broker_is_waited_for(namespace: str) -> None:
    [port] = ports.free(1)
    stop = asyncio.Event()

    async def work(lane: Lane, told: Stop) -> None:
        del lane
        await told.wait()

    async with kafka.connect(f"kafka://127.0.0.1:{port}", namespace=namespace, topics=TOPICS) as bus:
        assert not bus.available()
        with pytest.raises(BusUnavailable):
            await bus.publish([record(b"one")])
        with pytest.raises(BusUnavailable):
            await bus.lag("group", ["alpha"])
        with pytest.raises(BusUnavailable):
            async with bus.exclusive("announce"):
                pass
        consuming = asyncio.create_task(bus.consume(["alpha"], "group", work, stop, atomic=True))
        await asyncio.wait([consuming], timeout=1.5)
        assert not consuming.done()
        stop.set()
        await asyncio.wait_for(consuming, 10)


async def test_a_topic_with_another_number_of_partitions_is_refused(place: Place) -> None:
    grown = [Topic(name="alpha", key="test", retention=DAY, writers=(), readers=(), partitions=12), TOPICS[1]]

    async def work(lane: Lane, told: Stop) -> None:
        del lane
        await told.wait()

    async with kafka.connect(place.url, namespace=place.namespace, topics=grown) as bus:
        with pytest.raises(Misconfigured, match="12 are declared"):
            await bus.consume(["alpha"], "group", work, asyncio.Event(), atomic=True)


async def test_publishes_that_wait_together_fly_together(place: Place) -> None:
    async with place.open() as bus:
        assert isinstance(bus, KafkaBus)
        line = bus._producer._line
        assert line is not None
        flights, ask = list[object](), line._wire.ask

        async def counting(node: int, request: object, **how: Any) -> object:  # noqa: ANN401
            flights.append(request)
            return await ask(node, request, **how)

        line._wire.ask = counting  # type: ignore[method-assign]
        await asyncio.gather(*(bus.publish([record(b"%d" % n, index=n % PARTITIONS)]) for n in range(1_000)))
        assert len(flights) <= 10
        assert len(await everything(bus, "alpha")) == 1_000


async def test_a_topic_that_takes_less_than_declared_refuses_the_large_record_and_no_other(place: Place) -> None:
    wire = Wire(parse(place.url), patience=10)
    await wire.open()
    await wire.ask(wire.anyone(), alter_configs({physical(place.namespace, "alpha"): {"max.message.bytes": "5000"}}))
    await wire.close()
    async with place.open() as bus:
        async with asyncio.timeout(30):
            while True:
                try:
                    await bus.publish([record(b"x" * 9_000)])
                except TooLarge:
                    break
        await bus.publish([record(b"small")])
        assert bus.available()


async def test_more_than_the_buffer_takes_is_refused_at_once(fragile: Place, kafka_server: Kafka) -> None:
    async with fragile.open() as bus:
        assert isinstance(bus, KafkaBus)
        bus._producer._buffer = 10_000
        await kafka_server.freeze()
        waiting = asyncio.create_task(bus.publish([record(b"x" * 9_000)]))
        await asyncio.sleep(0)
        began = time.monotonic()
        with pytest.raises(BusUnavailable, match="too much"):
            await bus.publish([record(b"x" * 9_000)])
        assert time.monotonic() - began < 1.5  # the deadline is 2
        await asyncio.gather(waiting, return_exceptions=True)
        await kafka_server.thaw()


async def test_applying_topics_twice_changes_nothing_the_second_time_and_check_names_what_differs(
    kafka_url: str, namespace: str
) -> None:
    options = {"namespace": namespace, "topics": TOPICS, "single_broker": True}
    name = physical(namespace, "alpha")
    assert await kafka.check(kafka_url, **options) == [f"{physical(namespace, each.name)}: is missing" for each in TOPICS]
    assert len(await kafka.apply(kafka_url, **options)) == len(TOPICS)
    assert await kafka.apply(kafka_url, **options) == []
    assert await kafka.check(kafka_url, **options) == []
    longer = [Topic(name="alpha", key="test", retention=30 * DAY, writers=(), readers=(), partitions=PARTITIONS)]
    stricter = {"namespace": namespace, "topics": longer, "single_broker": True}
    assert [words.split(" is ")[0] for words in await kafka.check(kafka_url, **stricter)] == [f"{name}: retention.ms"]
    await kafka.apply(kafka_url, **stricter)
    assert await kafka.check(kafka_url, **stricter) == []
    replicated = await kafka.check(kafka_url, namespace=namespace, topics=longer)
    assert [words for words in replicated if "3 are needed: " in words and "Or RINGHOOK_SINGLE_BROKER=yes" in words]
    with pytest.raises(Misconfigured, match="RINGHOOK_SINGLE_BROKER=yes"):
        await kafka.apply(kafka_url, namespace=namespace, topics=longer)
    assert await kafka.check(kafka_url, **stricter) == []  # nothing was changed
