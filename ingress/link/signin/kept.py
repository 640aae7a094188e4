"""A document of another's, fetched when it is needed and kept: by one caller at a time, and never again and again in vain."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

from schemas.errors import Unavailable

T = TypeVar("T")
FRESH: Final = timedelta(minutes=10)
STALE: Final = timedelta(days=1)  # so long the last one serves where no newer can be had
REST: Final = timedelta(seconds=2)  # after a failure
RENEWAL: Final = timedelta(seconds=10)  # between two that somebody asked for out of turn


@dataclass
class Kept(Generic[T]):
    """`load` raises Unavailable where there is nothing to be had."""

    load: Callable[[], Awaitable[T]]
    clock: Callable[[], datetime]
    _value: T | None = None
    _at: datetime | None = None  # of the value
    _failure: Unavailable | None = None
    _failed: datetime | None = None
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def get(self) -> T:
        """Return the document, at most ten minutes old; an older one only where no newer can be had, and for a day."""
        return await self._newer_than(FRESH)

    async def renewed(self) -> T:
        """Return one that was fetched within the last ten seconds: by this call, or before it."""
        return await self._newer_than(RENEWAL)

    async def _newer_than(self, age: timedelta) -> T:
        async with self._one:
            if self._value is not None and _young(self._at, self.clock(), age):
                return self._value
            if not self._resting():
                await self._try()
            if self._value is not None and self._at is not None and self.clock() - self._at < STALE:
                return self._value
            raise self._failure or Unavailable

    def _resting(self) -> bool:
        return _young(self._failed, self.clock(), REST)

    async def _try(self) -> None:
        try:
            self._value, self._at = await self.load(), self.clock()
        except Unavailable as error:
            self._failure, self._failed = error, self.clock()


def _young(since: datetime | None, now: datetime, age: timedelta) -> bool:
    """Say whether something is so young; what was noted by a clock that has been set back since is of no age."""
    return since is not None and timedelta(0) <= now - since < age
