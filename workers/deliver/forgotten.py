"""The sweep that keeps nothing of who was forgotten in rows that wait, also for destinations that are configured no more."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select, update

from schemas.topics import delivery
from workers.runtime import stops
from workers.runtime.database import Database
from workers.runtime.waiting import lines, of_lane
from workers.runtime.waiting import waiting as rows

OFTEN: Final = timedelta(minutes=1)
_LANES: Final = select(lines.c.grp, lines.c.lane).where(lines.c.grp.startswith(delivery(""), autoescape=True)).distinct()
_WHO: Final = select(stops.stops.c.account_hash).where(stops.stops.c.why == "forgotten")
_FORGET: Final = update(rows).where(of_lane(rows), rows.c.whose.in_(_WHO)).values(record=b"", whose=None)


@dataclass(frozen=True)
class Forgotten:
    """A Sweep."""

    database: Database
    name: str = "deliver.forgotten"

    async def __call__(self, now: datetime) -> timedelta:
        """Leave of rows whose account was forgotten nothing but their places. Raises Unavailable: it is done a little later."""
        del now
        async with self.database.begin() as connection:
            for group, lane in (await connection.execute(_LANES)).all():
                await connection.execute(_FORGET, {"my_grp": group, "my_lane": lane})
        return OFTEN
