"""One session of one lane: what `work` sees. Where it starts is decided by pure functions; the session does the rest."""

import asyncio
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from sys import intern
from typing import Any, Final, Protocol

import msgspec

from schemas.errors import Misconfigured
from workers.bus.contract import NOTE_LIMIT, Held, Record, Revoked, Start
from workers.bus.kafka.eos import Place
from workers.bus.kafka.group import pack, unpack
from workers.bus.metrics import RECORDS_EXPIRED

FULL_BYTES: Final = 512 * 1024
SHORT: Final = 64  # bytes of a header that is kept once for all records that have the same

Committed = Mapping[Place, tuple[int, str]]


class Ahead(msgspec.Struct, frozen=True):
    """How far a lane reads ahead of its work: a step takes a lot at once, a delivery one by one, maybe for days."""

    full: int  # records in the buffer, at which its partitions are paused
    low: int  # records, at which they go on
    fetch: int  # bytes of a partition in one answer


STEPS: Final = Ahead(256, 64, 128 * 1024)
SINGLY: Final = Ahead(64, 32, 32 * 1024)  # a destination that is dead keeps as much of each lane in memory


class Found(msgspec.Struct, frozen=True):
    """What the broker holds for a lane: commits, and each partition's first and end offset, and where a new group begins."""

    committed: Committed
    first: Mapping[Place, int]
    end: Mapping[Place, int]
    fresh: Mapping[Place, int]


class Session(Protocol):
    """What a lane asks of the set of sessions it belongs to."""

    group: str

    async def find(self, places: Collection[Place]) -> Found:
        """Prove membership, then return what is committed, once it is stable. Raises Revoked."""
        ...

    async def commit(self, offsets: Committed, outputs: Sequence[Record]) -> None:
        """Make offsets and outputs visible together. Raises Revoked, Unknown, TooLarge."""
        ...

    def seek(self, positions: Mapping[Place, int]) -> None:
        """Fetch from these positions on. Raises Revoked."""
        ...

    def position(self, place: Place) -> int | None:
        """Return the offset up to which a partition has been fetched, transaction markers included."""
        ...

    def flow(self, places: Collection[Place], *, on: bool) -> None:
        """Fetch these partitions or pause them."""
        ...


