"""Statements that both engines understand: insert once, upsert, compare and swap, any of many values.

Those of the hot path are built once per engine (`prepared`): building one costs more than running it.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import ARRAY, ColumnElement, Executable, FromClause, Table, Text, and_, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

Values = Mapping[str, Any]  # column name → value
Statement = TypeVar("Statement")
_ROWS = "listed_rows"  # SQLite takes all of a list's columns in one parameter


def insert(connection: AsyncConnection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Return the engine's own INSERT, which knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return into(connection.dialect.name, table)


def into(engine: str, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Return the same for an engine's name."""
    return postgresql.insert(table) if engine == "postgresql" else sqlite.insert(table)


def prepared(build: Callable[[str], Statement]) -> Callable[[AsyncConnection], Statement]:
    """Return what gives a connection its statement, built once per engine's name; what changes is bound when it runs."""
    built = cache(build)
    return lambda connection: built(connection.dialect.name)


async def insert_ignore(connection: AsyncConnection, table: Table, rows: Sequence[Values]) -> None:
    """Insert the rows whose natural key is not there yet; leave the others as they are. All rows name the same columns."""
    if rows:
        await connection.execute(_ignoring(connection.dialect.name, table), rows)


@cache
def _ignoring(engine: str, table: Table) -> Executable:
    return into(engine, table).on_conflict_do_nothing()


async def insert_once(connection: AsyncConnection, table: Table, row: Values) -> bool:
    """Insert one row by its natural key; say whether it is new."""
    result = await connection.execute(_once(connection.dialect.name, table), row)
    return result.first() is not None


@cache
def _once(engine: str, table: Table) -> Executable:
    return into(engine, table).on_conflict_do_nothing().returning(*table.primary_key.columns)


async def upsert(connection: AsyncConnection, table: Table, rows: Sequence[Values]) -> None:
    """Insert the rows; those whose primary key is there already get the new values. All rows name the same columns."""
    if not rows:
        return
    statement = insert(connection, table)
    key = {column.name for column in table.primary_key.columns}
    changes = {name: statement.excluded[name] for name in rows[0] if name not in key}
    await connection.execute(statement.on_conflict_do_update(index_elements=sorted(key), set_=changes), rows)


async def compare_and_swap(connection: AsyncConnection, table: Table, expected: Values, changes: Values) -> bool:
    """Change the one row that still has the expected values (its key and its version or state); say whether it was there."""
    there = tuple((name, value is not None) for name, value in expected.items())
    was = {f"was_{name}": value for name, value in expected.items() if value is not None}
    return (await connection.execute(_swapping(table, there), was | dict(changes))).rowcount == 1


@cache
def _swapping(table: Table, there: tuple[tuple[str, bool], ...]) -> Executable:
    """Return an UPDATE of the row in which these columns still hold what they held, or nothing; it changes what it is given."""
    held = (table.c[name] == bindparam(f"was_{name}") if full else table.c[name].is_(None) for name, full in there)
    return update(table).where(and_(*held))


def among(engine: str, wanted: ColumnElement[str], name: str) -> ColumnElement[bool]:
    """Return the condition that a text column has one of the values of a list of this name, bound by `lists`."""
    if engine == "postgresql":
        return wanted == func.any(bindparam(f"listed_{name}", type_=ARRAY(Text)))
    return wanted.in_(select(listed(engine, name).c[name]))


def listed(engine: str, *names: str) -> FromClause:
    """Return a table of text columns with these names, whose rows are bound by `lists` when the statement runs."""
    if engine == "postgresql":
        arrays = [bindparam(f"listed_{name}", type_=ARRAY(Text)) for name in names]
        return func.unnest(*arrays).table_valued(*names, name="listed").render_derived()
    each = func.json_each(bindparam(_ROWS, type_=Text)).table_valued("value", name="listed")
    fields = [func.json_extract(each.c.value, f"$[{place}]").label(name) for place, name in enumerate(names)]
    return select(*fields).subquery()


def lists(connection: AsyncConnection, **columns: Sequence[str]) -> dict[str, Any]:
    """Return the parameters that fill one `listed` or `among`: columns by name, all of one length."""
    if connection.dialect.name == "postgresql":
        return {f"listed_{name}": [*values] for name, values in columns.items()}
    return {_ROWS: json.dumps([*zip(*columns.values(), strict=True)])}
