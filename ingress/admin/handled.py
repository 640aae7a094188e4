"""Which dead letters were handled: rows, for as long as the letters themselves are kept."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Column, Double, Table, Text, delete, select

from workers.runtime.database import Database, metadata
from workers.runtime.rows import among, insert_ignore, lists

KEPT: Final = timedelta(days=45)  # a segment of dead letters goes when its last is 30 days old, and holds a quarter of that

handled: Final = Table(
    "dead_handled",
    metadata,
    Column("address", Text, primary_key=True),  # topic:index:offset
    Column("how", Text, nullable=False),  # retried, dropped
    Column("by", Text, nullable=False),
    Column("at", Double, nullable=False, index=True),  # epoch seconds, by which old ones are dropped
)


@dataclass(frozen=True)
class Handled:
    """The rows of one store."""

    database: Database

    async def among(self, addresses: Collection[str]) -> Collection[str]:
        """Return which of these were handled."""
        if not addresses:
            return frozenset()
        async with self.database.read() as connection:
            wanted = among(connection.dialect.name, handled.c.address, "name")
            found = await connection.scalars(select(handled.c.address).where(wanted), lists(connection, name=[*addresses]))
            return frozenset(found)

    async def mark(self, addresses: Collection[str], how: str, by: str, now: datetime) -> None:
        """Note that these are; forget what expired with its letter."""
        rows = [{"address": address, "how": how, "by": by, "at": now.timestamp()} for address in addresses]
        async with self.database.begin() as connection:
            await insert_ignore(connection, handled, rows)
            await connection.execute(delete(handled).where(handled.c.at < (now - KEPT).timestamp()))
