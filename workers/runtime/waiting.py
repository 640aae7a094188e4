"""Records that must wait in a lane, in order: rows that steps add, mark as released, and delete once that is true.

Two tables follow a lane's steps (correctness.md §4): `waiting` holds the records; `lines` says per key, and for all, where a
line begins and ends, so that nothing is counted. A line is never changed: its row is marked, and another one takes its place.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import asdict, replace
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Double,
    Executable,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    func,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.runtime.database import metadata
from workers.runtime.jobs import Step
from workers.runtime.lines import TOTAL, Doubt, Line, Lines, Row, cut
from workers.runtime.rows import Values, among, listed, lists, prepared

LIVE: Final = text("release_n IS NULL")
NAMED: Final = text("whose IS NOT NULL")
MARKED: Final = text("release_n IS NOT NULL")
READY: Final = text("ready AND release_n IS NULL")
SINGLE: Final = text("key <> '' AND release_n IS NULL")  # not TOTAL; and no other query shall be tempted by this index


def marked() -> Index:
    """Return the index by which a table's marked rows are undone and deleted; it holds no others."""
    return Index(None, "grp", "lane", "release_n", postgresql_where=MARKED, sqlite_where=MARKED)


def _stepped() -> tuple[Column[Any], ...]:
    return (Column("n", BigInteger, nullable=False), Column("release_n", BigInteger))


