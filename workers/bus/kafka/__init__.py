"""The bus on Apache Kafka: the only package that imports aiokafka."""

import contextlib
from collections.abc import AsyncIterator, Collection

from schemas.topics import Topic
from workers.bus.contract import Bus
from workers.bus.kafka.acls import acls
from workers.bus.kafka.backlog import Backlog
from workers.bus.kafka.bus import KafkaBus
from workers.bus.kafka.names import Names
from workers.bus.kafka.producer import Producer
from workers.bus.kafka.topics import apply, check
from workers.bus.kafka.url import parse


@contextlib.asynccontextmanager
async def connect(url: str, *, namespace: str, topics: Collection[Topic]) -> AsyncIterator[Bus]:
    """Yield the bus at a `kafka://` URL. An absent broker is no error: publishes fail at once, consumers wait.

    `topics` is every topic that will be written or read. Misconfigured: a URL that cannot work.
    """
    address = parse(url)
    names = Names(namespace, topics)
    producer, backlog = Producer(address, names), Backlog(address, names)
    try:
        await producer.open()
        yield KafkaBus(address, names, producer, backlog)
    finally:
        await producer.close()
        await backlog.close()


__all__ = ["acls", "apply", "check", "connect"]
