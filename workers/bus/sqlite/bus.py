"""The bus itself: publish, consume, exclusive, lag, put together from writer, readers and lanes."""

import asyncio
import sqlite3
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from schemas.errors import RinghookError
from schemas.topics import Topic
from workers.bus.contract import GRACE, Browser, BusBroken, BusUnavailable, Lag, Publisher, Record, Stop, TooLarge, Work
from workers.bus.metrics import PUBLISH_FAILURES, PUBLISH_SECONDS, RECORDS_PUBLISHED
from workers.bus.session import Session, serve
from workers.bus.sqlite import deeds
from workers.bus.sqlite.batch import Batch, Row
from workers.bus.sqlite.bells import Bells
from workers.bus.sqlite.browse import browser
from workers.bus.sqlite.deeds import Beginning, Read
from workers.bus.sqlite.file import BUSY, FULL, Layout, connection, ends, prepare, primary, youngest
from workers.bus.sqlite.keeper import Keeper, policies
from workers.bus.sqlite.lag import lag
from workers.bus.sqlite.lanes import SqliteLane
from workers.bus.sqlite.place import Place, anchored, owned, parse
from workers.bus.sqlite.reader import Reader
from workers.bus.sqlite.recent import Recent
from workers.bus.sqlite.writer import WAITING, Answer, Deed, Writer
from workers.bus.wire import fits

_REMEDIES: Final = {
    BUSY: "another program holds it (a backup, the sqlite3 shell): end that",
    FULL: "make room on its disk",
}
DEADLINE: Final = 5.0  # seconds for a publish; ingress has a shorter one of its own

log = structlog.get_logger()
Clock = Callable[[], float]


@asynccontextmanager
async def connect(url: str, *, namespace: str, topics: Collection[Topic], clock: Clock = time.time) -> AsyncIterator["SqliteBus"]:
    """Own the file of `url` (`sqlite:///var/bus.db`, `?bytes=` caps it) and serve it until the end of the block.

    Misconfigured: another process owns it, or it was made for other settings. BusBroken ends the block from within: the
    file failed, and only a new process may look at what is in it. `clock` (epoch seconds) stamps the records.
    """
    place = parse(url)
    with owned(place.path):
        link = await asyncio.to_thread(_opened, place)
        try:
            layout, last, latest = _prepared(link, place, namespace, topics)
            writer = Writer(link, last, latest, clock, anchored(place.path))
            groups: set[str] = set()
            keeper = Keeper(place, writer, policies(layout, topics), groups, clock)
            bus = SqliteBus(layout, writer, Reader(place.path, "bus-reader", writer.fail), keeper, groups)
            async with _attended(bus):
                yield bus
        finally:
            link.close()


def _opened(place: Place) -> sqlite3.Connection:
    try:
        return connection(place.path)
    except sqlite3.Error as error:
        raise _unusable(place, error) from error


def _prepared(
    link: sqlite3.Connection, place: Place, namespace: str, topics: Collection[Topic]
) -> tuple[Layout, dict[int, int], int]:
    """Return the layout, where each slot ends, and the time of the youngest record."""
    try:
        return prepare(link, namespace, topics), ends(link), youngest(link)
    except sqlite3.Error as error:
        raise _unusable(place, error) from error


def _unusable(place: Place, error: sqlite3.Error) -> BusBroken:
    remedy = _REMEDIES.get(primary(error), "restore it from a backup, or move it away to begin anew")
    return BusBroken(f"{place.path} cannot be opened: {error}; {remedy}")


@asynccontextmanager
async def _attended(bus: "SqliteBus") -> AsyncIterator[None]:
    failure = None
    try:
        async with asyncio.TaskGroup() as tasks:
            attendants = [
                tasks.create_task(bus.watch(), name="bus watch"),
                tasks.create_task(bus.keeper.run(), name="bus keeper"),
            ]
            try:
                yield
            except Exception as error:  # noqa: BLE001  (the block's own: it leaves as it is, not in a group)
                failure = error
            finally:
                for task in attendants:
                    task.cancel()
    except* BusBroken as broken:
        raise BusBroken(str(broken.exceptions[0])) from broken
    finally:
        await bus.close()
    if failure is not None:
        raise failure


