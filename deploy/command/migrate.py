"""`ringhook migrate`: brings the store's tables to this version."""

import asyncio
from pathlib import Path

import click

from deploy import engines, roles
from deploy.command.directory import DIRECTORY
from deploy.settings.parts import Common
from schemas.errors import Misconfigured
from workers.runtime.storefault import StoreUnavailable


@click.command()
@DIRECTORY
def migrate(directory: Path) -> None:
    """Create or change the store's tables. `ringhook up` does it by itself; before new versions of the roles run it once."""
    common = roles.configured("migrate", directory).common
    asyncio.run(_migrate(common))
    click.echo("The store's tables are up to date.")


async def _migrate(common: Common) -> None:
    try:
        with engines.refusals():
            await engines.migrate(common)
    except StoreUnavailable as error:
        raise Misconfigured(f"{error}. Run `ringhook migrate` again once that is mended") from error
