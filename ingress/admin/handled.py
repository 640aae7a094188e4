"""Which dead letters were handled, or are being handled: rows, for as long as the letters themselves are kept."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Column, Double, Table, Text, and_, delete, or_, select, update

from workers.runtime.database import Database, metadata
from workers.runtime.rows import among, insert_once, lists

KEPT: Final = timedelta(days=45)  # a segment of dead letters goes when its last is 30 days old, and holds a quarter of that
HANDLING: Final = "handling"
AWHILE: Final = timedelta(minutes=2)  # after which whoever was handling a letter has done so, or died

handled: Final = Table(
    "dead_handled",
    metadata,
    Column("address", Text, primary_key=True),  # topic:index:offset
    Column("how", Text, nullable=False),  # handling, retried, dropped
    Column("by", Text, nullable=False),
    Column("at", Double, nullable=False, index=True),  # epoch seconds, by which old ones are dropped
)


@dataclass(frozen=True)
class Handled:
    """The rows of one store."""

    database: Database

    async def among(self, addresses: Collection[str]) -> Collection[str]:
        """Return which of these were handled, or are being handled."""
        if not addresses:
            return frozenset()
        async with self.database.read() as connection:
            wanted = among(connection.dialect.name, handled.c.address, "name")
            found = await connection.scalars(select(handled.c.address).where(wanted), lists(connection, name=[*addresses]))
            return frozenset(found)

    async def claim(self, addresses: Collection[str], by: str, now: datetime) -> Collection[str]:
        """Take those in hand that nobody has, and return them; forget what expired with its letter, and who died over one."""
        left = and_(handled.c.how == HANDLING, handled.c.at < (now - AWHILE).timestamp())
        row = {"how": HANDLING, "by": by, "at": now.timestamp()}
        async with self.database.begin() as connection:
            await connection.execute(delete(handled).where(or_(left, handled.c.at < (now - KEPT).timestamp())))
            mine = sorted(addresses)
            return [address for address in mine if await insert_once(connection, handled, {"address": address, **row})]

    async def mark(self, addresses: Collection[str], how: str) -> None:
        """Note what was done about letters in hand."""
        async with self.database.begin() as connection:
            await connection.execute(update(handled).where(handled.c.address.in_(addresses)).values(how=how))

    async def let_go(self, addresses: Collection[str]) -> None:
        """Note that nothing was done about letters in hand."""
        async with self.database.begin() as connection:
            await connection.execute(delete(handled).where(handled.c.address.in_(addresses), handled.c.how == HANDLING))
