"""Which destinations are closed, so that nothing is sent to them: by an operator's wish, or because one answered 410.

Rows that every copy of deliver reads, so that a wish works on one machine and on a cluster alike, over restarts too.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final, Literal

import msgspec
from sqlalchemy import Column, Double, Table, Text, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.runtime.database import metadata
from workers.runtime.rows import insert_once

Why = Literal["paused", "gone"]

closed: Final = Table(
    "destination_closed",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("why", Text, nullable=False),
    Column("since", Double, nullable=False),  # epoch seconds
    Column("by", Text, nullable=False),  # the name of the caller's token, or what the destination did
)


class Closed(msgspec.Struct, frozen=True):
    """Why nothing is sent to a destination; fields as in the table."""

    why: Why
    since: float
    by: str


async def read(connection: AsyncConnection, destinations: Collection[str] | None = None) -> Mapping[str, Closed]:
    """Return which are closed, of these or of all."""
    rows = select(closed.c.destination, closed.c.why, closed.c.since, closed.c.by)
    wanted = rows if destinations is None else rows.where(closed.c.destination.in_(destinations))
    return {name: Closed(why, since, by) for name, why, since, by in await connection.execute(wanted)}


async def close(connection: AsyncConnection, destination: str, why: Why, by: str, now: datetime) -> bool:
    """Close a destination; say whether it was open: who closed it first stays."""
    row = {"destination": destination, "why": why, "since": now.timestamp(), "by": by}
    return await insert_once(connection, closed, row)


async def reopen(connection: AsyncConnection, destination: str) -> bool:
    """Let it be sent to again; say whether it was closed."""
    gone = await connection.execute(delete(closed).where(closed.c.destination == destination))
    return gone.rowcount == 1
