"""Codes and sign-ins that ended go after a while: anybody may send codes, and a user sign in, as often as they like."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Delete, bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from linker.metrics import PRUNED
from linker.rows import ENDED
from linker.tables import attempts, ended_stranger, ended_unnamed, grants
from workers.runtime.database import Database

CHUNK: Final = 1_000  # rows of a kind that one transaction deletes: others write meanwhile
OFTEN: Final = timedelta(minutes=1)
SOON: Final = timedelta(seconds=0.05)
DAY: Final = 86_400.0
INTENT: Final = 2 * DAY  # a code's hash is kept longer than its record on the bus, so that it is not sent twice
KEPT: Final = 30 * DAY  # how something of ours ended can be looked up as long
MOST: Final = 100_000  # strangers' codes that were never sent: of a flood the last ones tell enough


@dataclass(frozen=True)
class Bygone:
    """A Sweep."""

    database: Database
    name: str = "linker.prune"

    async def __call__(self, now: datetime) -> timedelta:
        """Delete a chunk of each kind; come back soon where there was a whole one. Raises Unavailable: they stay."""
        async with self.database.begin() as connection:
            gone = [await _deleted(connection, statement, now.timestamp()) for statement in _STATEMENTS]
        PRUNED.inc(sum(gone))
        return SOON if CHUNK in gone else OFTEN


async def _deleted(connection: AsyncConnection, statement: Delete, now: float) -> int:
    bounds: dict[str, Any] = {"chunk": CHUNK, "intent": now - INTENT, "kept": now - KEPT, "most": MOST}
    return (await connection.execute(statement, bounds)).rowcount


def _grants(*where: ColumnElement[bool]) -> Delete:
    old = select(grants.c.code_hash).where(*where).limit(bindparam("chunk"))
    return delete(grants).where(grants.c.code_hash.in_(old))


def _attempts(state: str) -> Delete:
    old = select(attempts.c.attempt).where(attempts.c.state == state, attempts.c.until < bindparam("kept"))
    return delete(attempts).where(attempts.c.attempt.in_(old.limit(bindparam("chunk"))))


def _last_unsent() -> ColumnElement[float]:
    """Select since when the most recent of strangers' unsent codes came; nothing while there are no more."""
    unsent = select(grants.c.received_at).where(ended_stranger, grants.c.state == "expired")
    return unsent.order_by(grants.c.received_at.desc()).offset(bindparam("most")).limit(1).scalar_subquery()


_STATEMENTS: Final = (
    _grants(ended_stranger, grants.c.state == "expired", grants.c.received_at <= _last_unsent()),
    *(_grants(ended_stranger, grants.c.state == state, grants.c.received_at < bindparam("intent")) for state in sorted(ENDED)),
    _grants(ended_unnamed, grants.c.received_at < bindparam("kept")),
    *(_attempts(state) for state in sorted({*ENDED, "received"})),  # what follows another stays as it was received
)
