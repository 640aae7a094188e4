"""What was finished of a lane and the bus may not know, written down at the end of a session: its next owner may be elsewhere.

One row an event, with where the bus was known to be then, so that an operator's reset is told from it (`finished.py`).
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, Double, Integer, RowMapping, Table, Text, and_, delete, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.deliver.finished import BOUND, Known, Untold, is_void, pending
from workers.deliver.policy import Bury, Cancel, Decision, Done
from workers.runtime.database import metadata
from workers.runtime.rows import Values, upsert

KEPT: Final = timedelta(days=30)  # no log keeps an event for longer (decision 35)
_PLAIN: Final[dict[str, Decision]] = {"delivered": Done(), "cancelled": Cancel()}  # else the fate is the reason of a burial

untold: Final = Table(
    "delivery_untold",
    metadata,
    Column("grp", Text, primary_key=True),
    Column("lane", Integer, primary_key=True, autoincrement=False),
    Column("offset", BigInteger, primary_key=True, autoincrement=False),
    Column("taken_at", Text, nullable=False),  # by the bus, to the microsecond: with the offset it names the event
    Column("fate", Text, nullable=False),
    Column("next", BigInteger, nullable=False),  # the position that the bus was known to have
    Column("n", BigInteger),  # and the step that its note named
    Column("noted_at", Double, nullable=False),  # epoch seconds
)


async def note(connection: AsyncConnection, group: str, lane: int, events: Sequence[Untold], now: datetime) -> None:
    """Write down what a session finished."""
    mine = {"grp": group, "lane": lane, "noted_at": now.timestamp()}
    await upsert(connection, untold, [{**mine, **_row(event)} for event in events])


async def forget(connection: AsyncConnection, group: str, lane: int, offsets: Collection[int]) -> None:
    """Delete what a commit has told after all."""
    mine = and_(untold.c.grp == group, untold.c.lane == lane)
    await connection.execute(delete(untold).where(mine, untold.c.offset.in_(offsets)))


async def recall(
    connection: AsyncConnection, group: str, lane: int, found: Known, now: datetime, *, rows: bool
) -> Sequence[Untold]:
    """Return what former sessions noted, here or elsewhere, and may come again; the rest is forgotten, all of it after a reset.

    `rows`: some events of the lane wait in rows.
    """
    mine = and_(untold.c.grp == group, untold.c.lane == lane)
    latest = select(untold).where(mine).order_by(untold.c.offset.desc()).limit(BOUND + 1)
    held = (await connection.execute(latest)).mappings().all()
    least = _least(held, found, rows=rows)
    over = or_(untold.c.offset < least, untold.c.noted_at <= (now - KEPT).timestamp())
    await connection.execute(delete(untold).where(mine, over))
    return [_event(row) for row in held if row["offset"] >= least and row["noted_at"] > (now - KEPT).timestamp()]


def _least(held: Sequence[RowMapping], found: Known, *, rows: bool) -> int:
    """Return from which offset on what was noted is of use."""
    if is_void(map(_event, held), found):
        return int(held[0]["offset"]) + 1
    beyond = int(held[BOUND]["offset"]) + 1 if len(held) > BOUND else 0
    return max(beyond, pending(found, rows=rows))


def _row(event: Untold) -> Values:
    fates = (name for name, decision in _PLAIN.items() if decision == event.decision)
    fate = event.decision.reason if isinstance(event.decision, Bury) else next(fates)
    told = {"next": event.known.next, "n": event.known.n}
    return {"offset": event.offset, "taken_at": event.time.isoformat(), "fate": fate, **told}


def _event(row: RowMapping) -> Untold:
    decision = _PLAIN.get(row["fate"]) or msgspec.convert({"reason": row["fate"]}, Bury)
    return Untold(row["offset"], datetime.fromisoformat(row["taken_at"]), decision, Known(row["next"], row["n"]))
