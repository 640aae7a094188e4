"""The migrations as Alembic runs and writes them; everybody else needs only `deploy.migrations`."""

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

LOCATION = "deploy:migrations"


def upgrade(connection: Connection) -> None:
    """Bring the tables to the last migration, in the transaction that is open."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(782642464)")  # two that start at once go one after the other
    command.upgrade(config(connection), "head")


def config(connection: Connection | None) -> Config:
    """Return Alembic's configuration for an open connection."""
    config = Config()
    config.set_main_option("script_location", LOCATION)
    config.attributes["connection"] = connection
    return config


def script() -> ScriptDirectory:
    """Return the migrations of this version."""
    return ScriptDirectory.from_config(config(None))
