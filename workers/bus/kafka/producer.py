"""The publisher: one line at a time, a new one after the first failure, and a quick no while there is none."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from workers.bus.contract import BusUnavailable, Record, TooLarge
from workers.bus.kafka.batch import size
from workers.bus.kafka.codes import Broken
from workers.bus.kafka.line import Line
from workers.bus.kafka.names import Names
from workers.bus.kafka.patience import Patience
from workers.bus.kafka.reach import told
from workers.bus.kafka.url import Address
from workers.bus.kafka.wire import Wire
from workers.bus.metrics import PUBLISH_FAILURES, PUBLISH_SECONDS, RECORDS_PUBLISHED

DEADLINE: Final = 2.0  # seconds from publish to held
BUFFER: Final = 64 * 1024 * 1024  # bytes of records that may wait
FIRST_TRY: Final = 3.0  # seconds that `open` waits for a broker that may be starting
REFUSING: Final = 5.0  # seconds since a topic's last refusal, after which it may take records again: nobody has asked
LISTEN: Final = 2.0  # seconds between two looks whether a broker is there: nobody may publish for hours, and readiness must know

log = structlog.get_logger()


class Producer:
    """Publishes with acks=all, idempotent, by group commit. Every publish ends within its deadline."""

    def __init__(self, address: Address, names: Names, *, deadline: float = DEADLINE, buffer: int = BUFFER) -> None:
        self._address = address
        self._names = names
        self._deadline = deadline
        self._buffer = buffer
        self._line: Line | None = None
        self._former: Line | None = None
        self._ready = asyncio.Event()
        self._wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._failing = ""  # why, in words
        self._refused: dict[str, float] = {}  # topics that took nothing when they were last asked, and when that was

    async def open(self) -> None:
        """Begin; return once there is a line, or after a while without: an absent broker is waited for beside."""
        self._wanted.set()
        self._tasks = [
            asyncio.create_task(self._build(), name="bus.producer"),
            asyncio.create_task(self._listen(), name="bus.listen"),
        ]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_TRY):
                await self._ready.wait()

    async def know(self) -> Callable[[str], int | None]:
        """Learn where the topics are of which the bus knows by now; return what says how many partitions one has.

        BusUnavailable: Kafka does not say.
        """
        if (line := self._line) is None:
            raise BusUnavailable(self._failing or "Kafka was not reached yet")
        try:
            await line.know(self._names.all_physical())
        except Broken as error:
            raise BusUnavailable(str(error)) from error
        return line.count

    def available(self) -> bool:
        """Say whether there is a line, and each topic took what it was last given."""
        recent = time.monotonic() - REFUSING
        return self._line is not None and not any(at > recent for at in self._refused.values())

    async def publish(self, records: Sequence[Record]) -> None:
        """Return once all are held. TooLarge: none is. BusUnavailable: some may be, now or later."""
        started = time.perf_counter()
        try:
            await self._publish(records)
        except (BusUnavailable, TooLarge) as error:
            PUBLISH_FAILURES.labels(_reason(error)).inc()
            if _reason(error) in {"deadline", "refused"}:
                self._refused |= {record.topic: time.monotonic() for record in records}
            raise
        for topic in {record.topic for record in records} if self._refused else ():
            self._refused.pop(topic, None)
        PUBLISH_SECONDS.observe(time.perf_counter() - started)
        RECORDS_PUBLISHED.inc(len(records))

    async def _publish(self, records: Sequence[Record]) -> None:
        entries = [(self._names.place(record), record, size(record)) for record in records]
        if not entries:
            return
        if (line := self._line) is None:
            raise BusUnavailable("Kafka does not answer") from Down()
        if line.bytes + sum(entry[2] for entry in entries) > self._buffer:
            raise BusUnavailable("too much waits for Kafka") from Full()
        try:
            await line.publish(entries)
        except TooLarge:
            raise
        except Exception as error:
            raise BusUnavailable("Kafka did not confirm") from error

    async def close(self) -> None:
        """Fail what still waits and let go of the broker, bounded."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for line in (self._line, self._former):
            if line is not None:
                await line.close(Down())
        self._line = None

    def _broken(self, line: Line, error: Exception) -> None:
        self._failing = told(error)
        log.warning("producer.broken", why=self._failing)
        self._line, self._former = None, line
        self._ready.clear()
        self._wanted.set()

    async def _build(self) -> None:
        patience = Patience(2.0)
        while True:
            await self._wanted.wait()
            if self._former is not None:  # its connections are gone before a successor starts
                await self._former.close(Down())
                self._former = None
            if await self._opened():
                patience.reset()
            else:
                await asyncio.sleep(patience.next())

    async def _listen(self) -> None:
        while True:
            await asyncio.sleep(LISTEN)
            if (line := self._line) is not None:
                await line.listen()

    async def _opened(self) -> bool:
        line = Line(Wire(self._address, patience=self._deadline), deadline=self._deadline, broken=self._broken)
        try:
            await line.open(self._names.all_physical())
        except Exception as error:  # noqa: BLE001 (an absent broker is waited for, whatever it says)
            self._tell(error)
            await line.close(error)
            return False
        except asyncio.CancelledError:
            await line.close(Down())
            raise
        if missing := [topic for topic in self._names.all_physical() if line.count(topic) is None]:
            log.warning("topics.missing", topics=missing, meaning="nothing can be written to them: run `ringhook topics apply`")
        elif self._failing:
            log.info("producer.recovered")
        self._failing = ""
        self._line = line
        self._wanted.clear()
        self._ready.set()
        return True

    def _tell(self, error: Exception) -> None:
        if self._failing != (failing := told(error)):
            log.warning("producer.waiting", why=failing)
        self._failing = failing


class Down(Exception):
    """There is no producer just now."""


class Full(Exception):
    """More waits than the buffer takes."""


def _reason(error: Exception) -> str:
    if isinstance(error, TooLarge):
        return "too_large"
    causes: dict[object, str] = {Down: "down", Full: "full", TimeoutError: "deadline"}
    return causes.get(type(error.__cause__), "refused")
