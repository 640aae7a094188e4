"""Growing, jittered pauses that an event can cut short."""

import asyncio
import random
from typing import Final

from workers.bus.contract import Stop

FIRST: Final = 0.1  # seconds
LONGEST: Final = 5.0  # seconds


class Patience:
    """Pauses that double from FIRST up to `longest` seconds, each cut at random by up to a half."""

    def __init__(self, longest: float = LONGEST) -> None:
        self._longest = longest
        self._failures = 0

    def reset(self) -> None:
        """Forget the failures: something succeeded."""
        self._failures = 0

    def next(self) -> float:
        """Return the pause after one more failure, in seconds."""
        self._failures += 1
        bound: float = min(self._longest, FIRST * 2 ** min(self._failures - 1, 16))
        return bound * random.uniform(0.5, 1)  # noqa: S311 (jitter)

    async def pause(self, stop: Stop) -> None:
        """Wait out one more failure, or until stop."""
        await within(self.next(), stop)


async def within(seconds: float, stop: Stop) -> bool:
    """Wait for stop at most so long; say whether it came."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return False
    return True
