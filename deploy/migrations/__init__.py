"""The store's tables over the versions of ringhook: `upgrade` brings a store up, `behind` says whether one needs it."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from workers.runtime.database import connect

LOCATION = "deploy:migrations"


async def upgrade(url: str) -> None:
    """Bring the store at `url` to this version's tables; on one that is there already nothing happens.

    The whole upgrade is one transaction, on SQLite too. StoreUnavailable: the store is not there, or others hold its tables.
    """
    async with connect(url) as database, database.begin() as connection:
        await connection.run_sync(_upgrade)


async def behind(url: str) -> bool:
    """Say whether the store lacks migrations of this version."""
    async with connect(url) as database, database.begin() as connection:
        return await connection.run_sync(_current) != script().get_current_head()


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(782642464)")  # two that start at once go one after the other
    command.upgrade(config(connection), "head")


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def config(connection: Connection | None) -> Config:
    """Return Alembic's configuration for an open connection."""
    config = Config()
    config.set_main_option("script_location", LOCATION)
    config.attributes["connection"] = connection
    return config


def script() -> ScriptDirectory:
    """Return the migrations of this version."""
    return ScriptDirectory.from_config(config(None))
