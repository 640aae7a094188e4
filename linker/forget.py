"""The sweep that carries out what an operator wished: an account is forgotten by the store, then by the topic."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from linker.forgetting import Forgetting
from schemas.topics import ACCOUNT_CHANGED
from workers.bus.contract import Bus, BusUnavailable, Record

BATCH: Final = 100
IDLE: Final = timedelta(seconds=1)
DEADLINE: Final = 30.0  # seconds


@dataclass(frozen=True)
class Forget:
    """A Sweep. Entering `exclusive` fences whoever announces what it read before the rows were deleted."""

    forgetting: Forgetting
    bus: Bus
    name: str = "linker.forget"

    async def __call__(self, now: datetime) -> timedelta:
        """Delete what is stored, then publish tombstones. Raises Unavailable, and Revoked where another linker took over."""
        for account in await self.forgetting.wished(BATCH, swept=False):
            await self.forgetting.sweep(account, now.timestamp())
        if not (swept := await self.forgetting.wished(BATCH, swept=True)):
            return IDLE
        try:
            async with asyncio.timeout(DEADLINE), self.bus.exclusive("announce") as publisher:
                await publisher.publish([Record(topic=ACCOUNT_CHANGED.name, key=name.encode(), value=b"") for name in swept])
        except TimeoutError as error:
            raise BusUnavailable from error
        await self.forgetting.done(swept)
        return timedelta(0)
