"""How often operators have said that a destination is to be sent to, and when last: rows, so that each copy of deliver hears it.

Who is not closed may still be waited for (Retry-After, the next probe), and nothing in the rows of the closed would change then.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, Double, Table, Text, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.runtime.database import metadata
from workers.runtime.rows import insert_once

resumed: Final = Table(
    "destination_resumed",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("times", BigInteger, nullable=False),
    Column("at", Double),
)


class Resumed(msgspec.Struct, frozen=True):
    """How often one was resumed, and when last, in epoch seconds; never: 0."""

    times: int = 0
    at: float = 0.0


NEVER: Final = Resumed()


async def read(connection: AsyncConnection) -> Mapping[str, Resumed]:
    """Return how often each was resumed, and when; one that never was need not be in it."""
    rows = await connection.execute(select(resumed.c.destination, resumed.c.times, resumed.c.at))
    return {row.destination: Resumed(row.times, row.at or 0.0) for row in rows}


async def once_more(connection: AsyncConnection, destination: str, now: datetime) -> None:
    """Let each copy hear that it is to be sent to, at once."""
    at = now.timestamp()
    if not await insert_once(connection, resumed, {"destination": destination, "times": 1, "at": at}):
        more = update(resumed).where(resumed.c.destination == destination).values(times=resumed.c.times + 1, at=at)
        await connection.execute(more)
