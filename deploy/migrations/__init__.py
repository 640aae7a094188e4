"""The store's tables over the versions of ringhook: `upgrade` brings a store up, `behind` says whether one needs it."""

from typing import Final

from sqlalchemy import Connection, column, inspect, select, table

from workers.runtime.database import absent, connect

HEAD: Final = "0030"  # the last migration under `versions/`
_OURS: Final = "installation"  # a table that was there from the first
_VERSION: Final = table("alembic_version", column("version_num"))


async def upgrade(url: str) -> None:
    """Bring the store at `url` to this version's tables; on one that is there already nothing happens.

    The whole upgrade is one transaction, on SQLite too. StoreUnavailable: the store is not there, or others hold its tables.
    """
    if not await behind(url):
        return
    from deploy.migrations import scripts  # noqa: PLC0415 - Alembic takes 8 MB, and a store that is there needs none of it

    async with connect(url) as database, database.begin() as connection:
        await connection.run_sync(scripts.upgrade)


async def behind(url: str) -> bool:
    """Say whether the store lacks migrations of this version."""
    return await version(url) != HEAD


def unknown(found: str) -> bool:
    """Say whether a store stands at a migration that this version does not have."""
    return found not in {f"{number:04}" for number in range(1, int(HEAD) + 1)}


async def version(url: str) -> str | None:
    """Return the migration that the store stands at, None where it has no tables yet.

    No migration is called so where somebody altered the note of it: "" for tables without one, "0001 and 0002" for several.
    A store that is a file is not made by being asked.
    """
    if absent(url):
        return None
    async with connect(url) as database, database.begin() as connection:
        return await connection.run_sync(_current)


def _current(connection: Connection) -> str | None:
    there = inspect(connection)
    found = connection.scalars(select(_VERSION.c.version_num)).all() if there.has_table(_VERSION.name) else ()
    return " and ".join(sorted(found)) if found or there.has_table(_OURS) else None