class SqliteBus:
    """Bus (`workers.bus.contract`) held by one SQLite file."""

    def __init__(self, layout: Layout, writer: Writer, reader: Reader, keeper: Keeper, groups: set[str]) -> None:
        self.layout, self.writer, self.reader, self.keeper = layout, writer, reader, keeper
        self.bells, self.recent = Bells(), Recent()
        self._groups = groups  # consumed here just now
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        writer.written = self._written

    async def publish(self, records: Sequence[Record]) -> None:
        """Return once all are synced to disk. TooLarge, Rejected: none is. BusUnavailable: all may be, now or later."""
        if records:
            await self.publish_by(deeds.publish, records)

    async def publish_by(self, deed: Callable[[Sequence[Row]], Deed[None]], records: Sequence[Record]) -> None:
        """Publish by one of the deeds that append, and measure it."""
        began = time.perf_counter()
        try:
            size = fits(records)
            added = deeds.rows(self.layout, records)
            await self.ask(deed(added), size)
        except RinghookError as error:
            PUBLISH_FAILURES.labels(_reason(error)).inc()
            raise
        PUBLISH_SECONDS.observe(time.perf_counter() - began)
        RECORDS_PUBLISHED.inc(len(records))

    def _written(self, batch: Batch, size: int) -> None:
        self.recent.add(batch.held())
        self.bells.ring(batch.ends)
        self.keeper.count(size)

    async def ask(self, deed: Deed[Answer], size: int = 0) -> Answer:
        """Have the writer do it within the deadline, unless there is no room."""
        if self.keeper.refusing:
            raise BusUnavailable(self.keeper.refusing)
        if self.writer.waiting + size > WAITING:
            raise BusUnavailable(f"{self.writer.waiting} bytes wait for the disk already")
        try:
            async with asyncio.timeout(DEADLINE):
                return await self.writer.ask(deed, size)
        except TimeoutError as error:
            raise BusUnavailable(f"the disk did not confirm within {DEADLINE} s") from error

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
        """Run `work` for every index; a second member of a group stands by until the first is gone."""
        reads = _reads(self.layout, topics)

        async def begin() -> tuple[Session, Sequence[SqliteLane]]:
            member = await self.writer.ask(deeds.begin(group))
            session = Session()
            make = partial(SqliteLane, self, session, member, lanes=reads, start=start, atomic=atomic)
            return session, [make(lane=lane) for lane in reads]

        async with self._turns[group]:
            self._groups.add(group)
            try:
                await serve(begin, work, stop, grace)
            finally:
                self._groups.discard(group)

    @asynccontextmanager
    async def exclusive(self, name: str) -> AsyncIterator[Publisher]:
        """Hold a name; its former holder's calls raise Revoked from now on."""
        yield Exclusive(self, name, await self.ask(deeds.hold(name)))

    def available(self) -> bool:
        """Say whether the disk takes records: nothing is refused, and no write has been under way for long."""
        since = self.writer.busy_since
        stuck = since is not None and time.monotonic() - since > DEADLINE
        return not (self.keeper.refusing or stuck or self.writer.broken.is_set())

    async def lag(self, group: str, topics: Collection[str]) -> Lag:
        """Return what the group has not committed; nothing for a group that never opened."""
        slots = [slot for topic in topics for slot in self.layout.of(topic)]
        tails: Mapping[int, int] = {slot: self.writer.ends[slot] for slot in slots}
        return await self.reader.run(lambda link: lag(link, group, tails))

    async def declare(self, topics: Collection[Topic]) -> None:
        """Know these topics, too, and make what the file lacks of them."""
        self.layout.slots.update(await self.ask(deeds.declare(topics)))
        self.keeper.keep(policies(self.layout, topics))

    async def retention(self, topic: str) -> timedelta | None:
        """Return None: nothing goes above the position of a group that is not gone for days."""
        del topic
        return None

    async def retain(self, topic: str, period: timedelta) -> None:
        """Do nothing, for the same reason."""

    @asynccontextmanager
    async def browse(self) -> AsyncIterator[Browser]:
        """Read without a group, in a thread of its own: no lane waits behind it."""
        async with browser(self.layout, self.writer.ends, self.reader) as made:
            yield made

    async def committed(self, group: str, topic: str) -> Mapping[int, int]:
        """Return by index what a group has committed."""
        held = await self.reader.run(lambda link: deeds.positions(link, group))
        return {index: held[slot] for index, slot in enumerate(self.layout.of(topic)) if slot in held}

    async def watch(self) -> None:
        """Raise BusBroken when the file has failed."""
        await self.writer.broken.wait()
        raise BusBroken(str(self.writer.failure))

    async def close(self) -> None:
        """Commit or fail what was accepted, then let the file go."""
        await self.writer.close()
        await self.reader.close()
        await self.keeper.close()


class Exclusive:
    """Publisher of one holder of a name."""

    def __init__(self, bus: SqliteBus, name: str, epoch: int) -> None:
        self._bus, self._name, self._epoch = bus, name, epoch

    async def publish(self, records: Sequence[Record]) -> None:
        """Publish, unless somebody else holds the name by now: Revoked."""
        await self._bus.publish_by(partial(deeds.publish_as, self._name, self._epoch), records)


def _reason(error: RinghookError) -> str:
    if isinstance(error, TooLarge):
        return "too_large"
    if isinstance(error, BusBroken):
        return "down"
    if isinstance(error.__cause__, TimeoutError):
        return "deadline"
    return "full" if isinstance(error, BusUnavailable) else "refused"


def _reads(layout: Layout, topics: Collection[str]) -> Sequence[Read]:
    slots = {topic: layout.of(topic) for topic in topics}
    counts = {len(each) for each in slots.values()}
    if len(counts) != 1:
        raise ValueError(f"a lane's topics have equal partition counts, these have {counts}: {sorted(topics)}")
    return [Read(index, {topic: each[index] for topic, each in slots.items()}) for index in range(*counts)]
