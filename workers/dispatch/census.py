"""The sweep that tells how many events wait for their account's link, and for how long."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, func, select

from schemas.topics import PARTITIONS
from workers.dispatch import metrics
from workers.runtime.database import Database
from workers.runtime.lines import TOTAL
from workers.runtime.waiting import LIVE, lines, waiting

EVERY: Final = timedelta(seconds=10)
_ROWS: Final = select(lines.c.rows).where(
    lines.c.grp == "dispatch", lines.c.lane == bindparam("my_lane"), lines.c.key == TOTAL, LIVE
)
_OLDEST: Final = select(func.min(waiting.c.since)).where(
    waiting.c.grp == "dispatch", waiting.c.lane == bindparam("my_lane"), LIVE
)


@dataclass(frozen=True)
class Census:
    """Sweep: reads each lane's line over all, and its oldest row."""

    database: Database
    name = "dispatch.census"

    async def __call__(self, now: datetime) -> timedelta:
        """Set the gauges of all lanes, whoever owns them."""
        async with self.database.read() as connection:
            for lane in range(PARTITIONS):
                rows = await connection.scalar(_ROWS, {"my_lane": lane}) or 0
                since = await connection.scalar(_OLDEST, {"my_lane": lane}) if rows else None
                metrics.WAITING.labels(lane=lane).set(rows)
                metrics.WAITING_AGE.labels(lane=lane).set(max(0.0, now.timestamp() - since) if since else 0.0)
        return EVERY
