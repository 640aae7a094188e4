"""The keeper of the file: retention, compaction, checkpoints, and the refusal of publishes while there is no room."""

import asyncio
import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import structlog

from schemas.topics import Topic
from workers.bus.contract import BusBroken, BusUnavailable
from workers.bus.metrics import FILE_BYTES
from workers.bus.sqlite import retention, room
from workers.bus.sqlite.file import Layout
from workers.bus.sqlite.place import Place
from workers.bus.sqlite.reader import Reader
from workers.bus.sqlite.retention import Cut, Policy
from workers.bus.sqlite.times import micros
from workers.bus.sqlite.writer import Writer

PERIOD: Final = timedelta(minutes=1)
PERIOD_FULL: Final = timedelta(seconds=5)
PATIENCE: Final = 60.0  # seconds for a checkpoint or a scan
LOOK: Final = 4 * 2**20  # bytes written between two looks at log and cap

T = TypeVar("T")
log = structlog.get_logger()


class Keeper:
    """Forgets what may be forgotten, and says `refusing` why publishes are refused just now ("": they are not)."""

    def __init__(
        self, place: Place, writer: Writer, policies: Sequence[Policy], present: Collection[str], clock: Callable[[], float]
    ) -> None:
        self._place, self._writer, self._policies, self._present, self._clock = place, writer, policies, present, clock
        self._reader = Reader(place.path, "bus-keeper", writer.fail)
        self._ballast = place.beside(".ballast")
        self._call = asyncio.Event()
        self._written = 0
        self._compacted = dict.fromkeys((policy.slot for policy in policies if policy.compacted), (0, 0))
        self._needs = room.needs(place.path.parent, room.limit())
        self._scanned = dict[int, datetime]()  # when a slot was compacted
        self._full = not room.stow(self._ballast)
        self.refusing = self._needs if self._full else ""
        if self._full:
            log.warning("bus.refusing_changed", reason=self.refusing)
        writer.filled = self.filled

    def keep(self, policies: Sequence[Policy]) -> None:
        """Tend these slots, too."""
        self._policies = [*{policy.slot: policy for policy in (*self._policies, *policies)}.values()]
        self._compacted = {policy.slot: self._compacted.get(policy.slot, (0, 0)) for policy in self._policies if policy.compacted}

    def count(self, written: int) -> None:
        """Count bytes written; every few MiB the keeper looks at log and cap."""
        self._written += written
        if self._written >= LOOK:
            self._call.set()

    def filled(self) -> None:
        """Answer a full disk: free the ballast for the lanes and for retention, refuse publishes until there is room."""
        if not self._full:
            log.error("bus.disk_filled", path=str(self._place.path), freed=room.BALLAST)
        self._full = True
        self.refusing = self._needs
        room.release(self._ballast)
        self._call.set()

    async def run(self) -> None:
        """Keep the file until cancelled."""
        swept = float("-inf")
        clock = asyncio.get_running_loop().time
        while True:
            if (passed := clock() - swept) >= self._period():
                await self._try_sweep(timedelta(seconds=0 if swept < 0 else passed))
                swept = clock()
            await self._try_look()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(swept + self._period()):
                    await self._call.wait()

    def _period(self) -> float:
        return (PERIOD_FULL if self.refusing else PERIOD).total_seconds()

    async def _try_sweep(self, passed: timedelta) -> None:
        try:
            await self._writer.ask(retention.attend(set(self._present), passed))
            await self.sweep(datetime.fromtimestamp(self._clock(), UTC))
        except BusBroken:
            raise
        except BusUnavailable as error:
            log.warning("bus.sweep_failed", reason=str(error))

    async def _try_look(self) -> None:
        self._call.clear()
        self._written = 0
        try:
            await self.look()
        except BusUnavailable as error:
            log.warning("bus.look_failed", reason=str(error))

    async def look(self) -> None:
        """Move the log on, and decide whether publishes are refused."""
        place = self._place
        await self._run(lambda link: room.checkpoint(link, place.beside("-wal")))
        there = await self._run(lambda link: room.look(link, place.path))
        for what, size in (("used", there.used), ("cap", place.most), ("disk", there.disk)):
            FILE_BYTES.labels(what).set(size)
        if self._full:
            self._full = not room.enough(there, ballast=await asyncio.to_thread(room.stow, self._ballast))
        refusing = self._needs if self._full else room.over(there, place.most)
        if refusing != self.refusing:
            log.warning("bus.refusing_changed", reason=refusing or "none", used=there.used, disk=there.disk)
        self.refusing = refusing

    async def sweep(self, now: datetime) -> None:
        """Delete what has expired and is read, and older versions of compacted keys."""
        absent = retention.ABSENT_AT_CAP if self.refusing else retention.ABSENT
        ends = dict(self._writer.ends)
        for cut in await self._run(lambda link: retention.cuts(link, self._policies, ends, now, absent)):
            await self.drop(cut.slot, cut.below)
        for slot, (end, kept) in self._compacted.items():
            scanned = self._scanned.setdefault(slot, now - retention.TOMBSTONE + retention.SOON)
            if retention.due(end, kept, ends[slot]) or (ends[slot] and retention.overdue(scanned, now)):
                await self.compact(slot, absent, now)

    async def drop(self, slot: int, below: int) -> None:
        """Delete a slot's records below an offset, whoever has or has not read them, in small transactions."""
        while not await self._writer.ask(retention.drop(Cut(slot, below))):
            pass

    async def compact(self, slot: int, absent: timedelta = retention.ABSENT, now: datetime | None = None) -> None:
        """Keep the newest record of each key of a slot, and what a group has still to read; of tombstones, those of a day."""
        now = now or datetime.fromtimestamp(self._clock(), UTC)
        old = micros(now - retention.TOMBSTONE)
        end = self._writer.ends[slot]
        held = await self._run(lambda link: retention.positions(link, absent))
        rows = await self._run(lambda link: retention.keys(link, slot))
        ended = await self._run(lambda link: retention.tombstones(link, slot, old))
        gone = retention.superseded(rows, retention.floor(end, held.get(slot, ())), ended)
        for at in range(0, len(gone), retention.ROWS):
            await self._writer.ask(retention.forget(gone[at : at + retention.ROWS]))
        self._compacted[slot] = end, len(rows) - len(gone)
        self._scanned[slot] = now

    async def _run(self, read: Callable[[sqlite3.Connection], T]) -> T:
        return await self._reader.run(read, PATIENCE)

    async def close(self) -> None:
        """Let the file go; the ballast serves a running bus only."""
        await self._reader.close()
        room.release(self._ballast)


def policies(layout: Layout, topics: Iterable[Topic]) -> list[Policy]:
    """Return how each slot is kept."""
    return [Policy(slot, topic.retention, topic.compacted) for topic in topics for slot in layout.of(topic.name)]
