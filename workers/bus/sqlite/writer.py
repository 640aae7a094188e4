"""Group commit: one thread writes everything that was asked for while the last transaction was being synced.

A deed runs in that thread inside the transaction. It checks before it writes: what it raises refuses this deed alone. What
SQLite raises undoes the whole transaction, and none of its askers is acknowledged.
"""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol, TypeVar

import structlog

from schemas.errors import RinghookError
from workers.bus.contract import BusBroken, BusUnavailable
from workers.bus.sqlite import room
from workers.bus.sqlite.batch import Batch
from workers.bus.sqlite.file import FULL, primary, temporary

WAITING: Final = 32 * 2**20  # bytes that may wait when one more publish comes; lanes wait for one commit each
TICKET: Final = 256  # what a deed without records counts
TRANSACTION: Final = 32 * 2**10  # what a transaction writes besides its records, roughly
BATCH: Final = 2_000  # deeds in one transaction

Answer = TypeVar("Answer")
Answer_co = TypeVar("Answer_co", covariant=True)
log = structlog.get_logger()


class Deed(Protocol[Answer_co]):
    """What is done inside a transaction."""

    def __call__(self, batch: Batch) -> Answer_co:
        """Check, raise a refusal or write, and answer."""
        ...


class Ticket:
    """A deed, who waits for it, and what came of it."""

    def __init__(self, deed: Deed[Any], size: int, done: "asyncio.Future[Any]") -> None:
        self.deed, self.size, self.done = deed, size, done
        self.answer: Any = None
        self.refusal: Exception | None = None

    def run(self, batch: Batch) -> None:
        """Do the deed, unless nobody waits for it any more; keep its answer or its refusal."""
        if self.done.cancelled():
            return
        try:
            self.answer = self.deed(batch)
        except (RinghookError, ValueError) as refusal:
            self.refusal = refusal

    def settle(self) -> None:
        """Tell who waits."""
        if self.done.done():
            return
        if self.refusal is None:
            self.done.set_result(self.answer)
        else:
            self.done.set_exception(self.refusal)


class Writer:
    """The only writer of the file."""

    def __init__(
        self,
        link: sqlite3.Connection,
        ends: dict[int, int],
        youngest: int,
        clock: Callable[[], float],
        anchor: Callable[[], None] = lambda: None,
    ) -> None:
        self.ends = ends  # as of the last commit; of the event loop's thread
        self.written: Callable[[Batch, int], None] = lambda _batch, _size: None
        self.filled: Callable[[], None] = lambda: None
        self.broken = asyncio.Event()
        self.busy_since: float | None = None
        self._link, self._latest, self._clock, self._anchor = link, youngest, clock, anchor
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Ticket | None] = SimpleQueue()
        self.waiting = 0  # bytes
        self.failure: BusBroken | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, args=(dict(ends),), name="bus-writer", daemon=True)
        self._thread.start()

    async def ask(self, deed: Deed[Answer], size: int = 0) -> Answer:
        """Return the deed's answer once it is on disk, or raise its refusal, BusUnavailable or BusBroken."""
        if self.failure or self._closed:
            raise self.failure or BusUnavailable("the bus is closed")
        ticket = Ticket(deed, size + TICKET, self._loop.create_future())
        self.waiting += ticket.size
        self._queue.put(ticket)
        answer: Answer = await ticket.done
        return answer

    def pragma(self, words: str) -> object:
        """Return what SQLite answers to a pragma on the writer's own connection, where limits and modes live."""
        found = self._link.execute(f"pragma {words}").fetchone()
        return found[0] if found else None

    async def close(self) -> None:
        """Write what was accepted, then end the thread."""
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self, ends: dict[int, int]) -> None:
        going = True
        while going:
            tickets = self._take()
            going = None not in tickets
            asked = [ticket for ticket in tickets if ticket is not None]
            if asked:
                self.busy_since = time.monotonic()
                batch = self._write(asked, ends)
                self.busy_since = None
                ends.update(batch.ends)
                self._loop.call_soon_threadsafe(self._settle, asked, batch)

    def _take(self) -> list[Ticket | None]:
        tickets = [self._queue.get()]
        try:
            while tickets[-1] is not None and len(tickets) < BATCH:
                tickets.append(self._queue.get_nowait())
        except Empty:
            pass
        return tickets

    def _write(self, tickets: Sequence[Ticket], ends: Mapping[int, int]) -> Batch:
        self._latest = max(self._latest, int(self._clock() * 1e6))  # one time for the transaction; never falling
        batch = Batch(self._link, ends, self._latest)
        try:
            self._transact(tickets, batch)
        except Exception as error:  # noqa: BLE001  (whatever it is, nobody is acknowledged)
            verdict = self._verdict(error)
            for ticket in tickets:
                ticket.refusal = type(verdict)(*verdict.args)
            return Batch(self._link, ends, self._latest)  # nothing was written
        return batch

    def _transact(self, tickets: Sequence[Ticket], batch: Batch) -> None:
        if self.failure:
            raise self.failure
        try:
            for ticket in tickets:
                ticket.run(batch)
            batch.commit()
            self._anchor()  # before anybody is acknowledged
        finally:
            batch.close()

    def _verdict(self, error: Exception) -> BusUnavailable:
        if isinstance(error, BusUnavailable):
            return error
        if primary(error) == FULL:
            self._loop.call_soon_threadsafe(self.filled)
        if temporary(error):
            return BusUnavailable(f"the bus could not write: {error}")
        failure = BusBroken(f"the bus file failed, nothing was acknowledged: {error!r}{room.bounded()}")
        self.failure = failure  # at once: the next transaction must not be tried
        self._loop.call_soon_threadsafe(self.fail, failure)
        return failure

    def fail(self, failure: BusBroken) -> None:
        """Write nothing more, and have the process end."""
        self.failure = self.failure or failure
        self.broken.set()

    def _settle(self, tickets: Sequence[Ticket], batch: Batch) -> None:
        self.ends.update(batch.ends)
        size = sum(ticket.size for ticket in tickets)
        self.waiting -= size
        for ticket in tickets:
            ticket.settle()
        self.written(batch, size + TRANSACTION)
