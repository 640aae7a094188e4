"""Requests in flight, and how many of them take far longer than those do that are accepted."""

from collections.abc import Hashable
from datetime import datetime, timedelta
from typing import Final

LATE_LEAST: Final = timedelta(seconds=0.25)
LATE: Final = 4  # times as long as what was accepted of late
WEIGHT: Final = 0.2  # of the newest in what is typical


class Outstanding:
    """What was sent and not answered yet."""

    def __init__(self) -> None:
        self._began: dict[Hashable, datetime] = {}  # in order of time
        self._typical: timedelta | None = None  # how long what is accepted takes

    def began(self, request: Hashable, now: datetime) -> None:
        """Count a request."""
        self._began[request] = now

    def ended(self, request: Hashable) -> None:
        """Count it no more."""
        self._began.pop(request, None)

    def accepted(self, took: timedelta) -> None:
        """Learn how long it takes."""
        before = self._typical
        self._typical = took if before is None else before + (took - before) * WEIGHT

    def late(self, now: datetime) -> int:
        """Return how many say by now nothing of how many their destination takes: they hang for reasons of their own."""
        if self._typical is None:
            return 0
        before = now - max(LATE_LEAST, LATE * self._typical)
        return sum(began < before for began in self._began.values())
