"""Whether the store answers, for the readiness of roles that can do nothing without it."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text

from schemas.errors import Unavailable
from workers.runtime.database import Database

EVERY: Final = timedelta(seconds=2)
DEADLINE_S: Final = 3.0  # a store that takes longer for one word is of no use


@dataclass
class StoreProbe:
    """Sweep: asks the store for one word; the probe tells from memory what came of it, so that nobody waits on `/readyz`."""

    database: Database
    name: Final = "store.probe"
    _away: str | None = field(default="the store has not been asked yet", init=False)

    def away(self) -> str | None:
        """Return why no traffic should come (a readiness probe), or None."""
        return self._away

    async def __call__(self, now: datetime) -> timedelta:  # noqa: ARG002 - the seam's shape
        """Ask, and remember; ask again in two seconds."""
        try:
            async with asyncio.timeout(DEADLINE_S), self.database.read() as connection:
                await connection.execute(text("SELECT 1"))
        except TimeoutError:
            self._away = "the store does not answer"
        except Unavailable as error:
            self._away = str(error)
        else:
            self._away = None
        return EVERY
