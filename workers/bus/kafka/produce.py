"""Send batches to whoever leads their partitions, and say how each fared."""

import asyncio
from collections.abc import Mapping
from typing import Final

from aiokafka.protocol.produce import ProduceRequest

from workers.bus.kafka.codes import Broken
from workers.bus.kafka.eos import Place
from workers.bus.kafka.wire import Wire

ALL: Final = -1  # acks: every replica in sync
LEADER_UNKNOWN: Final = 5
NO_ANSWER: Final = 7


async def produce(
    wire: Wire, batches: Mapping[Place, bytes], patience: float, transactional_id: str | None = None
) -> dict[Place, int]:
    """Return Kafka's error code by partition; a broker that does not answer counts as a time-out."""
    by_node: dict[int | None, dict[Place, bytes]] = {}
    for place, data in batches.items():
        by_node.setdefault(wire.leader(place), {})[place] = data
    sent = [_produce(wire, node, some, patience, transactional_id) for node, some in by_node.items()]
    answers = [await sent[0]] if len(sent) == 1 else await asyncio.gather(*sent)
    return {place: code for answer in answers for place, code in answer.items()}


async def _produce(
    wire: Wire, node: int | None, batches: Mapping[Place, bytes], patience: float, transactional_id: str | None
) -> dict[Place, int]:
    if node is None:
        return dict.fromkeys(batches, LEADER_UNKNOWN)
    topics: dict[str, list[tuple[int, bytes]]] = {}
    for place, data in batches.items():
        topics.setdefault(place.topic, []).append((place.partition, data))
    request = ProduceRequest(
        required_acks=ALL, timeout=int(patience * 1000), topics=list(topics.items()), transactional_id=transactional_id
    )
    try:
        answer = await wire.ask(node, request)
    except Broken:
        return dict.fromkeys(batches, NO_ANSWER)
    return {Place(topic, partition): code for topic, rows in answer.topics for partition, code, *_ in rows}
