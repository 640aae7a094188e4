"""The bus without durability, for fast tests of jobs: the whole contract in one process.

`memory:` is a fresh bus; `memory://name` is found again under its name as long as the process lives.
"""

import asyncio
from bisect import bisect_left
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import msgspec

from schemas.errors import Rejected
from schemas.topics import Topic
from workers.bus.contract import GRACE, Browser, Bus, Held, Lag, Lane, Publisher, Record, Revoked, Span, Start, Stop, Work
from workers.bus.partition import partition
from workers.bus.session import Session, serve
from workers.bus.wire import bounded, check_commit, fits

Beginning = Literal["first", "end"] | datetime


class Log:
    """The records of one (topic, index); `first` rises when they expire."""

    def __init__(self) -> None:
        self.first = 0
        self.records: list[Held] = []

    @property
    def end(self) -> int:
        """The offset that the next record gets."""
        return self.first + len(self.records)

    def since(self, offset: int, limit: int) -> Sequence[Held]:
        """Return up to `limit` records from `offset` on."""
        return self.records[max(0, offset - self.first) :][:limit]

    def place(self, start: Beginning) -> int:
        """Return the offset at which a new group starts."""
        if isinstance(start, datetime):
            return self.first + bisect_left(self.records, start, key=lambda record: record.time)
        return self.first if start == "first" else self.end

    def expire(self, offset: int) -> None:
        """Forget everything below `offset`."""
        del self.records[: offset - self.first]
        self.first = offset


class Memory:
    """What a durable engine keeps in its file."""

    def __init__(self) -> None:
        self.logs: defaultdict[tuple[str, int], Log] = defaultdict(Log)
        self.next: defaultdict[tuple[str, int], dict[str, int]] = defaultdict(dict)  # by (group, index), then by topic
        self.notes: defaultdict[tuple[str, int], bytes] = defaultdict(bytes)
        self.holders: defaultdict[str, int] = defaultdict(int)


_NAMED: Final[defaultdict[tuple[str, str], Memory]] = defaultdict(Memory)


