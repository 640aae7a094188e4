"""`python -m deploy.migrations "what changed"`: writes the migration from the last version to the tables as they are declared."""

import asyncio
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic import command
from sqlalchemy import Connection

from deploy import migrations
from deploy.migrations import scripts
from workers.runtime.database import connect


async def draft(message: str) -> None:
    """Write a new file under `versions/`, to be read and mended by hand; `migrations.HEAD` then names it."""
    with TemporaryDirectory() as scratch:
        url = f"sqlite:///{Path(scratch)}/store.db"
        await migrations.upgrade(url)
        async with connect(url) as database, database.begin() as connection:
            await connection.run_sync(partial(_draft, message))


def _draft(message: str, connection: Connection) -> None:
    number = sum(1 for _ in scripts.script().walk_revisions()) + 1
    command.revision(scripts.config(connection), message, autogenerate=True, rev_id=f"{number:04}")


asyncio.run(draft(" ".join(sys.argv[1:])))
