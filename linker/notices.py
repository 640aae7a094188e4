"""Tells `edge.noticed` what links have proven: that a code was Ring's, that a browser came from Ring (security 9)."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import msgspec

from schemas.records import EdgeNoticed, Notice
from schemas.topics import EDGE_NOTICED
from workers.bus.contract import BusUnavailable, Publisher, Record

IDLE: Final = timedelta(seconds=30)
DEADLINE: Final = 5.0  # seconds


@dataclass(frozen=True)
class FirstProofs:
    """A Sweep. The first proof of each kind waits here until the bus holds it; a restart may lose or repeat it."""

    publisher: Publisher
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    name: str = "linker.notices"
    _met: set[Notice] = field(default_factory=set)
    _waiting: list[Notice] = field(default_factory=list)  # at most one of a kind

    def proven(self, kind: Notice) -> None:
        """Note the first of its kind; waits for nothing and never fails."""
        if kind not in self._met:
            self._met.add(kind)
            self._waiting.append(kind)
            self.wake.set()

    async def __call__(self, now: datetime) -> timedelta:
        """Publish what waits. Raises Unavailable: it waits on."""
        if waiting := tuple(self._waiting):
            await self._publish([_record(kind, now) for kind in waiting])
            del self._waiting[: len(waiting)]
        return IDLE

    async def _publish(self, records: list[Record]) -> None:
        try:
            async with asyncio.timeout(DEADLINE):
                await self.publisher.publish(records)
        except TimeoutError as error:
            raise BusUnavailable from error


def _record(kind: Notice, now: datetime) -> Record:
    notice = EdgeNoticed(kind=kind, at=now, proven=True)
    return Record(topic=EDGE_NOTICED.name, key=kind.encode(), value=msgspec.json.encode(notice))
