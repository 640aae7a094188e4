"""How much a group has not committed, and since when it waits: a few requests, whatever the backlog."""

import asyncio
import struct
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from aiokafka.protocol.fetch import FetchRequest

from workers.bus.contract import BusUnavailable, Lag
from workers.bus.kafka import group
from workers.bus.kafka.codes import Broken, Refused
from workers.bus.kafka.eos import Place, offset_fetch
from workers.bus.kafka.names import Names
from workers.bus.kafka.url import Address
from workers.bus.kafka.wire import GROUP, Wire

T = TypeVar("T")
ANSWER: Final = 5.0  # seconds for a broker
HEAD: Final = struct.Struct(
    ">qiibIhiqq"
)  # base offset, length, epoch, magic, crc, attributes, last offset, first and greatest time
BROKERS_TIME: Final = 0x08  # attribute: the greatest time is when the broker took the batch
GLIMPSE: Final = 256  # bytes of a batch are enough to read its head


class Backlog:
    """Asks over connections of its own, made when first asked."""

    def __init__(self, address: Address, names: Names) -> None:
        self._address = address
        self._names = names
        self._wire: Wire | None = None
        self._one = asyncio.Lock()

    async def lag(self, name: str, topics: Collection[str]) -> Lag:
        """Return the group's lag, transaction markers included; BusUnavailable if Kafka does not say."""
        places = self._places(topics)
        return await self._answered(lambda wire: self._lag(wire, self._names.group(name), places))

    async def committed(self, name: str, topic: str) -> Mapping[int, int]:
        """Return by index what the group has committed; BusUnavailable if Kafka does not say."""
        places = self._places([topic])
        held = await self._answered(lambda wire: _committed(wire, self._names.group(name), places))
        return {place.partition: offset for place, offset in held.items() if offset >= 0}

    def _places(self, topics: Collection[str]) -> list[Place]:
        return [Place(self._names.physical(topic), index) for topic in topics for index in range(self._names.counts[topic])]

    async def _answered(self, ask: Callable[[Wire], Awaitable[T]]) -> T:
        async with self._one:
            try:
                return await ask(await self._open())
            except (Broken, Refused) as error:
                await self._close()
                raise BusUnavailable(str(error)) from error

    async def close(self) -> None:
        """Let go of the broker."""
        async with self._one:
            await self._close()

    async def _lag(self, wire: Wire, group_id: str, places: Sequence[Place]) -> Lag:
        committed = await _committed(wire, group_id, places)
        first = await group.offsets(wire, places, group.EARLIEST)
        ends = await group.offsets(wire, places, group.LATEST)
        begins = {place: max(first[place], committed.get(place, group.NOWHERE)) for place in places}
        waiting = {place: begin for place, begin in begins.items() if begin < ends[place]}
        return Lag(sum(ends[place] - begin for place, begin in waiting.items()), await _oldest(wire, waiting))

    async def _open(self) -> Wire:
        if self._wire is None:
            self._wire = Wire(self._address, patience=ANSWER)
            await self._wire.open(self._names.all_physical())
        return self._wire

    async def _close(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()


async def _committed(wire: Wire, group_id: str, places: Sequence[Place]) -> Mapping[Place, int]:
    request = offset_fetch(group_id, sorted(places), stable=False)
    deadline = asyncio.get_running_loop().time() + ANSWER
    answer = await wire.insist(GROUP, group_id, request, lambda said: int(said.error_code), deadline=deadline)
    return {Place(topic, row[0]): int(row[1]) for topic, rows, _ in answer.topics for row in rows}


async def _oldest(wire: Wire, waiting: Mapping[Place, int]) -> datetime | None:
    """Ask for each partition by itself: of a batch that is larger than a glimpse Kafka gives the first in a request alone."""
    times: list[int] = []
    for place, offset in waiting.items():
        if (node := wire.leader(place)) is None:
            continue
        topics = [(place.topic, [(place.partition, offset, GLIMPSE)])]
        answer = await wire.ask(node, FetchRequest(0, 0, GLIMPSE, group.READ_COMMITTED, topics))
        times += [taken for _, rows in answer.topics for row in rows if (taken := taken_at(bytes(row[-1] or b""))) is not None]
    return datetime.fromtimestamp(min(times) / 1000, UTC) if times else None


def taken_at(batch: bytes) -> int | None:
    """Return when the broker took the first of these batches, in epoch milliseconds; None if its head is not there."""
    if len(batch) < HEAD.size:
        return None
    *_, attributes, _, first, greatest = HEAD.unpack_from(batch)
    return int(greatest if attributes & BROKERS_TIME else first)
