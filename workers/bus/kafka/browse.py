"""Looking into topics without a group: each read is one request that says from where on, so none has a state to lose."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Final

from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

from workers.bus.contract import Browser, BusUnavailable, Held, Span
from workers.bus.kafka import group
from workers.bus.kafka.codes import AGAIN, DENIED, NONE, OUT_OF_RANGE, TOPIC_DENIED, Broken, Refused
from workers.bus.kafka.eos import Place
from workers.bus.kafka.lane import as_held
from workers.bus.kafka.names import Names
from workers.bus.kafka.url import Address
from workers.bus.kafka.wire import PAUSE, Wire
from workers.bus.wire import READ, bounded

ANSWER: Final = 5.0  # seconds for a broker
ALL: Final = 10.0  # seconds for one question, however many markers lie on the way and wherever leaders have moved
LEAST: Final = 64 * 1024  # bytes of a request's answer, of which there is always one batch at least
USUAL: Final = 1024  # bytes of a record: what is not wanted need not travel
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
GRANT: Final = "`ringhook topics acls` prints what lets each role read its topics"


@contextlib.asynccontextmanager
async def browser(address: Address, names: Names) -> AsyncIterator[Browser]:
    """Yield a browser, whose connections are made when it is first asked."""
    made = KafkaBrowser(address, names)
    try:
        yield made
    finally:
        await made.close()


class KafkaBrowser:
    """Browser (`workers.bus.contract`) of a KafkaBus; after a failure it connects anew."""

    def __init__(self, address: Address, names: Names) -> None:
        self._address, self._names = address, names
        self._wire: Wire | None = None
        self._known: set[str] = set()  # topics that it asks about
        self._opening = asyncio.Lock()

    async def spans(self, topic: str) -> Sequence[Span]:
        """Return what can be read of each index."""
        places = self._places(topic)
        async with self._asking(topic) as wire:
            first = await group.offsets(wire, places, group.EARLIEST)
            following = await group.offsets(wire, places, group.LATEST)
        return [Span(place.partition, min(first[place], following[place]), following[place]) for place in places]

    async def since(self, topic: str, at: datetime) -> Mapping[int, int]:
        """Return by index from where on every record was taken at `at` or later; Kafka's times are milliseconds."""
        places, time = self._places(topic), -((EPOCH - at) // timedelta(milliseconds=1))
        async with self._asking(topic) as wire:
            found = await group.offsets(wire, places, time)
            following = await group.offsets(wire, places, group.LATEST)
        return {place.partition: found[place] if found[place] >= 0 else following[place] for place in places}

    async def read(self, topic: str, index: int, offset: int, limit: int) -> Sequence[Held]:
        """Return the committed records from an offset on, bounded; transaction markers and what was aborted are passed over."""
        place = self._places(topic)[index]
        async with self._asking(topic) as wire:
            records = await _committed(wire, place, offset, min(READ, max(LEAST, USUAL * limit)))
        return list(bounded((as_held(topic, record) for record in records), limit))

    async def close(self) -> None:
        """Let go of the brokers."""
        if self._wire is not None:
            await self._drop(self._wire)

    def _places(self, topic: str) -> Sequence[Place]:
        physical = self._names.physical(topic)
        return [Place(physical, index) for index in range(self._names.counts[topic])]

    @contextlib.asynccontextmanager
    async def _asking(self, topic: str) -> AsyncIterator[Wire]:
        """Give connections to brokers of which one leads the topic; BusUnavailable in words for whatever goes wrong."""
        try:
            async with asyncio.timeout(ALL):
                wire = await self._open()
                try:
                    await self._demand(wire, self._names.physical(topic))
                    yield wire
                except Broken:
                    await self._drop(wire)
                    raise
        except TimeoutError as error:
            raise BusUnavailable(f"Kafka did not answer within {ALL:g} s") from error
        except Refused as error:
            raise BusUnavailable(f"{error}. {GRANT}" if error.code in DENIED else str(error)) from error

    async def _demand(self, wire: Wire, topic: str) -> None:
        """Return if the topic is there for us, and tell its absence from a right that lacks."""
        if topic not in self._known:  # it was declared since
            self._known = {*self._names.all_physical()}
            await wire.know(self._known)
        elif wire.count(topic) is None:
            await wire.refresh()
        if topic in wire.client.cluster.unauthorized_topics:
            raise Refused(f"Describe of {topic}", TOPIC_DENIED)
        if wire.count(topic) is None:
            raise Broken(f"{topic} is not there: `ringhook topics apply` creates it")

    async def _open(self) -> Wire:
        async with self._opening:
            if self._wire is None:
                wire = Wire(self._address, patience=ANSWER)
                try:
                    self._known = {*self._names.all_physical()}
                    await wire.open(self._known)
                except BaseException:
                    await wire.close()
                    raise
                self._wire = wire
            return self._wire

    async def _drop(self, wire: Wire) -> None:
        if self._wire is wire:
            self._wire = None
            await wire.close()


async def _committed(wire: Wire, place: Place, offset: int, size: int) -> Iterable[object]:
    """Return what the first request brings that meets a record, or nothing at the end of what is visible."""
    while True:
        code, records = await _fetched(wire, place, offset, size)
        if code == OUT_OF_RANGE:
            first = (await group.offsets(wire, [place], group.EARLIEST))[place]
            if offset >= first:
                return ()
            offset = first
        elif code in AGAIN:
            await wire.refresh()
            await asyncio.sleep(PAUSE)
        elif code != NONE:
            raise Refused("Fetch", code)
        elif (head := next(records, None)) is not None:
            return chain((head,), records)
        elif records.next_fetch_offset == offset:
            return ()
        else:
            offset = records.next_fetch_offset


async def _fetched(wire: Wire, place: Place, offset: int, size: int) -> tuple[int, PartitionRecords]:
    if (node := wire.leader(place)) is None:
        raise Broken(f"nobody leads {place.topic}-{place.partition}")
    row = (place.partition, offset, size)
    answer = await wire.ask(node, FetchRequest(0, 0, size, group.READ_COMMITTED, [(place.topic, [row])]))
    [(_, [(_, code, _, _, _, aborted, _, batches)])] = answer.topics  # as of version 11, which brokers speak since 2.3
    held = MemoryRecords(bytes(batches or b""))
    return int(code), PartitionRecords(place, held, aborted, offset, None, None, False, group.READ_COMMITTED)  # noqa: FBT003 (crc)
