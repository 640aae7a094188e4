"""Leases on rows: whoever holds one may act outside for a while, and knows by its own clock when that ends.

Rows carry `lease_owner` and `lease_until`, written by the store's clock. Act only while `covers` says so (correctness.md §7).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Double, Executable, FromClause, Row, Table, bindparam, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from workers.runtime.clock import steady


class store_time(FunctionElement[float]):  # noqa: N801 - a SQL function is spelt as one
    """The store's clock now, in epoch seconds: the same for every process, whatever their own clocks say."""

    type = Double()
    inherit_cache = True
    name = "store_time"


@compiles(store_time, "postgresql")
def _postgres_time(_element: FromClause, _compiler: SQLCompiler, **_: Any) -> str:  # noqa: ANN401 - SQLAlchemy's hook
    return "extract(epoch from clock_timestamp())::double precision"


@compiles(store_time, "sqlite")
def _sqlite_time(_element: FromClause, _compiler: SQLCompiler, **_: Any) -> str:  # noqa: ANN401 - SQLAlchemy's hook
    return "((julianday('now') - 2440587.5) * 86400.0)"


class Lease(msgspec.Struct, frozen=True):
    """Rows held until `ends`, in seconds of `steady()`, counted from before they were asked for."""

    owner: str
    ends: float
    rows: Sequence[Row[Any]]

    def covers(self, seconds: float, at: float) -> bool:
        """Say whether an act that begins at `at` (of `steady()`) and takes at most `seconds` ends within the lease."""
        return at + seconds < self.ends


def taking(
    table: Table,
    where: ColumnElement[bool],
    *,
    order: ColumnElement[Any] | None = None,
    counts: ColumnElement[int] | None = None,
) -> Executable:
    """Return the statement that leases free rows, made once for `take`; `counts` is a column that rises by one in each."""
    key = tuple_(*table.primary_key.columns)
    free = or_(table.c.lease_until.is_(None), table.c.lease_until < store_time())
    wanted = select(*table.primary_key.columns).where(where, free).order_by(order).limit(bindparam("lease_limit"))
    until = store_time() + bindparam("lease_length", type_=Double)
    taken = update(table).where(key.in_(wanted.with_for_update(skip_locked=True)))
    taken = taken.values(lease_owner=bindparam("lease_holder"), lease_until=until)
    return (taken if counts is None else taken.values({counts: counts + 1})).returning(table)


async def take(
    connection: AsyncConnection, statement: Executable, bound: Mapping[str, Any], *, owner: str, length: float, limit: int = 1
) -> Lease:
    """Lease at most `limit` free rows for `length` seconds and return them; none where others hold them all.

    `bound` fills the parameters of the statement's condition.
    """
    since = steady()
    given = {**bound, "lease_holder": owner, "lease_length": length, "lease_limit": limit}
    return Lease(owner, since + length, (await connection.execute(statement, given)).all())


async def reclaim(connection: AsyncConnection, table: Table) -> int:
    """Free every row that somebody holds, and return how many: only for one who knows that all former owners are dead."""
    freed = update(table).where(table.c.lease_until.is_not(None)).values(lease_owner=None, lease_until=None)
    return (await connection.execute(freed)).rowcount
