"""The SQL of a ledger: its rows are held in one order (account, grant, attempt, each by key), and what changed is written.

One statement for all rows of a table, however many: under load a statement costs more than a row.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec.structs import asdict
from sqlalchemy import Boolean, ColumnElement, Executable, Table, bindparam, case, delete, or_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from linker import view
from linker.ledger import Ledger, changed
from linker.rows import ENDED, Account, Attempt, Grant
from linker.selects import columns, value_of
from linker.tables import accounts, attempts, grants
from workers.runtime import stops
from workers.runtime.rows import among, insert_ignore, lists, prepared
from workers.runtime.sealing import key_of

Value = TypeVar("Value", bound=msgspec.Struct)
NONE: Final = frozenset[str]()
TRIES: Final = 10  # an account's row may go between two looks, when it is forgotten


class Names(NamedTuple):
    """Which rows are to be held: besides the grants that are named, all of the accounts."""

    accounts: AbstractSet[str] = NONE
    fresh: AbstractSet[str] = NONE  # those of the accounts that may be new here
    grants: AbstractSet[str] = NONE
    attempts: AbstractSet[str] = NONE

    def __or__(self, other: "Names") -> "Names":
        """Return both."""
        return Names(*(mine | its for mine, its in zip(self, other, strict=True)))


async def hold(connection: AsyncConnection, names: Names) -> Ledger:
    """Hold rows until the transaction ends.

    The row of an account that may be new is made where it is not there, so that whoever names one is alone; any other that is not
    there was forgotten, and stays so.
    """
    known = await _made_accounts(connection, names)
    found = await _rows(connection, Grant, _GRANTS, names.grants | names.accounts)
    signed_in = {grant.attempt for grant in found if grant.attempt and grant.state not in ENDED}
    return Ledger(
        accounts=known,
        grants={grant.code_hash: grant for grant in found},
        attempts={one.attempt: one for one in await _rows(connection, Attempt, _ATTEMPTS, names.attempts | signed_in)},
    )


async def hold_accounts(connection: AsyncConnection, names: AbstractSet[str]) -> dict[str, Account]:
    """Hold those of these accounts that are there, in one order: two transactions never wait for each other."""
    return {account.account: account for account in await _rows(connection, Account, _ACCOUNTS, names)}


async def _made_accounts(connection: AsyncConnection, names: Names) -> dict[str, Account]:
    missing = names.fresh
    for _ in range(TRIES):
        fresh = [asdict(Account(account=name)) | {"behind": False} for name in sorted(missing)]
        await insert_ignore(connection, accounts, fresh)
        held = await hold_accounts(connection, names.accounts)
        missing = names.fresh - held.keys()
        if not missing:
            return held
    raise AssertionError("an account's row was made, and is not there")


async def _rows(
    connection: AsyncConnection, kind: type[Value], statement: Callable[[AsyncConnection], Executable], names: AbstractSet[str]
) -> list[Value]:
    if not names:
        return []
    rows = await connection.execute(statement(connection), lists(connection, name=[*names]))
    return [value_of(kind, row) for row in rows]


async def write(connection: AsyncConnection, before: Ledger, after: Ledger) -> None:
    """Write what changed."""
    await _update(connection, _ACCOUNT, {row.account: _account(row) for row in changed(before.accounts, after.accounts)})
    for statement, rows in (
        (_GRANT, {row.code_hash: columns_of(row) for row in changed(before.grants, after.grants)}),
        (_ATTEMPT, {row.attempt: columns_of(row) for row in changed(before.attempts, after.attempts)}),
    ):
        await _update(connection, statement, {key: row | {"keeps": key not in after.freed} for key, row in rows.items()})
    if after.unwelcome:
        await connection.execute(delete(accounts).where(accounts.c.account.in_(after.unwelcome)))


async def heed(connection: AsyncConnection, namespace: str, ledger: Ledger) -> None:
    """Stop or free what is sent for accounts, as they stand now, in the transaction that made it so."""
    gone = {name: now for name, now in ledger.heard.items() if ledger.accounts[name].state == "removed"}
    linked = {name: serving.received_at for name in ledger.heard if (serving := view.serving(ledger.of(name)))}
    came = {name: at for name, at in (linked | ledger.back).items() if name not in gone}
    await stops.free(connection, {stops.fingerprint(namespace, name): at for name, at in came.items()})
    for name, now in sorted(gone.items()):
        await stops.stop(connection, stops.fingerprint(namespace, name), "removed", now)


async def _update(connection: AsyncConnection, statement: Executable, rows: Mapping[str, Mapping[str, Any]]) -> None:
    if rows:
        await connection.execute(statement, [{**row, "was": key} for key, row in rows.items()])


def _account(account: Account) -> dict[str, Any]:
    return asdict(account) | {"behind": account.version > account.announced}


def columns_of(value: Grant | Attempt) -> dict[str, Any]:
    """Return a grant or an attempt as the row that holds it."""
    row = asdict(value) | {"marks": msgspec.json.encode(value.marks).decode()}
    if isinstance(value, Attempt):
        return row
    sealed = value.access or value.refresh
    return row | {"sealed_with": key_of(sealed) if sealed else None}


def _held(engine: str, kind: type[msgspec.Struct], table: Table, *keys: ColumnElement[str]) -> Executable:
    (key,) = table.primary_key.columns
    mine = or_(*(among(engine, column, "name") for column in keys))
    return columns(kind, table).where(mine).order_by(key).with_for_update()


@prepared
def _ACCOUNTS(engine: str) -> Executable:  # noqa: N802 - a statement
    return _held(engine, Account, accounts, accounts.c.account)


@prepared
def _GRANTS(engine: str) -> Executable:  # noqa: N802 - one list for both columns: no account id is a code's hash
    return _held(engine, Grant, grants, grants.c.code_hash, grants.c.account)


@prepared
def _ATTEMPTS(engine: str) -> Executable:  # noqa: N802 - a statement
    return _held(engine, Attempt, attempts, attempts.c.attempt)


def _written(table: Table) -> Executable:
    """Return the UPDATE of a row that is held, and whose lease goes back unless it is kept."""
    (key,) = table.primary_key.columns
    keeps = bindparam("keeps", type_=Boolean)
    leases = {name: case((keeps, table.c[name])) for name in ("lease_owner", "lease_until")}
    return update(table).where(key == bindparam("was")).values(leases)


_GRANT: Final = _written(grants)
_ATTEMPT: Final = _written(attempts)
_ACCOUNT: Final = update(accounts).where(accounts.c.account == bindparam("was"))
