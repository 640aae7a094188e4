"""The clocks that decisions are handed; a module of their own, so that the hot path imports nothing that knows a database."""

import time
from datetime import UTC, datetime
from typing import Final

_STEADY: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # runs during suspension where the system offers it


def utc_now() -> datetime:
    """Return the present moment, in UTC."""
    return datetime.now(UTC)


def steady() -> float:
    """Return seconds on the clock that never steps back and runs during suspension."""
    return time.clock_gettime(_STEADY)
