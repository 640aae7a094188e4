"""The engines under the bus contract: how each is opened, closed and opened again, and how its records expire."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from schemas.topics import DAY, Topic, physical
from workers.bus import memory, sqlite
from workers.bus.contract import Bus


def topic(name: str) -> Topic:
    return Topic(name=name, key="test", retention=DAY, writers=("ingress",), readers=("dispatch",), partitions=3)


TOPICS = tuple(topic(name) for name in ("alpha", "beta", "gamma"))
LATER = topic("later")  # which is there where an operator made it, and was not declared at the start


class Memory:
    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def open(self) -> AbstractAsyncContextManager[Bus]:
        return memory.connect(f"memory://{self.namespace}", namespace=self.namespace, topics=TOPICS)

    async def expire(self, bus: Bus, name: str, index: int, below: int) -> None:
        assert isinstance(bus, memory.MemoryBus)
        bus.memory.logs[name, index].expire(below)


class Sqlite:
    def __init__(self, namespace: str, folder: Path) -> None:
        self.namespace, self.url = namespace, f"sqlite:///{folder}/bus.db"

    def open(self) -> AbstractAsyncContextManager[Bus]:
        return sqlite.connect(self.url, namespace=self.namespace, topics=TOPICS)

    async def expire(self, bus: Bus, name: str, index: int, below: int) -> None:
        assert isinstance(bus, sqlite.SqliteBus)
        await bus.keeper.drop(bus.layout.of(name)[index], below)


class Kafka:
    def __init__(self, namespace: str, url: str) -> None:
        self.namespace, self.url = namespace, url
        self._made = False

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Bus]:
        from workers.bus import kafka  # noqa: PLC0415  (the other engines' tests do not need its client)

        await self._make()
        async with kafka.connect(self.url, namespace=self.namespace, topics=TOPICS) as bus:
            yield bus

    async def expire(self, bus: Bus, name: str, index: int, below: int) -> None:
        from aiokafka import TopicPartition  # noqa: PLC0415
        from aiokafka.admin import RecordsToDelete  # noqa: PLC0415

        del bus
        async with self._admin() as admin:
            await admin.delete_records({TopicPartition(physical(self.namespace, name), index): RecordsToDelete(below)})

    async def _make(self) -> None:
        from aiokafka.admin import NewTopic  # noqa: PLC0415

        if self._made:
            return
        configs = {"message.timestamp.type": "LogAppendTime", "max.message.bytes": str(2**20)}
        async with self._admin() as admin:
            await admin.create_topics(
                [NewTopic(physical(self.namespace, each.name), 3, 1, topic_configs=configs) for each in (*TOPICS, LATER)]
            )
        self._made = True

    @asynccontextmanager
    async def _admin(self):  # noqa: ANN202  (aiokafka has no types)
        from aiokafka.admin import AIOKafkaAdminClient  # noqa: PLC0415

        admin = AIOKafkaAdminClient(bootstrap_servers=self.url.removeprefix("kafka://").partition("?")[0])
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()


@pytest.fixture(params=["memory", "sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Memory | Sqlite | Kafka:
    namespace = f"t{uuid4().hex[:12]}"
    if request.param == "kafka":
        return Kafka(namespace, request.getfixturevalue("kafka_url"))
    return Sqlite(namespace, tmp_path) if request.param == "sqlite" else Memory(namespace)