def connect(
    url: str, *, namespace: str, topics: Collection[Topic], clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> AbstractAsyncContextManager[Bus]:
    """Return the bus of that URL: `memory:` or `memory://name`. `clock` stamps the records."""
    return _connected(MemoryBus(Memory() if url == "memory:" else _NAMED[url, namespace], topics, clock))


@asynccontextmanager
async def _connected(bus: "MemoryBus") -> AsyncIterator[Bus]:
    yield bus


class MemoryBus:
    """Bus (`workers.bus.contract`) whose records live as long as the process."""

    def __init__(self, memory: Memory, topics: Collection[Topic], clock: Callable[[], datetime]) -> None:
        self.memory = memory
        self._partitions = {topic.name: topic.partitions for topic in topics}
        self._clock = clock
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.sleepers: set[asyncio.Event] = set()

    async def publish(self, records: Sequence[Record]) -> None:
        """Hold the records; Rejected where a topic is unknown, TooLarge where one does not fit."""
        self.check(records)
        self.append(records)

    def check(self, records: Sequence[Record]) -> None:
        """Raise what forbids to append these records."""
        fits(records)
        for record in records:
            self.partitions(record.topic)

    def partitions(self, topic: str) -> int:
        """Return how many partitions a topic was declared with."""
        if topic not in self._partitions:
            raise Rejected(f"no topic {topic} was declared", reason="topic_unknown")
        return self._partitions[topic]

    def append(self, records: Sequence[Record]) -> None:
        """Append checked records and wake who waits."""
        for record in records:
            index = partition(record.key, self.partitions(record.topic))
            log = self.memory.logs[record.topic, index]
            fields = msgspec.structs.asdict(record)
            log.records.append(Held(**fields, index=index, offset=log.end, time=self._clock()))
        for sleeper in self.sleepers if records else ():
            sleeper.set()

    async def consume(
        self,
        topics: Collection[str],
        group: str,
        work: Work,
        stop: Stop,
        *,
        atomic: bool,
        start: Beginning = "first",
        grace: float = GRACE,
    ) -> None:
        """Run `work` for every index; a second member of a group waits until the first is gone."""
        indexes = range(max(self.partitions(topic) for topic in topics))

        async def begin() -> tuple[Session, Sequence[Lane]]:
            session = Session()
            return session, [MemoryLane(self, session, topics, group, index, start=start, atomic=atomic) for index in indexes]

        async with self._turns[group]:
            await serve(begin, work, stop, grace)

    @asynccontextmanager
    async def exclusive(self, name: str) -> AsyncIterator[Publisher]:
        """Hold a name; its former holder's calls raise Revoked from now on."""
        self.memory.holders[name] += 1
        yield Exclusive(self, name, self.memory.holders[name])

    async def declare(self, topics: Collection[Topic]) -> None:
        """Know these topics, too; Rejected where one was declared with another count of partitions."""
        for topic in topics:
            if self._partitions.get(topic.name, topic.partitions) != topic.partitions:
                raise Rejected(f"{topic.name} has {self._partitions[topic.name]} partitions", reason="topic_differs")
        self._partitions |= {topic.name: topic.partitions for topic in topics}

    async def retention(self, topic: str) -> timedelta | None:
        """Return None: nothing goes above the position of a group that is not gone for days."""
        del topic
        return None

    async def retain(self, topic: str, period: timedelta) -> None:
        """Do nothing, for the same reason."""

    def available(self) -> bool:
        """Say that it answers: it always does."""
        return True

    async def lag(self, group: str, topics: Collection[str]) -> Lag:
        """Return what the group has not committed; nothing for a group that never opened."""
        waiting: list[Held] = []
        for (name, index), positions in self.memory.next.items():
            for topic in set(topics) & set(positions) if name == group else ():
                log = self.memory.logs[topic, index]
                waiting += log.since(positions[topic], len(log.records))
        return Lag(records=len(waiting), oldest=min((held.time for held in waiting), default=None))

    async def committed(self, group: str, topic: str) -> Mapping[int, int]:
        """Return by index what a group has committed."""
        mine = ((index, positions) for (name, index), positions in self.memory.next.items() if name == group)
        return {index: positions[topic] for index, positions in mine if topic in positions}

    @asynccontextmanager
    async def browse(self) -> AsyncIterator[Browser]:
        """Read without a group."""
        yield MemoryBrowser(self)


class MemoryBrowser:
    """Browser (`workers.bus.contract`) of a MemoryBus."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus

    def _logs(self, topic: str) -> Sequence[Log]:
        return [self._bus.memory.logs[topic, index] for index in range(self._bus.partitions(topic))]

    async def spans(self, topic: str) -> Sequence[Span]:
        """Return what can be read of each index."""
        return [Span(index, log.first, log.end) for index, log in enumerate(self._logs(topic))]

    async def since(self, topic: str, at: datetime) -> Mapping[int, int]:
        """Return by index from where on every record was taken at `at` or later."""
        return {index: log.place(at) for index, log in enumerate(self._logs(topic))}

    async def read(self, topic: str, index: int, offset: int, limit: int) -> Sequence[Held]:
        """Return the records from an offset on, bounded."""
        return list(bounded(self._logs(topic)[index].since(offset, limit), limit))


class Exclusive:
    """Publisher of one holder of a name."""

    def __init__(self, bus: MemoryBus, name: str, epoch: int) -> None:
        self._bus, self._name, self._epoch = bus, name, epoch

    async def publish(self, records: Sequence[Record]) -> None:
        """Publish, unless somebody else holds the name by now: Revoked."""
        if self._bus.memory.holders[self._name] != self._epoch:
            raise Revoked
        await self._bus.publish(records)


class MemoryLane:
    """Lane (`workers.bus.contract`) of a MemoryBus."""

    def __init__(
        self, bus: MemoryBus, session: Session, topics: Collection[str], group: str, index: int, *, start: Beginning, atomic: bool
    ) -> None:
        self.index = index
        self._bus, self._session, self._lane, self._start, self._atomic = bus, session, (group, index), start, atomic
        self._logs = {topic: bus.memory.logs[topic, index] for topic in topics}
        self._next: dict[str, int] = {}
        self._news = asyncio.Event()
        session.wakes(self._news)

    async def open(self) -> Start:
        """Return positions, note and gaps; a new group's positions are committed first."""
        self._session.check()
        positions = self._bus.memory.next[self._lane]
        for topic, log in self._logs.items():
            positions.setdefault(topic, log.place(self._start))
        gaps = {topic: log.first - positions[topic] for topic, log in self._logs.items() if log.first > positions[topic]}
        self._next = {topic: max(log.first, positions[topic]) for topic, log in self._logs.items()}
        return Start(next=dict(self._next), note=self._bus.memory.notes[self._lane], gaps=gaps)

    async def fetch(self, limit: int, wait: float) -> Sequence[Held]:
        """Return the next records by time, none after `wait` seconds or once it is time to stop."""
        self._bus.sleepers.add(self._news)
        try:
            async with asyncio.timeout(wait):
                while not (batch := self._ready(limit)) and not self._session.is_set():
                    await self._news.wait()
        except TimeoutError:
            self._session.check()
            return ()
        finally:
            self._bus.sleepers.discard(self._news)
        return batch

    def _ready(self, limit: int) -> Sequence[Held]:
        self._session.check()
        self._news.clear()
        waiting = [record for topic, log in self._logs.items() for record in log.since(self._next[topic], limit)]
        batch = sorted(waiting, key=lambda record: record.time)[:limit]
        for record in batch:
            self._next[record.topic] = record.offset + 1
        return batch

    async def commit(self, next: Mapping[str, int], note: bytes, outputs: Sequence[Record] = ()) -> None:  # noqa: A002  (seam)
        """Show positions, note and outputs together, or raise and show nothing."""
        self._session.check()
        check_commit(next, note, outputs, self._logs, atomic=self._atomic)
        self._bus.check(outputs)
        self._bus.memory.notes[self._lane] = note
        self._bus.memory.next[self._lane] |= next
        self._bus.append(outputs)
