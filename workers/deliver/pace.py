"""How many requests a second may start: a bucket of tokens, never more than the rate in any second. Pure; time is handed in."""

from collections import deque
from math import ceil
from typing import Final

RATE_LIMIT: Final = 10_000.0  # a second: more than a process sends


class Pace:
    """A second's worth of tokens, at least one; each is back a second after it was taken, 1/rate after another at the soonest.

    So a rest lets a second's worth go at once, and what follows is even. (A bucket that fills at the rate would let twice the
    rate go in the second that begins with a full one.)
    """

    def __init__(self, rate: float | None) -> None:
        """`rate` is requests a second; None: no limit."""
        self._rate = rate
        self._size = ceil(rate or 1)
        self._back: deque[float] = deque(maxlen=self._size)  # when each token that was ever taken is back, in order

    def due(self, at: float) -> float:
        """Return the seconds until there is a token; 0: there is one."""
        if self._rate is None or len(self._back) < self._size:
            return 0.0
        return max(self._back[0] - at, 0.0)

    def take(self, at: float) -> None:
        """Take one that is there."""
        if self._rate is None:
            return
        even = self._back[-1] + 1 / self._rate if self._back else at
        self._back.append(max(at + self._size / self._rate, even))
