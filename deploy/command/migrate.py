"""`ringhook migrate`: brings the store's tables to this version."""

import asyncio
from pathlib import Path

import click

from deploy import migrations, roles


@click.command()
@click.option("--directory", "-C", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".")
def migrate(directory: Path) -> None:
    """Create or change the store's tables. `ringhook up` does it by itself; before new versions of the roles run it once."""
    url = roles.configured("dispatch", directory).common.store_url
    asyncio.run(migrations.upgrade(url))
    click.echo("The store's tables are up to date.")