class KafkaLane:
    """One assigned index over the group's topics, for one session."""

    def __init__(self, session: Session, index: int, topics: Mapping[str, str], ahead: Ahead = STEPS) -> None:
        self.index = index
        self._ahead = ahead
        self.stop = asyncio.Event()
        self._session = session
        self._places = {topic: Place(physical, index) for topic, physical in sorted(topics.items())}
        self._topics = {place: topic for topic, place in self._places.items()}
        self._buffer: deque[Held] = deque()
        self._bytes = 0
        self._paused = True
        self._expected: dict[Place, int] = {}  # nothing below it is handed out; empty until open
        self._handed: dict[str, int] = {}  # just after the last record handed out
        self._arrived = asyncio.Event()
        self._over = asyncio.Event()
        self._commits = asyncio.Lock()

    async def open(self) -> Start:
        """Prove membership, then return where to start as last committed, once that is stable."""
        return await self._unless_over(self._open())

    async def fetch(self, limit: int, wait: float) -> Sequence[Held]:
        """Return the next records, at most `limit`, none after `wait` seconds or once it is time to stop."""
        self._check()
        if not self._buffer and not self.stop.is_set():
            self._arrived.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._arrived.wait()
            except TimeoutError:
                return ()
            self._check()
        return self._hand_out(limit)

    async def commit(self, next: Mapping[str, int], note: bytes, outputs: Sequence[Record] = ()) -> None:  # noqa: A002
        """Show positions, note and outputs together or neither."""
        self._check()
        if next.keys() != self._places.keys() or len(note) > NOTE_LIMIT:
            raise ValueError(f"a commit names every topic of the lane, and its note has at most {NOTE_LIMIT} bytes")
        async with self._commits:
            self._check()
            await self._session.commit(self._offsets(next, note), outputs)

    def take(self, place: Place, records: Sequence[Any]) -> None:
        """Take what the pump fetched; records without an open session, or below its start, are thrown away."""
        topic = self._topics.get(place)
        expected = self._expected.get(place)
        if topic is None or expected is None or self._over.is_set():
            return
        fresh = [as_held(topic, record) for record in records if record.offset >= expected]
        if not fresh:
            return
        self._expected[place] = fresh[-1].offset + 1
        self._buffer.extend(fresh)
        self._bytes += sum(len(record.value) for record in fresh)
        self._arrived.set()
        self._regulate()

    def finish(self) -> None:
        """Tell the work to stop; its calls go on to work until it has returned or `revoke` is called."""
        self.stop.set()
        self._arrived.set()

    def revoke(self) -> None:
        """End the session: every call raises Revoked from now on, but a commit already under way tells its outcome."""
        self._over.set()
        self.finish()

    def idle(self) -> Mapping[Place, int | None]:
        """Return the position of each partition that is being fetched; nothing while the lane is closed or paused."""
        if self._paused or self._over.is_set():
            return {}
        return {place: self._session.position(place) for place in self._expected}

    async def _open(self) -> Start:
        places = list(self._topics)
        found = await self._session.find(places)
        positions = {place: starting(place, found) for place in places}
        note = self._note(found.committed)
        if any(place not in found.committed for place in places):
            await self._session.commit(self._packed(positions, note), ())
        gaps = {self._topics[place]: gap for place in places if (gap := expired(place, found))}
        RECORDS_EXPIRED.labels(self._session.group).inc(sum(gaps.values()))
        self._begin(positions)
        return Start(self._named(positions), note, gaps)

    def _begin(self, positions: Mapping[Place, int]) -> None:
        self._check()
        self._session.seek(positions)
        self._expected = dict(positions)
        self._handed = dict(self._named(positions))
        self._paused = False
        self._session.flow(list(positions), on=True)

    def _note(self, committed: Committed) -> bytes:
        return next((unpack(committed[place][1]) for place in self._topics if place in committed and committed[place][1]), b"")

    def _named(self, by_place: Mapping[Place, int]) -> dict[str, int]:
        return {topic: by_place[place] for topic, place in self._places.items()}

    def _offsets(self, named: Mapping[str, int], note: bytes) -> Committed:
        return self._packed({place: self._raised(topic, named[topic]) for topic, place in self._places.items()}, note)

    def _packed(self, positions: Mapping[Place, int], note: bytes) -> Committed:
        noted = next(iter(self._topics))  # the note stands once, at the first topic
        return {place: (offset, pack(note) if place == noted else "") for place, offset in positions.items()}

    def _raised(self, topic: str, offset: int) -> int:
        """Offsets between two records are transaction markers or compacted: after the last one handed out they count as done."""
        if offset != self._handed.get(topic):
            return offset
        place = self._places[topic]
        waiting = next((held.offset for held in self._buffer if held.topic == topic), None)
        return max(offset, waiting if waiting is not None else (self._session.position(place) or offset))

    def _hand_out(self, limit: int) -> Sequence[Held]:
        records = [self._buffer.popleft() for _ in range(min(limit, len(self._buffer)))]
        for record in records:
            self._handed[record.topic] = record.offset + 1
            self._bytes -= len(record.value)
        self._regulate()
        return records

    def _regulate(self) -> None:
        full = len(self._buffer) >= self._ahead.full or self._bytes >= FULL_BYTES
        low = len(self._buffer) <= self._ahead.low and self._bytes <= FULL_BYTES // 4
        if full and not self._paused:
            self._paused = True
            self._session.flow(list(self._expected), on=False)
        elif low and self._paused:
            self._paused = False
            self._session.flow(list(self._expected), on=True)

    def _check(self) -> None:
        if self._over.is_set():
            raise Revoked

    async def _unless_over(self, opening: Any) -> Start:  # noqa: ANN401 (a coroutine)
        task = asyncio.ensure_future(opening)
        over = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait([task, over], return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise Revoked
            return task.result()  # type: ignore[no-any-return]
        finally:
            for each in (task, over):
                each.cancel()
            await asyncio.gather(task, over, return_exceptions=True)


def starting(place: Place, found: Found) -> int:
    """Return where a lane starts in one partition: as committed, or `fresh` for a new group, or after a gap at the log's start.

    Misconfigured: a position above the log's end, which no reading can have made.
    """
    if place not in found.committed:
        return found.fresh[place]
    offset = found.committed[place][0]
    if offset > found.end[place]:
        raise Misconfigured(
            f"{place.topic}-{place.partition}: position {offset} is above the log's end {found.end[place]}: the topic was made "
            "anew or restored; reset the group's positions with kafka-consumer-groups --reset-offsets"
        )
    return max(offset, found.first[place])


def expired(place: Place, found: Found) -> int:
    """Return how many offsets left the log before the group had read them."""
    return max(0, found.first[place] - found.committed[place][0]) if place in found.committed else 0


def as_held(topic: str, record: Any) -> Held:  # noqa: ANN401 (aiokafka ships no types)
    """Return a record of aiokafka's as ours."""
    return Held(
        topic=topic,
        key=record.key or b"",
        value=record.value or b"",
        headers=tuple(map(_header, record.headers)),
        index=record.partition,
        offset=record.offset,
        time=datetime.fromtimestamp(record.timestamp / 1000, UTC),
    )


def _header(header: tuple[str, bytes | None]) -> tuple[str, bytes]:
    return _shared(header) if len(header[1] or b"") <= SHORT else _named(header)


def _named(header: tuple[str, bytes | None]) -> tuple[str, bytes]:
    name, value = header
    return intern(name), value or b""


_shared = lru_cache(maxsize=4096)(_named)  # every record brings copies of its own, and where destinations are dead thousands wait
