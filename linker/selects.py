"""Rows as values. A statement asks for the columns of its value and for no others: what a role may not read it never asks for."""

from functools import cache
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Row, Select, Table, bindparam, select
from sqlalchemy.ext.asyncio import AsyncConnection

from linker.rows import Account, GrantStanding, Mark
from linker.tables import accounts, grants

Value = TypeVar("Value", bound=msgspec.Struct)
Standing = TypeVar("Standing", bound=GrantStanding)
_MARKS: Final = msgspec.json.Decoder(tuple[Mark, ...])


@cache
def columns(kind: type[msgspec.Struct], table: Table) -> Select[Any]:
    """Return the select of a value's columns, of every row."""
    return select(*(table.c[name] for name in kind.__struct_fields__))


def value_of(kind: type[Value], row: Row[Any]) -> Value:
    """Return the row as its value; the lease's columns are the store's own."""
    fields = {name: value for name, value in row._mapping.items() if name in kind.__struct_fields__}  # noqa: SLF001 - public, spelt so
    if "marks" in fields:
        fields["marks"] = _MARKS.decode(fields["marks"])
    return kind(**fields)


async def look_up(
    connection: AsyncConnection, kind: type[Value], table: Table, column: ColumnElement[Any], value: object
) -> Value | None:
    """Return the one row whose column has this value; held.py looks rows up to change them."""
    row = (await connection.execute(_one(kind, table, column), {"wanted": value})).first()
    return value_of(kind, row) if row else None


@cache
def _one(kind: type[msgspec.Struct], table: Table, column: ColumnElement[Any]) -> Select[Any]:
    """Return a look-up's statement, made once: making it costs more than running it."""
    return columns(kind, table).where(column == bindparam("wanted"))


async def grants_of(connection: AsyncConnection, kind: type[Standing], account: str) -> list[Standing]:
    """Return an account's grants, the newest first."""
    return [value_of(kind, row) for row in await connection.execute(_owned(kind), {"owner": account})]


@cache
def _owned(kind: type[msgspec.Struct]) -> Select[Any]:
    return columns(kind, grants).where(grants.c.account == bindparam("owner")).order_by(grants.c.generation.desc())


async def list_accounts(
    connection: AsyncConnection, kind: type[Standing], after: str, limit: int, *, at_risk: bool
) -> list[tuple[Account, Standing | None]]:
    """Return a page of the accounts that follow this id, each with the grant that decides how it stands."""
    wanted = columns(Account, accounts).where(accounts.c.account > after).order_by(accounts.c.account).limit(limit)
    if at_risk:
        wanted = wanted.where(accounts.c.risk.is_not(None))
    found = [value_of(Account, row) for row in await connection.execute(wanted)]
    owned = columns(kind, grants).where(grants.c.account.in_([account.account for account in found]))
    deciding = {(row.account, row.generation): value_of(kind, row) for row in await connection.execute(owned)}
    return [(account, deciding.get((account.account, account.generation))) for account in found]
