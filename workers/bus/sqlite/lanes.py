"""A lane of the file: reads wait for the writer's word, never for a clock; commits are fenced by the session's number."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Final, Protocol

from prometheus_client import Counter

from workers.bus.contract import BusUnavailable, Held, Record, Revoked, Start, Unknown
from workers.bus.metrics import COMMIT_SECONDS, COMMITS, RECORDS_EXPIRED, RECORDS_PUBLISHED
from workers.bus.session import Session
from workers.bus.sqlite import deeds
from workers.bus.sqlite.bells import Bells
from workers.bus.sqlite.deeds import Beginning, Member, Read
from workers.bus.sqlite.file import Layout
from workers.bus.sqlite.reader import Reader, Span, merge, read
from workers.bus.sqlite.recent import Recent
from workers.bus.sqlite.writer import Answer, Deed, Writer
from workers.bus.wire import check_commit

DEADLINE: Final = 10.0  # seconds for a commit; after it the outcome is unknown


@contextmanager
def counted(commits: Counter) -> Iterator[None]:
    """Count a commit by its outcome."""
    outcome = "refused"
    try:
        yield
        outcome = "done"
    except Unknown:
        outcome = "unknown"
        raise
    finally:
        commits.labels(outcome).inc()


class Parts(Protocol):
    """What lanes share with their bus."""

    layout: Layout
    writer: Writer
    reader: Reader
    bells: Bells
    recent: Recent


class SqliteLane:
    """Lane (`workers.bus.contract`) of a SqliteBus."""

    def __init__(
        self, bus: Parts, session: Session, member: Member, lane: Read, lanes: Sequence[Read], *, start: Beginning, atomic: bool
    ) -> None:
        self.index = lane.index
        self._bus, self._session, self._member, self._lane, self._lanes = bus, session, member, lane, lanes
        self._start, self._atomic = start, atomic
        self._next: dict[str, int] = {}  # to be read, by topic
        self._news = asyncio.Event()
        session.wakes(self._news)

    async def open(self) -> Start:
        """Return positions, note and gaps as last committed; a new group's positions are committed first."""
        self._session.check()
        begun = await self._ask(deeds.opening(self._member, self._lane, self._lanes, self._start))
        self._next = dict(begun.next)
        if begun.gaps:
            RECORDS_EXPIRED.labels(self._member.group).inc(sum(begun.gaps.values()))
        return begun

    async def fetch(self, limit: int, wait: float) -> Sequence[Held]:
        """Return the next records in order of time, none after `wait` seconds or once it is time to stop."""
        slots = tuple(self._lane.slots.values())
        self._bus.bells.hang(slots, self._news)
        try:
            return await self._fetch(limit, asyncio.get_running_loop().time() + wait)
        finally:
            self._bus.bells.take(slots, self._news)

    async def _fetch(self, limit: int, deadline: float) -> Sequence[Held]:
        while True:
            self._session.check()
            self._news.clear()
            if spans := self._behind():
                if batch := await self._read(spans, limit):
                    return batch
            elif self._session.is_set() or not await self._told(deadline):
                self._session.check()
                return ()

    def _behind(self) -> Sequence[Span]:
        return [
            Span(topic, self.index, slot, self._next[topic], end)
            for topic, slot in self._lane.slots.items()
            if (end := self._bus.writer.ends[slot]) > self._next[topic]
        ]

    async def _read(self, spans: Sequence[Span], limit: int) -> Sequence[Held]:
        known = [self._bus.recent.since(span.slot, span.next, limit) for span in spans]
        runs = [run for run in known if run is not None]
        batch = merge(runs, limit) if len(runs) == len(known) else await self._from_disk(spans, limit)
        moved = {held.topic: held.offset + 1 for held in batch}
        self._next |= moved or {span.topic: span.end for span in spans}  # nothing there: it was compacted away
        return batch

    async def _from_disk(self, spans: Sequence[Span], limit: int) -> Sequence[Held]:
        try:
            batch = await self._bus.reader.run(lambda link: read(link, spans, limit))
        except BusUnavailable as error:
            self._session.end("unreachable")
            raise Revoked(str(error)) from error
        self._session.check()
        return batch

    async def _told(self, deadline: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                return await self._news.wait()
        return False

    async def commit(self, next: Mapping[str, int], note: bytes, outputs: Sequence[Record] = ()) -> None:  # noqa: A002  (seam)
        """Show positions, note and outputs together, or raise and show nothing; Unknown where the disk did not say."""
        self._session.check()
        size = check_commit(next, note, outputs, self._lane.slots, atomic=self._atomic)
        following = {self._lane.slots[topic]: position for topic, position in next.items()}
        added = deeds.rows(self._bus.layout, outputs)
        with counted(COMMITS), COMMIT_SECONDS.time():
            await self._ask(deeds.commit(self._member, self.index, following, note, added), size)
        RECORDS_PUBLISHED.inc(len(outputs))

    async def _ask(self, deed: Deed[Answer], size: int = 0) -> Answer:
        try:
            async with asyncio.timeout(DEADLINE):
                return await self._bus.writer.ask(deed, size)
        except Revoked:
            self._session.end("refused")
            raise
        except (BusUnavailable, TimeoutError) as error:
            self._session.end("unknown")
            raise Unknown(str(error)) from error
