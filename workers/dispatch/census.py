"""How many events wait for their account's link, and since when; the sweep that tells it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

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


class Queue(NamedTuple):
    """What waits in one lane."""

    rows: int
    since: float | None  # epoch seconds of the oldest


async def queues(database: Database) -> Sequence[Queue]:
    """Return what waits in each lane, from its line over all and its oldest row; raises StoreUnavailable."""
    found = []
    async with database.read() as connection:
        for lane in range(PARTITIONS):
            rows = await connection.scalar(_ROWS, {"my_lane": lane}) or 0
            found.append(Queue(rows, await connection.scalar(_OLDEST, {"my_lane": lane}) if rows else None))
    return found


@dataclass(frozen=True)
class Census:
    """Sweep: keeps the gauges of what waits."""

    database: Database
    name = "dispatch.census"

    async def __call__(self, now: datetime) -> timedelta:
        """Set the gauges of all lanes, whoever owns them."""
        for lane, queue in enumerate(await queues(self.database)):
            metrics.WAITING.labels(lane=lane).set(queue.rows)
            metrics.WAITING_AGE.labels(lane=lane).set(max(0.0, now.timestamp() - queue.since) if queue.since else 0.0)
        return EVERY
