"""How often operators have said that a destination is to be sent to: rows, so that each copy of deliver hears of every time.

Who is not closed may still be waited for (Retry-After, the next probe), and nothing in the rows of the closed would change then.
"""

from collections.abc import Mapping
from typing import Final

from sqlalchemy import BigInteger, Column, Table, Text, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.runtime.database import metadata
from workers.runtime.rows import insert_once

resumed: Final = Table(
    "destination_resumed",
    metadata,
    Column("destination", Text, primary_key=True),
    Column("times", BigInteger, nullable=False),
)


async def read(connection: AsyncConnection) -> Mapping[str, int]:
    """Return how often each was resumed; one that never was need not be in it."""
    rows = await connection.execute(select(resumed.c.destination, resumed.c.times))
    return {row.destination: row.times for row in rows}


async def once_more(connection: AsyncConnection, destination: str) -> None:
    """Let each copy hear that it is to be sent to, at once."""
    if not await insert_once(connection, resumed, {"destination": destination, "times": 1}):
        await connection.execute(update(resumed).where(resumed.c.destination == destination).values(times=resumed.c.times + 1))