waiting: Final = Table(
    "waiting_row",
    metadata,
    Column("grp", Text, primary_key=True),
    Column("lane", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("record", LargeBinary, nullable=False),
    Column("since", Double, nullable=False),  # epoch seconds
    Column("whose", Text),  # the account, as the stop table knows it; null: the key says it
    *_stepped(),
    Index(None, "grp", "lane", "n"),
    Index(None, "grp", "lane", "since", postgresql_where=LIVE, sqlite_where=LIVE),
    Index(None, "grp", "lane", "whose", postgresql_where=NAMED, sqlite_where=NAMED),
    marked(),
)

lines: Final = Table(
    "waiting_line",
    metadata,
    Column("grp", Text, primary_key=True),
    Column("lane", Integer, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),  # TOTAL: of all keys together
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("rows", BigInteger, nullable=False),  # last - first + 1, for the index
    Column("ready", Boolean, nullable=False),
    Column("sure", BigInteger, nullable=False, server_default="0"),
    Column("doubts", Text, nullable=False, server_default="[]"),  # JSON
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("release_n", BigInteger),
    Index(None, "grp", "lane", "n"),
    Index(None, "grp", "lane", "rows", postgresql_where=SINGLE, sqlite_where=SINGLE),
    Index("ix_waiting_line_ready", "grp", "lane", "key", postgresql_where=READY, sqlite_where=READY),
    marked(),
)

STEPPED: Final = (waiting, lines)
_DOUBTS: Final = msgspec.json.Decoder(tuple[Doubt, ...])
_LINE: Final = tuple(lines.c[name] for name in Line.__struct_fields__)
_ROW: Final = (waiting.c.key, waiting.c.sequence, waiting.c.record, waiting.c.since)


async def count(connection: AsyncConnection, group: str) -> int:
    """Return how many rows of a group wait, over all its lanes."""
    mine = select(func.coalesce(func.sum(lines.c.rows), 0)).where(lines.c.grp == group, lines.c.key != TOTAL, LIVE)
    return int(await connection.scalar(mine) or 0)


def of_lane(table: Table) -> ColumnElement[bool]:
    """Return the condition that a row is of the lane bound by `lane_of`."""
    return and_(table.c.grp == bindparam("my_grp"), table.c.lane == bindparam("my_lane"))


def lane_of(step: Step) -> dict[str, Any]:
    """Return the parameters of `of_lane`."""
    return {"my_grp": step.group, "my_lane": step.index}


@prepared
def _reading(engine: str) -> Executable:
    return select(*_LINE).where(of_lane(lines), LIVE, among(engine, lines.c.key, "name"))


def _stored(row: Sequence[Any]) -> Line:
    return replace(Line(*row[:-1]), doubts=_DOUBTS.decode(row[-1]))


async def read(step: Step, keys: Collection[str]) -> list[Line]:
    """Return the lines of these keys, as far as they have any, and the lane's TOTAL."""
    found = await step.connection.execute(_reading(step.connection), lists(step.connection, name=[*keys, TOTAL]) | lane_of(step))
    return [_stored(row) for row in found]


@prepared
def _ready(_engine: str) -> Executable:
    return select(*_LINE).where(of_lane(lines), READY).order_by(lines.c.key).limit(bindparam("most", type_=Integer))


async def ready(step: Step, most: int) -> list[Line]:
    """Return lines whose rows may go, at most so many."""
    return [_stored(row) for row in await step.connection.execute(_ready(step.connection), {"most": most} | lane_of(step))]


@prepared
def _longest(_engine: str) -> Executable:
    ordered = select(*_LINE).where(of_lane(lines), SINGLE, lines.c.ready.is_(False)).order_by(lines.c.rows.desc())
    return ordered.limit(bindparam("most", type_=Integer))


async def longest(step: Step, most: int) -> list[Line]:
    """Return the longest lines of the lane that are not ready, at most so many."""
    return [_stored(row) for row in await step.connection.execute(_longest(step.connection), {"most": most} | lane_of(step))]


@prepared
def _oldest(_engine: str) -> Executable:
    since = bindparam("before", type_=Double)
    oldest = select(waiting.c.key, waiting.c.sequence).where(of_lane(waiting), LIVE, waiting.c.since <= since)
    return oldest.order_by(waiting.c.since).limit(bindparam("most", type_=Integer))


async def older(step: Step, before: float, most: int) -> dict[str, int]:
    """Return the keys of the oldest rows that have waited since then or longer, each with its highest such sequence."""
    values = {"before": before, "most": most} | lane_of(step)
    through: dict[str, int] = {}
    for key, sequence in await step.connection.execute(_oldest(step.connection), values):
        through[key] = max(through.get(key, 0), sequence)
    return through


@prepared
def _leaving(engine: str) -> Executable:
    plan = listed(engine, "key", "first", "last")
    # An outer join, both ends named and nothing sorted: else SQLite looks through all that waits, and PostgreSQL may.
    mine = waiting.c.sequence.between(cast(plan.c.first, BigInteger), cast(plan.c.last, BigInteger))
    return select(*_ROW).select_from(plan.outerjoin(waiting, and_(of_lane(waiting), waiting.c.key == plan.c.key, mine)))


async def leave(step: Step, state: Lines, plan: Mapping[str, int], most: int) -> list[Row]:
    """Let rows leave by plan (key → through which sequence), at most so many; return them marked, each key's oldest first."""
    ends = cut(plan, state, most)
    if not ends:
        return []
    leaving = await look(step, ends)
    await mark(step, ends)
    for key, (_, through) in ends.items():
        state.leave(key, through)
    return leaving


async def look(step: Step, ends: Mapping[str, tuple[int, int]]) -> list[Row]:
    """Return the rows of a plan (key → first and last sequence), each key's oldest first."""
    if not ends:
        return []
    first, last = zip(*ends.values(), strict=True)
    wanted = lists(step.connection, key=[*ends], first=[*map(str, first)], last=[*map(str, last)])
    found = await step.connection.execute(_leaving(step.connection), wanted | lane_of(step))
    return sorted((Row(*row) for row in found if row.key is not None), key=lambda row: (row.key, row.sequence))


_MARK: Final = (
    update(waiting)
    .where(of_lane(waiting), waiting.c.key == bindparam("my_key"))
    .where(waiting.c.sequence.between(bindparam("my_first"), bindparam("my_last")))
    .values(release_n=bindparam("my_n"))
)


async def mark(step: Step, plan: Mapping[str, tuple[int, int]]) -> None:
    """Mark the rows of a plan (key → first and last sequence) as gone with this step."""
    if plan:
        mine = lane_of(step) | {"my_n": step.n}
        ends = ({"my_key": key, "my_first": first, "my_last": last} for key, (first, last) in plan.items())
        await step.connection.execute(_MARK, [mine | each for each in ends])


async def add(step: Step, rows: Sequence[Row]) -> None:
    """Insert rows that begin to wait."""
    if rows:
        await step.connection.execute(waiting.insert(), [_values(step, row) for row in rows])


def _values(step: Step, row: Row) -> Values:
    mine = {"grp": step.group, "lane": step.index, "n": step.n}
    return mine | {"key": row.key, "sequence": row.sequence, "record": row.record, "since": row.since, "whose": row.whose}


_REPLACE: Final = (
    update(lines).where(of_lane(lines), lines.c.key == bindparam("my_key"), LIVE).values(release_n=bindparam("my_n"))
)


async def keep(step: Step, state: Lines) -> None:
    """Write the lines that this step has changed; an empty one is only marked as gone."""
    changed = [state[key] for key in state.changed]
    if not changed:
        return
    mine = lane_of(step) | {"my_n": step.n}
    await step.connection.execute(_REPLACE, [mine | {"my_key": line.key} for line in changed])
    news = [_line(step, line) for line in changed if line.rows]
    if news:
        await step.connection.execute(lines.insert(), news)


def _line(step: Step, line: Line) -> Values:
    mine = {"grp": step.group, "lane": step.index, "n": step.n}
    return mine | asdict(line) | {"rows": line.rows, "doubts": msgspec.json.encode(line.doubts).decode()}


class Broom:
    """Deletes what was marked, in the step after; whatever a crash leaves there is deleted when the lane opens again."""

    def __init__(self, tables: Collection[Table]) -> None:
        self._deletes = [
            delete(table).where(of_lane(table), table.c.release_n < bindparam("my_n"))
            for table in tables
            if "release_n" in table.c
        ]
        self._marked: dict[int, int] = {}  # lane → the last step that marked rows
        self._swept: dict[int, int] = {}  # lane → the last step that deleted them, if it stands

    def marked(self, step: Step) -> None:
        """Note that a step marks rows."""
        self._marked[step.index] = step.n

    async def sweep(self, step: Step) -> bool:
        """Delete what an earlier step has marked, and say whether; where the step is undone, the next one tries again."""
        since = self._marked.get(step.index)
        if since is None or step.n < since:
            return False
        if since < self._swept.get(step.index, 0) < step.n:
            del self._marked[step.index]
            return False
        self._swept[step.index] = step.n
        for statement in self._deletes:
            await step.connection.execute(statement, lane_of(step) | {"my_n": step.n})
        return True
