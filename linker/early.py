"""Removals that Ring told of, kept for codes of the account that `GET users/me` names only after that.

A row counts for an hour (`rows.EARLY`), and then goes. Accounts that are not here are made for the moment in which their
removals are written, so that a step which names one just then is waited for, or waits.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from msgspec.structs import asdict
from sqlalchemy import Executable, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from linker.rows import EARLY, Account, Early
from linker.tables import accounts, removals
from schemas.records import App
from workers.runtime.database import Database
from workers.runtime.rows import among, insert, insert_once, lists, prepared

OFTEN: Final = timedelta(minutes=5)


async def made(connection: AsyncConnection, names: Collection[str]) -> Sequence[str]:
    """Make those of these accounts that are not here, and return them: they go with `unmade` in the same transaction."""
    fresh = ((name, asdict(Account(account=name)) | {"behind": False}) for name in sorted(names))
    return [name for name, row in fresh if await insert_once(connection, accounts, row)]


async def unmade(connection: AsyncConnection, names: Sequence[str]) -> None:
    """Take accounts away that `made` made."""
    if names:
        await connection.execute(delete(accounts).where(accounts.c.account.in_(names)))


async def note(connection: AsyncConnection, account: str, app: App | None, removed_at: float, now: float) -> None:
    """Keep the latest removal by an app."""
    row = {"account": account, "app": app or "", "removed_at": removed_at, "told_at": now}
    fresh = insert(connection, removals).values(**row)
    later = removals.c.removed_at < fresh.excluded.removed_at
    await connection.execute(fresh.on_conflict_do_update(index_elements=["account", "app"], set_=row, where=later))


async def told(connection: AsyncConnection, names: Collection[str]) -> Mapping[str, Sequence[Early]]:
    """Return the removals that were told of these accounts."""
    if not names:
        return {}
    rows = await connection.execute(_TOLD(connection), lists(connection, name=[*names]))
    each = groupby(rows, lambda row: str(row.account))
    return {account: [Early(row.app, row.removed_at, row.told_at) for row in mine] for account, mine in each}


@prepared
def _TOLD(engine: str) -> Executable:  # noqa: N802 - a statement
    return select(removals).where(among(engine, removals.c.account, "name")).order_by(removals.c.account)


@dataclass(frozen=True)
class Passing:
    """A Sweep."""

    database: Database
    name: str = "linker.early"

    async def __call__(self, now: datetime) -> timedelta:
        """Drop the removals that count no more. Raises Unavailable: they stay."""
        async with self.database.begin() as connection:
            await connection.execute(delete(removals).where(removals.c.told_at < now.timestamp() - EARLY))
        return OFTEN
