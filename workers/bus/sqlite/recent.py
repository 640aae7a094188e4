"""The newest records of each slot, so that a reader at the log's end costs neither a thread nor the disk."""

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from workers.bus.contract import Held

BYTES: Final = 8 * 2**20  # of values
COUNT: Final = 4_096


class Recent:
    """Bounded in bytes and records over all slots; what a slot keeps is always a run up to its end."""

    def __init__(self, most: int = BYTES, count: int = COUNT) -> None:
        self._most, self._count = most, count
        self._order: deque[int] = deque()  # the slots of the records, oldest first
        self._slots: defaultdict[int, deque[Held]] = defaultdict(deque)
        self._bytes = 0

    def add(self, committed: Iterable[tuple[int, Held]]) -> None:
        """Take committed records with their slots, in the order of their offsets; the oldest make room."""
        for slot, held in committed:
            self._order.append(slot)
            self._slots[slot].append(held)
            self._bytes += len(held.value)
        while self._bytes > self._most or len(self._order) > self._count:
            self._bytes -= len(self._slots[self._order.popleft()].popleft().value)

    def since(self, slot: int, offset: int, limit: int) -> Sequence[Held] | None:
        """Return up to `limit` records from an offset on, or None where only the file knows."""
        run = self._slots[slot]
        if not run or offset < run[0].offset:
            return None
        at = offset - run[0].offset
        return list(islice(run, at, at + limit))
