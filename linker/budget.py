"""How many requests Ring gets: one bucket of RINGHOOK_RING_RATE for this process, the urgent ones first.

Tokens die after 200 ms and a backward clock refills nothing (correctness.md §7). Strangers' codes have a bucket besides: at most
10 a second, never over a fifth (security 6).
"""

import asyncio
import time
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final, Literal

Kind = Literal["link", "broker", "refresh", "stranger", "reconcile"]
_ORDER: Final[dict[Kind, int]] = {"link": 0, "broker": 1, "refresh": 2, "stranger": 3, "reconcile": 4}
TOKEN_LIFE: Final = 0.2  # seconds
STRANGERS: Final = 10.0  # exchanges a second
_SHARE: Final = 0.2


class Bucket:
    """Tokens that come at `rate` a second, at most `most` of them; time is handed in."""

    def __init__(self, rate: float, most: float, at: float) -> None:
        self.rate, self._most, self._level, self._at = rate, most, most, at

    def level(self, at: float) -> float:
        """Return how many tokens there are at that time."""
        self._level = min(self._most, self._level + max(0.0, at - self._at) * self.rate)
        self._at = max(self._at, at)
        return self._level

    def take(self, at: float) -> bool:
        """Take one token, if there is one."""
        if self.level(at) < 1:
            return False
        self._level -= 1
        return True

    def rest(self, until: float) -> None:
        """Give nothing before that time."""
        self._level, self._at = 0.0, max(self._at, until)


class Budget:
    """Shares out this process's requests to Ring."""

    def __init__(self, rate: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all = Bucket(rate, max(1.0, rate * TOKEN_LIFE), clock())
        strangers = min(STRANGERS, rate * _SHARE)
        self._strangers = Bucket(strangers, max(1.0, strangers * TOKEN_LIFE), clock())
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._served = 0
        self._pump: asyncio.TimerHandle | None = None

    async def spend(self, kind: Kind, patience: float) -> bool:
        """Return True once one request may be sent, False where that took longer than `patience` seconds."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._served += 1
        heappush(self._waiting, (_ORDER[kind], self._served, future))
        self._share()
        try:
            async with asyncio.timeout(patience):
                await future
        except TimeoutError:
            return False
        return True

    def strangers(self, most: int) -> int:
        """Take as many of the strangers' tokens as there are, at most `most`."""
        return sum(self._strangers.take(self._clock()) for _ in range(most))

    def rest(self, seconds: float) -> None:
        """Send nothing for so long: Ring answered 429."""
        self._all.rest(self._clock() + seconds)

    def _share(self) -> None:
        while self._waiting and (self._waiting[0][2].done() or self._all.take(self._clock())):
            future = heappop(self._waiting)[2]
            if not future.done():
                future.set_result(None)
        if self._pump:
            self._pump.cancel()
        self._pump = asyncio.get_running_loop().call_later(1 / self._all.rate, self._share) if self._waiting else None
