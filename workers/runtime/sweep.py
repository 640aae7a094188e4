"""The second driver: rows and time make work due."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from schemas.errors import Unavailable
from workers.bus.contract import BusBroken, Revoked, Stop
from workers.runtime.backoff import Backoff
from workers.runtime.clock import utc_now
from workers.runtime.delay import Delay
from workers.runtime.jobs import Sweep

LONGEST: Final = 30.0  # seconds; nothing due may be found later than this, whatever a sweep answers


@dataclass(frozen=True)
class Sweeping:
    """A worker that runs one sweep."""

    sweep: Sweep
    wake: asyncio.Event | None = None

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.sweep.name

    async def run(self, stop: Stop) -> None:
        """Sweep until `stop`."""
        await run(self.sweep, stop, wake=self.wake)


async def run(sweep: Sweep, stop: Stop, *, wake: asyncio.Event | None = None, clock: Callable[[], datetime] = utc_now) -> None:
    """Call the sweep until `stop`, each time after the pause it asked for, earlier when `wake` is set.

    Unavailable (store, bus or Ring away, or fenced by another copy) is retried with growing jittered pauses; any other
    exception is a bug and is the supervisor's.
    """
    wake = wake or asyncio.Event()
    backoff, delay = Backoff(first=0.1, longest=5.0), Delay()
    while not stop.is_set():
        wake.clear()
        try:
            pause = (await sweep(clock())).total_seconds()
            backoff.reset()
            delay.goes_on("sweep.resumed", sweep=sweep.name)
        except BusBroken:
            raise
        except (Unavailable, Revoked) as error:
            pause = backoff.next()
            delay.waits("sweep.delayed", str(error), sweep=sweep.name)
        await _sleep(min(pause, LONGEST), wake, stop)


async def _sleep(seconds: float, wake: asyncio.Event, stop: Stop) -> None:
    """Return after `seconds`, or as soon as someone wakes us or asks for the end."""
    if seconds <= 0:
        await asyncio.sleep(0)
        return
    waiters = [asyncio.ensure_future(wake.wait()), asyncio.ensure_future(stop.wait())]
    try:
        await asyncio.wait(waiters, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for waiter in waiters:
            waiter.cancel()
