"""Wishes that the configuration be read anew, as rows that every process looks at, and what each of them made of the last one.

A wish is a row of `installation`, so that it is there in the next second and after a restart; there is one, the latest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from secrets import token_hex
from typing import Any, Final

import msgspec
from msgspec.structs import asdict
from sqlalchemy import Column, Double, Table, Text, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.runtime.database import Database, metadata
from workers.runtime.namespace import installation
from workers.runtime.rows import upsert

NAME: Final = "reload"
LIVE: Final = timedelta(seconds=15)  # a process that told nothing for so long is not there
KEPT: Final = timedelta(days=1)

told: Final = Table(
    "reload_told",
    metadata,
    Column("copy", Text, primary_key=True),
    Column("role", Text, nullable=False),
    Column("wish", Text, nullable=False),
    Column("said", Text, nullable=False),  # JSON
    Column("seen_at", Double, nullable=False),
)


class Wish(msgspec.Struct, frozen=True):
    """That every process reads its configuration anew; `drop` names destinations that may go though they have a backlog."""

    id: str  # that of a later one is greater
    by: str
    at: float  # epoch seconds
    drop: tuple[str, ...] = ()


def wished(by: str, at: float, drop: Sequence[str] = ()) -> Wish:
    """Return a new wish."""
    return Wish(f"{at:017.6f}-{token_hex(4)}", by, at, tuple(drop))


class Told(msgspec.Struct, frozen=True):
    """What one process made of the latest wish that it has met ("": of none); `said["begun"]` is the one that it is at."""

    copy: str
    role: str
    wish: str
    said: Mapping[str, Any]
    seen_at: float


async def hold(connection: AsyncConnection, wish: Wish) -> None:
    """Let this be the latest wish."""
    await upsert(connection, installation, [{"name": NAME, "value": msgspec.json.encode(wish).decode()}])


async def latest(connection: AsyncConnection) -> Wish | None:
    """Return the latest wish, None where there was none."""
    found = await connection.scalar(select(installation.c.value).where(installation.c.name == NAME))
    return msgspec.json.decode(found, type=Wish) if found else None


async def tell(connection: AsyncConnection, one: Told) -> None:
    """Write what a process made of it, and that it is there; drop what others told long ago."""
    await upsert(connection, told, [asdict(one) | {"said": msgspec.json.encode(one.said).decode()}])
    await connection.execute(delete(told).where(told.c.seen_at < one.seen_at - KEPT.total_seconds()))


async def leave(connection: AsyncConnection, copy: str) -> None:
    """Let a process that ends be waited for by nobody."""
    await connection.execute(delete(told).where(told.c.copy == copy))


def is_silent(one: Told, now: datetime) -> bool:
    """Say whether a process has told nothing for so long that it cannot be there."""
    return one.seen_at < (now - LIVE).timestamp()


async def live(connection: AsyncConnection, at: datetime) -> Sequence[Told]:
    """Return what the processes tell that were there at that time, or came since, and have not ended."""
    rows = select(*(told.c[name] for name in Told.__struct_fields__)).where(told.c.seen_at >= (at - LIVE).timestamp())
    return [
        Told(copy, role, wish, msgspec.json.decode(said), seen_at)
        for copy, role, wish, said, seen_at in await connection.execute(rows.order_by(told.c.role, told.c.copy))
    ]


@dataclass(frozen=True)
class Reloads:
    """The rows of one store."""

    database: Database

    async def ask(self, wish: Wish) -> None:
        """Hold a wish."""
        async with self.database.begin() as connection:
            await hold(connection, wish)

    async def told(self, at: datetime) -> Sequence[Told]:
        """Return what the processes tell that were there at that time, or came since, and have not ended."""
        async with self.database.read() as connection:
            return await live(connection, at)
