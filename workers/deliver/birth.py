"""Where a destination begins that has committed nothing yet: at its birth, unless it says `from` (correctness.md §5)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from sqlalchemy import select

from workers.bus.contract import Stop
from workers.deliver.patience import told
from workers.runtime.database import Database
from workers.runtime.namespace import installation
from workers.runtime.rows import insert_once

FIRST: Final = "first"

From = Literal["first", "end"] | datetime
Begins = Callable[[Stop], Awaitable[From]]


def always(start: From) -> Begins:
    """Begin there, without asking anybody."""

    async def begin(stop: Stop) -> From:  # noqa: ARG001 - the shape of Begins
        return start

    return begin


def begins(text: str | None) -> From | None:
    """Return what `from` says, None where it says nothing. ValueError: it is neither "first" nor a time with its offset."""
    if text is None or text == FIRST:
        return FIRST if text else None
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("a time without its offset")
    return at


@dataclass(frozen=True)
class Birth:
    """Begin with what is recorded after the first process that knew this destination came up, at `now` if that is us.

    The moment is written down: lanes open one after the other, perhaps in other processes, and what is recorded in
    between is for the destination.
    """

    database: Database
    name: str
    now: datetime

    async def __call__(self, stop: Stop) -> From:
        """Return the moment, waiting for a store that is away. Revoked: `stop` came first."""
        return await told(self._born, self.name, stop)

    async def _born(self) -> datetime:
        key = f"destination.{self.name}.since"
        async with self.database.begin() as connection:
            await insert_once(connection, installation, {"name": key, "value": self.now.isoformat()})
            since = await connection.scalar(select(installation.c.value).where(installation.c.name == key))
        return datetime.fromisoformat(str(since))
