"""edge.noticed in, facts for the findings out: who called first, when, how often, and whether it proved to be Ring."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, Boolean, Column, Double, Table, Text, bindparam, select, update

from schemas.errors import UNREADABLE, Rejected
from schemas.findings.facts import Contact
from schemas.records import EdgeNoticed
from schemas.topics import EDGE_NOTICED
from workers.bus.contract import Held, Record
from workers.runtime.database import Database, metadata
from workers.runtime.jobs import Step
from workers.runtime.rows import insert_ignore

# Without n: a first contact is inserted once by its natural key, and what came before `last_at` is not counted again.
contacts: Final = Table(
    "contact",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("proven", Boolean, primary_key=True),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
    Column("count", BigInteger, nullable=False),  # of samples: at least so many calls
    Column("detail", Text, nullable=False),  # the latest one's, as JSON
)
_NOTICED: Final = msgspec.json.Decoder(EdgeNoticed)


class Seen(Contact, frozen=True):
    """A contact with its times, the least number of calls, and what the latest one looked like."""

    first_at: datetime
    last_at: datetime
    count: int
    detail: dict[str, str]


@dataclass(frozen=True)
class Notice:
    """Job: keeps one row per kind of contact."""

    name = "notice"
    topics = (EDGE_NOTICED.name,)
    stepped = ()

    async def __call__(
        self,
        batch: Sequence[Held],
        step: Step,
        now: datetime,  # noqa: ARG002 - the seam's shape
    ) -> Sequence[Sequence[Record] | Rejected]:
        """Keep what was noticed; publish nothing."""
        read = [_read(held) for held in batch]
        rows = _first(item for item in read if isinstance(item, EdgeNoticed))
        await insert_ignore(step.connection, contacts, rows)
        if met := [_again(item) for item in read if isinstance(item, EdgeNoticed)]:
            await step.connection.execute(_AGAIN, met)
        return [item if isinstance(item, Rejected) else () for item in read]

    async def due(self, step: Step, limit: int, now: datetime) -> Sequence[Record]:  # noqa: ARG002 - the seam's shape
        """Return nothing: nothing waits."""
        return ()


_AGAIN: Final = (
    update(contacts)
    .where(contacts.c.kind == bindparam("of"), contacts.c.proven == bindparam("held"), contacts.c.last_at < bindparam("at"))
    .values(last_at=bindparam("at"), count=contacts.c.count + 1, detail=bindparam("looked"))
)


async def first_contacts(database: Database) -> Sequence[Seen]:
    """Return every kind of contact that came at least once, the earliest first; raises StoreUnavailable."""
    async with database.read() as connection:
        return [
            Seen(kind, proven, _moment(first), _moment(last), count, msgspec.json.decode(detail))
            for kind, proven, first, last, count, detail in await connection.execute(
                select(contacts).order_by(contacts.c.first_at)
            )
        ]


def _read(held: Held) -> EdgeNoticed | Rejected:
    try:
        return _NOTICED.decode(held.value)
    except UNREADABLE:
        return Rejected("not a notice", reason="not_a_notice")


def _first(noticed: Iterable[EdgeNoticed]) -> list[dict[str, Any]]:
    """Return a row for each kind that may be new; its own update counts it."""
    rows: dict[tuple[str, bool], dict[str, Any]] = {}
    for item in noticed:
        at, detail = item.at.timestamp(), _looked(item)
        row = {"kind": item.kind, "proven": item.proven, "first_at": at, "last_at": 0.0, "count": 0, "detail": detail}
        rows.setdefault((item.kind, item.proven), row)
    return [rows[key] for key in sorted(rows)]


def _again(item: EdgeNoticed) -> dict[str, Any]:
    return {"of": item.kind, "held": item.proven, "at": item.at.timestamp(), "looked": _looked(item)}


def _looked(item: EdgeNoticed) -> str:
    return msgspec.json.encode(item.detail).decode()


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
