"""Statements that both engines understand: insert once, upsert, compare and swap, any of many values."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, FromClause, Table, Text, and_, bindparam, column, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

Values = Mapping[str, Any]  # column name → value


def insert(connection: AsyncConnection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Return the engine's own INSERT, which knows `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


async def insert_ignore(connection: AsyncConnection, table: Table, rows: Sequence[Values]) -> None:
    """Insert the rows whose natural key is not there yet; leave the others as they are. All rows name the same columns."""
    if rows:
        await connection.execute(insert(connection, table).on_conflict_do_nothing(), rows)


async def insert_once(connection: AsyncConnection, table: Table, row: Values) -> bool:
    """Insert one row by its natural key; say whether it is new."""
    key = [*table.primary_key.columns]
    result = await connection.execute(insert(connection, table).values(**row).on_conflict_do_nothing().returning(*key))
    return result.first() is not None


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
    where = and_(*(_equals(table.c[name], value) for name, value in expected.items()))
    return (await connection.execute(update(table).where(where).values(**changes))).rowcount == 1


def among(connection: AsyncConnection, wanted: ColumnElement[str], values: Collection[str]) -> ColumnElement[bool]:
    """Return the condition that a text column has one of these values; one statement text for any number of them."""
    if connection.dialect.name == "postgresql":
        return wanted == func.any(bindparam(None, [*values], type_=ARRAY(Text), unique=True))
    listed = func.json_each(bindparam(None, json.dumps([*values]), type_=Text, unique=True)).table_valued("value")
    return wanted.in_(select(column("value")).select_from(listed))


def _equals(wanted: ColumnElement[Any], value: object) -> ColumnElement[bool]:
    return wanted.is_(None) if value is None else wanted == value


def listed(connection: AsyncConnection, **columns: Sequence[str]) -> FromClause:
    """Return a table of these text columns, all of one length; one statement text for any number of rows."""
    if connection.dialect.name == "postgresql":
        arrays = [bindparam(None, [*values], type_=ARRAY(Text), unique=True) for values in columns.values()]
        return func.unnest(*arrays).table_valued(*columns, name="listed").render_derived()
    rows = bindparam(None, json.dumps([*zip(*columns.values(), strict=True)]), type_=Text, unique=True)
    each = func.json_each(rows).table_valued("value", name="listed")
    fields = [func.json_extract(each.c.value, f"$[{place}]").label(name) for place, name in enumerate(columns)]
    return select(*fields).subquery()
