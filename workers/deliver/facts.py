"""Publishes attempt records in batches beside the deliveries: bounded and lossy, so that telling never slows doing."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from prometheus_client import Counter

from schemas.errors import Rejected, Unavailable
from workers.bus.contract import Publisher, Record

LIMIT: Final = 5_000  # records kept while the bus is away, 5 MiB with what was answered; more are counted and lost
PLAIN_LIMIT: Final = 500  # plain ones kept per turn, a second: beyond, telling would cost a fifth of doing
BATCH: Final = 500
EVERY_S: Final = 1.0
DEADLINE_S: Final = 10.0


class Facts:
    """An outbox that takes in no time, and loses rather than waits."""

    def __init__(self, publisher: Publisher, lost: Counter) -> None:
        self._publisher = publisher
        self._lost = lost
        self._held: deque[Record] = deque()

    def add(self, make: Callable[[], Record], *, plain: bool = False) -> None:
        """Take one record, made only where it is kept; `plain` ones (accepted at once) are the first to be lost (and counted)."""
        if len(self._held) >= (PLAIN_LIMIT if plain else LIMIT):
            self._lost.inc()
            return
        self._held.append(make())

    async def run(self, ended: asyncio.Event) -> None:
        """Publish what was added until `ended` is set, and once more after it."""
        while not ended.is_set():
            await _pause(ended)
            await self._flush()

    async def _flush(self) -> None:
        while self._held:
            batch = [self._held.popleft() for _ in range(min(len(self._held), BATCH))]
            if not await self._published(batch):
                self._lost.inc(len(batch))
                return

    async def _published(self, batch: list[Record]) -> bool:
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._publisher.publish(batch)
        except (Unavailable, Rejected, TimeoutError):
            return False
        return True


async def _pause(ended: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(EVERY_S):
            await ended.wait()
    except TimeoutError:
        return
