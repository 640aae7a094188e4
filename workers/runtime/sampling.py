"""One of many is enough: lets through at most one of a kind in an interval, and counts the others."""

import time
from collections.abc import Callable, Hashable


class Sampler:
    """Says which of the many equal facts is worth a line. Kinds come from closed sets, so that its memory is bounded."""

    def __init__(self, interval_s: float = 1.0, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = interval_s
        self._clock = clock
        self._next: dict[Hashable, float] = {}
        self._passed_over: dict[Hashable, int] = {}

    def take(self, kind: Hashable) -> int | None:
        """Return how many of this kind were passed over since the last one taken, or None if this one is to be passed over."""
        now = self._clock()
        if now < self._next.get(kind, now):
            self._passed_over[kind] = self._passed_over.get(kind, 0) + 1
            return None
        self._next[kind] = now + self._interval
        return self._passed_over.pop(kind, 0)
