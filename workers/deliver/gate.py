"""Where requests wait for the pace they may start at, and whoever was turned back is called once the next may."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from workers.deliver.pace import Pace


class Gate:
    """Lets no more through than a rate."""

    def __init__(self, rate: float | None, again: Callable[[], None]) -> None:
        """`rate` is requests a second, None: no limit; `again` is called, in this event loop, when one that was shut opens."""
        self._pace, self._again, self._waking = Pace(rate), again, False

    def is_open(self, now: datetime) -> bool:
        """Say whether a request may start now."""
        wait = self._pace.due(now.timestamp())
        if wait and not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_later(wait, self._wake)
        return not wait

    def passed(self, now: datetime) -> None:
        """Hear that one starts, while it is open."""
        self._pace.take(now.timestamp())

    def _wake(self) -> None:
        self._waking = False
        self._again()
