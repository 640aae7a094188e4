"""Topics that were just made can be written to: the controller answers before their leaders serve."""

import msgspec
import pytest
from aiokafka.protocol.offset import OffsetRequest

from schemas.topics import EVENT_RECORDED, physical
from workers.bus import kafka
from workers.bus.kafka.codes import NONE
from workers.bus.kafka.eos import Place
from workers.bus.kafka.group import LATEST, READ_COMMITTED
from workers.bus.kafka.url import parse
from workers.bus.kafka.wire import Wire

pytestmark = pytest.mark.kafka


async def test_once_applied_each_partition_is_served(kafka_url: str, namespace: str) -> None:
    many = [msgspec.structs.replace(EVENT_RECORDED, name=f"made.{number}", partitions=60) for number in range(4)]
    await kafka.apply(kafka_url, namespace=namespace, topics=many, single_broker=True)
    wire = Wire(parse(kafka_url), patience=10)
    try:
        await wire.open([physical(namespace, topic.name) for topic in many])
        wanted = [(physical(namespace, topic.name), [(index, LATEST) for index in range(60)]) for topic in many]
        leader = wire.leader(Place(wanted[0][0], 0))
        assert leader is not None
        answer = await wire.ask(leader, OffsetRequest(-1, READ_COMMITTED, wanted))
    finally:
        await wire.close()
    assert {int(row[1]) for _, rows in answer.topics for row in rows} == {NONE}
