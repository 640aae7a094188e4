"""What each copy of deliver tells of a destination, as rows: whoever asks how it fares sees all of them, wherever they run."""

from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, Double, Integer, Table, Text, and_, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.runtime.database import metadata
from workers.runtime.rows import upsert

LIVE: Final = timedelta(seconds=15)  # a copy that told nothing for so long is not there
KEPT: Final = timedelta(days=1)

copies: Final = Table(
    "destination_copy",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("copy", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("flying", Integer, nullable=False),
    Column("waiting", BigInteger, nullable=False),
    Column("held", BigInteger, nullable=False, server_default="0"),
    Column("behind", BigInteger),
    Column("behind_since", Double),
    Column("lived_at", Double),
    Column("failed_at", Double),
    Column("failure", Text),
    Column("seen_at", Double, nullable=False),
    Column("resumed", BigInteger, nullable=False, server_default="0"),
    Column("quiet_until", Double),
    Column("takes", Text),  # JSON of Takes
    Column("accepted_at", Double),
    Column("dead", BigInteger, nullable=False, server_default="0"),
    Column("dead_at", Double),
    Column("next_at", Double),
)


class Copy(msgspec.Struct, frozen=True):
    """How a destination fares as one copy sees it; times are epoch seconds."""

    destination: str
    copy: str
    state: str  # well, throttled, failing, gone, paused
    flying: int  # requests under way
    waiting: int  # events in rows, of its lanes
    held: int  # records put aside for it that are to be sent yet
    behind: int | None  # records that the whole group has not committed; None: not measured yet
    behind_since: float | None  # when the oldest of them was recorded
    lived_at: float | None  # when the destination last accepted one, or refused one as wrong
    failed_at: float | None
    failure: str | None  # what the latest attempt that failed came to: a status, or why there was no answer
    seen_at: float
    resumed: int = 0  # how often it has heard that the destination is resumed
    quiet_until: float | None = None  # until when the destination has asked for rest
    takes: str | None = None  # JSON of what it takes; None: told by a version that did not
    accepted_at: float | None = None  # when the destination last accepted one
    dead: int = 0  # events that this copy put on the dead letters since it began
    dead_at: float | None = None  # when the last of them
    next_at: float | None = None  # when the next of those that wait in rows is due


async def tell(connection: AsyncConnection, copy: Copy) -> None:
    """Write what a copy sees; drop what others told long ago."""
    await upsert(connection, copies, [msgspec.structs.asdict(copy)])
    old = and_(copies.c.destination == copy.destination, copies.c.seen_at < copy.seen_at - KEPT.total_seconds())
    await connection.execute(delete(copies).where(old))


async def leave(connection: AsyncConnection, destination: str, copy: str) -> None:
    """Let a copy that ends be missed by nobody."""
    await connection.execute(delete(copies).where(copies.c.destination == destination, copies.c.copy == copy))


async def seen(connection: AsyncConnection, now: datetime) -> frozenset[str]:
    """Return the destinations to which somebody delivered within the last day."""
    rows = select(copies.c.destination).where(copies.c.seen_at >= (now - KEPT).timestamp()).distinct()
    return frozenset(await connection.scalars(rows))


async def live(connection: AsyncConnection, now: datetime) -> list[Copy]:
    """Return what the copies tell that are there, by destination."""
    rows = select(*(copies.c[name] for name in Copy.__struct_fields__)).where(copies.c.seen_at >= (now - LIVE).timestamp())
    return [Copy(*row) for row in await connection.execute(rows.order_by(copies.c.destination, copies.c.copy))]
