"""One incarnation of the idempotent producer: its producer id, its connections, its sequence numbers.

Group commit: while a partition's batch is in flight the next one fills. Kafka answers the requests of one connection one
after the other, so the batches of all partitions that a broker leads fly together. A request costs the broker
far more than a record, so the loop turns once before the next flight leaves; it waits for nobody.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from workers.bus.contract import BusUnavailable, Record, TooLarge
from workers.bus.kafka.batch import BATCH_LIMIT, encode
from workers.bus.kafka.codes import AGAIN, DUPLICATE_SEQUENCE, MESSAGE_TOO_LARGE, NONE, Broken, Refused
from workers.bus.kafka.eos import Place, init_producer_id
from workers.bus.kafka.produce import produce
from workers.bus.kafka.wire import PAUSE, Wire

SEQUENCES: Final = 2**30  # a sequence number wraps at 2**31; long before that a new producer id begins at 0
SILENCES: Final = 2  # looks in a row without an answer, after which nobody counts on the broker
NEVER: Final = 2**31 - 1  # transaction timeout of a producer without transactions


class Waiter:
    """Who waits for some records."""

    __slots__ = ("future", "left", "since")

    def __init__(self, left: int, since: float) -> None:
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.left = left
        self.since = since

    def held(self) -> None:
        """Count one record as held."""
        self.left -= 1
        if not self.left and not self.future.done():
            self.future.set_result(None)

    def failed(self, error: Exception) -> None:
        """Tell that not all are known to be held."""
        if not self.future.done():
            self.future.set_exception(error)


Entry = tuple[Record, int, Waiter]  # the record, its greatest size, who waits


class Batch:
    """What of one partition flies together."""

    __slots__ = ("data", "entries", "place")

    def __init__(self, place: Place, entries: Sequence[Entry], data: bytes) -> None:
        self.place = place
        self.entries = entries
        self.data = data


class Crew:
    """Partitions whose batches fly together, and what waits for the next flight."""

    def __init__(self) -> None:
        self.piles: dict[Place, deque[Entry]] = {}
        self.task: asyncio.Task[None] | None = None

    def load(self) -> dict[Place, list[Entry]]:
        """Take one batch of each pile."""
        loads = {place: _cut(pile) for place, pile in self.piles.items()}
        self.piles = {place: pile for place, pile in self.piles.items() if pile}
        return loads


class Line:
    """Takes entries and sees them held; after the first failure it is broken for good, and `broken` is called once."""

    def __init__(self, wire: Wire, *, deadline: float, broken: Callable[["Line", Exception], None]) -> None:
        self._wire = wire
        self._deadline = deadline
        self._broken = broken
        self._producer = (-1, -1)
        self._sequences: dict[Place, int] = {}
        self._homes: dict[Place, Crew] = {}
        self._crews: dict[int | None, Crew] = {}
        self._waiting: set[Waiter] = set()
        self._error: Exception | None = None
        self._silences = 0
        self.bytes = 0

    async def open(self, topics: Sequence[str]) -> None:
        """Connect and get a producer id, or raise Broken or Refused."""
        await self._wire.open(topics)
        answer = await self._wire.ask(self._wire.anyone(), init_producer_id(None, NEVER))
        if answer.error_code:
            raise Refused("InitProducerId", answer.error_code)
        self._producer = answer.producer_id, answer.producer_epoch

    async def know(self, topics: Sequence[str]) -> None:
        """Learn who leads these topics' partitions, or raise Broken."""
        await self._wire.know(topics)

    def count(self, topic: str) -> int | None:
        """Return how many partitions a topic has, None if it is not there."""
        return self._wire.count(topic)

    async def publish(self, entries: Sequence[tuple[Place, Record, int]]) -> None:
        """Return once all records are held; raise what broke the line otherwise. Each comes with its greatest size."""
        if self._error is not None:
            raise self._error
        waiter = Waiter(len(entries), asyncio.get_running_loop().time())
        self._waiting.add(waiter)
        try:
            for place, record, size in entries:
                self._add(place, (record, size, waiter))
            await waiter.future
        finally:
            self._waiting.discard(waiter)

    async def listen(self) -> None:
        """Return once some broker has answered; two looks in a row without an answer break the line."""
        try:
            await self._wire.heard()
            self._silences = 0
        except Broken as error:
            self._silences += 1
            if self._silences == SILENCES:
                self._break(error)

    def _add(self, place: Place, entry: Entry) -> None:
        crew = self._homes.get(place) or self._home(place)
        crew.piles.setdefault(place, deque()).append(entry)
        self.bytes += entry[1]
        if crew.task is None:
            crew.task = asyncio.create_task(self._fly(crew), name="bus.publish")

    async def close(self, error: Exception) -> None:
        """Fail whoever still waits, end the flights, abort the connections."""
        self._break(error, tell=False)
        tasks = [crew.task for crew in self._crews.values() if crew.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._wire.close()

    def _home(self, place: Place) -> Crew:
        leader = self._wire.leader(place)
        self._homes[place] = self._crews.setdefault(leader, Crew())
        return self._homes[place]

    async def _fly(self, crew: Crew) -> None:
        try:
            while loads := crew.load():
                batches = [self._batch(place, entries) for place, entries in loads.items()]
                oldest = min(entry[2].since for batch in batches for entry in batch.entries)
                async with asyncio.timeout_at(oldest + self._deadline):
                    await self._deliver(batches)
                await asyncio.sleep(0)  # a turn of the loop, in which more can come aboard
            crew.task = None
        except asyncio.CancelledError:
            self._break(Broken("a flight was cut"))  # by `close`, which has told already, or by nobody: a library's own
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, everybody who waits must hear of it)
            self._break(error)

    def _batch(self, place: Place, entries: list[Entry]) -> Batch:
        sequence = self._sequences.get(place, 0)
        data = encode([entry[0] for entry in entries], self._producer, sequence, transactional=False)
        return Batch(place, entries, data)

    async def _deliver(self, batches: Sequence[Batch]) -> None:
        """Send until all are held; the same bytes go again, and their sequence number lets the broker know them."""
        left = {batch.place: batch for batch in batches}
        while left:
            codes = await produce(self._wire, {place: batch.data for place, batch in left.items()}, self._deadline)
            for place, code in codes.items():
                if code in (NONE, DUPLICATE_SEQUENCE):
                    self._settle(left.pop(place))
                elif code == MESSAGE_TOO_LARGE:
                    self._refuse(left.pop(place))
                elif code not in AGAIN:
                    raise Refused(f"produce to {place.topic}", code)
            if left:
                await self._wire.refresh()
                await asyncio.sleep(PAUSE)

    def _settle(self, batch: Batch) -> None:
        sequence = self._sequences[batch.place] = self._sequences.get(batch.place, 0) + len(batch.entries)
        for _, size, waiter in batch.entries:
            self.bytes -= size
            waiter.held()
        if sequence >= SEQUENCES:
            raise Refused("sequence numbers used up", NONE)

    def _refuse(self, batch: Batch) -> None:
        """Fail one batch and go on: the broker took none of it, so its sequence numbers are still free."""
        words = f"{batch.place.topic} takes less than declared: run `ringhook topics check`"
        for _, size, waiter in batch.entries:
            self.bytes -= size
            waiter.failed(TooLarge(words, reason="too_large") if len(batch.entries) == 1 else BusUnavailable(words))

    def _break(self, error: Exception, *, tell: bool = True) -> None:
        if self._error is not None:
            return
        self._error = error
        for waiter in self._waiting:
            waiter.failed(error)
        if tell:
            self._broken(self, error)


def _cut(pile: deque[Entry]) -> list[Entry]:
    entries: list[Entry] = []
    room = BATCH_LIMIT
    while pile and pile[0][1] <= room:
        entries.append(pile.popleft())
        room -= entries[-1][1]
    return entries
