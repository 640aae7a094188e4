"""A broker's topics for one test, and short ways to publish and to read everything that is committed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from deploy.local.kafka import Kafka
from schemas.topics import DAY, Topic, physical
from workers.bus import kafka
from workers.bus.contract import Bus, BusUnavailable, Held, Lane, Record, Stop
from workers.bus.kafka.url import parse
from workers.bus.partition import partition

PARTITIONS = 3
TOPICS = tuple(
    Topic(name=name, key="test", retention=DAY, writers=("ingress",), readers=("dispatch",), partitions=PARTITIONS)
    for name in ("alpha", "beta")
)
PATIENCE = 60.0  # seconds for what a loaded machine may take

Open = Callable[[], AbstractAsyncContextManager[Bus]]


class Place:
    """One broker and one namespace on it."""

    def __init__(self, url: str, namespace: str) -> None:
        self.url = f"{url}{'&' if '?' in url else '?'}session_timeout_s=6"
        self.namespace = namespace

    async def prepare(self) -> "Place":
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    await kafka.apply(self.url, namespace=self.namespace, topics=TOPICS, single_broker=True)
                except BusUnavailable:  # a test before this one restarted it
                    await asyncio.sleep(0.2)
                else:
                    return self

    async def delete(self, topic: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=",".join(parse(self.url).servers))
        await admin.start()
        await admin.delete_topics([name := physical(self.namespace, topic)])
        while name in await admin.list_topics():  # noqa: ASYNC110 - the controller answers before the brokers know
            await asyncio.sleep(0.05)
        await admin.close()

    async def expire(self, topic: str, index: int, below: int) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=",".join(parse(self.url).servers))
        await admin.start()
        await admin.delete_records({TopicPartition(physical(self.namespace, topic), index): RecordsToDelete(below)})
        await admin.close()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Bus]:
        async with kafka.connect(self.url, namespace=self.namespace, topics=TOPICS) as bus:
            yield bus


@pytest.fixture
async def place(kafka_url: str, namespace: str) -> Place:
    return await Place(kafka_url, namespace).prepare()


@pytest.fixture
async def fragile(kafka_server: Kafka, namespace: str) -> Place:
    """The same on the broker that this test may kill and freeze."""
    return await Place(kafka_server.url, namespace).prepare()


def key(index: int) -> bytes:
    return next(text for n in count() if partition(text := b"key-%d" % n, PARTITIONS) == index)


def record(value: bytes, *, topic: str = "alpha", index: int = 0) -> Record:
    return Record(topic=topic, key=key(index), value=value)


def after(batch: Sequence[Held]) -> dict[str, int]:
    return {held.topic: held.offset + 1 for held in batch}


async def until(true: Callable[[], bool], *, within: float = PATIENCE) -> None:
    async with asyncio.timeout(within):
        while not true():  # noqa: ASYNC110 (conditions of any kind)
            await asyncio.sleep(0.02)


async def everything(bus: Bus, topic: str, *, end: bytes = b"end") -> list[Held]:
    """Publish an end to each partition, and return what is committed before it."""
    await persist(bus, [record(end, topic=topic, index=index) for index in range(PARTITIONS)])
    stop, seen, ended = asyncio.Event(), list[Held](), set[int]()

    async def work(lane: Lane, told: Stop) -> None:
        await lane.open()
        while not told.is_set():
            for held in await lane.fetch(500, 0.5):
                if held.value == end:
                    ended.add(held.index)
                else:
                    seen.append(held)
            if len(ended) == PARTITIONS:
                stop.set()

    async with asyncio.timeout(PATIENCE):
        await bus.consume([topic], f"reads.{topic}", work, stop, atomic=False)
    return seen


async def persist(bus: Bus, records: Sequence[Record]) -> int:
    """Publish until it is acknowledged; return how often it was tried."""
    for tries in count(1):
        try:
            await bus.publish(records)
        except BusUnavailable:
            await asyncio.sleep(0.05)
        else:
            return tries
    raise AssertionError


async def playing(bus: Bus, work: Callable[[Lane, Stop], Awaitable[None]], stop: asyncio.Event, *, atomic: bool = True) -> None:
    async with asyncio.timeout(3 * PATIENCE):
        await bus.consume(["alpha"], "group", work, stop, atomic=atomic)


async def drained(bus: Bus) -> None:
    """Return once the group of `playing` has committed everything: a step whose answer was lost may have been the last."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with contextlib.suppress(BusUnavailable):
                if not (await bus.lag("group", ["alpha"])).records:
                    return
            await asyncio.sleep(0.1)


async def copying(lane: Lane, told: Stop, seen: list[bytes]) -> None:
    """Copy alpha to beta, one batch a step, and count steps in the note."""
    start = await lane.open()
    n, following = int(start.note or b"0"), dict(start.next)
    while not told.is_set():
        if batch := await lane.fetch(7, 0.2):
            n, following = n + 1, following | after(batch)
            await lane.commit(following, b"%d" % n, [Record(topic="beta", key=held.key, value=held.value) for held in batch])
            seen.extend(held.value for held in batch)
