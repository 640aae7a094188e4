"""What operators wish of destinations, as rows have it: one look for all of a process, however many destinations it has."""

import asyncio
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Final

import msgspec

from workers.deliver import closed, resumed
from workers.deliver import replay as rows
from workers.deliver.closed import Closed
from workers.deliver.replay import Replay
from workers.deliver.resumed import Resumed
from workers.runtime.database import Database

FRESH_S: Final = 0.8


class Wished(msgspec.Struct, frozen=True):
    """By destination: why nothing is sent to it, its replays that are not over or are cancelled, when it was resumed."""

    closed: Mapping[str, Closed]
    replays: Mapping[str, Sequence[Replay]]
    cancelled: Mapping[str, frozenset[str]]
    resumed: Mapping[str, Resumed]


class Wishes:
    """The rows of one store."""

    def __init__(self, database: Database) -> None:
        self.database: Final = database
        self._known: Wished | None = None
        self._at = 0.0
        self._one = asyncio.Lock()

    async def __call__(self, *, anew: bool = False) -> Wished:
        """Return what is wished, as it stood less than a second ago; `anew`: as it stands. Raises Unavailable."""
        async with self._one:
            if anew or self._known is None or monotonic() - self._at > FRESH_S:
                at = monotonic()
                self._known, self._at = await self._read(), at
            return self._known

    async def _read(self) -> Wished:
        async with self.database.read() as connection:
            return Wished(
                closed=await closed.read(connection),
                replays=await rows.live(connection),
                cancelled=await rows.cancelled(connection),
                resumed=await resumed.read(connection),
            )
