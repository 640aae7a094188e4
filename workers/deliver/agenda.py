"""What is due when: a heap from which anything can be taken out without a look at all of it. Pure."""

import heapq
from datetime import datetime


class Agenda:
    """Numbers with the moments from which on they are due, the earliest first; among equals the lowest number."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int]] = []  # also entries that hold no more, but never as its first
        self._due: dict[int, datetime] = {}

    def put(self, number: int, due: datetime) -> None:
        """Note from when on one is due."""
        self._due[number] = due
        heapq.heappush(self._heap, (due, number))

    def drop(self, number: int) -> None:
        """Let one be due no more: its entry goes once it is the heap's first, as finding it would take a look at all."""
        self._due.pop(number, None)
        while self._heap and not self._holds(self._heap[0]):
            heapq.heappop(self._heap)
        if len(self._heap) > 2 * len(self._due):  # else what stands behind one that is due for long would pile up
            self._heap = [*filter(self._holds, self._heap)]
            heapq.heapify(self._heap)

    def sample(self, now: datetime, dice: float) -> int | None:
        """Return one of those that are due by now, about as likely as any other; `dice` in [0, 1)."""
        due, number = self._heap[int(dice * len(self._heap))] if self._heap else (now, 0)
        return number if due <= now and self._holds((due, number)) else self.first(now)

    def __len__(self) -> int:
        return len(self._due)

    def first(self, now: datetime) -> int | None:
        """Return the first that is due by now."""
        return self._heap[0][1] if self._heap and self._heap[0][0] <= now else None

    def since(self) -> datetime:
        """Return from when on its first is due; there must be one."""
        return self._heap[0][0]

    def is_due(self, number: int, now: datetime) -> bool:
        """Say whether one is here, and due by now."""
        due = self._due.get(number)
        return due is not None and due <= now

    def _holds(self, entry: tuple[datetime, int]) -> bool:
        return self._due.get(entry[1]) == entry[0]
