"""`ringhook restored`: says that the store in place came from a backup, so that what was lost is looked for at once."""

import asyncio
from pathlib import Path
from typing import Final

import click

from deploy import engines, migrations, roles
from deploy.command.directory import DIRECTORY
from deploy.settings.parts import Common
from schemas.errors import Misconfigured
from workers.runtime import setback
from workers.runtime.storefault import StoreUnavailable

NEXT: Final = """\
Noted: this store came from a backup, and its tables are of this version. Next:
  1. where each role has a PostgreSQL user of its own, run what `ringhook grants` prints;
  2. start ringhook, every role, and never beside the original: it renews all tokens, and Ring then refuses the original's.
     The log says `store.set_back`, then, mostly within a minute, `store.mended`; until then webhooks are held, and wait;
  3. some minutes later `ringhook accounts list --at-risk` names who must remove the app in the Ring app and connect it again;
  4. say `ringhook accounts forget ID` again of whom you had forgotten since the backup."""


@click.command()
@DIRECTORY
def restored(directory: Path) -> None:
    """Say that the store in place was restored. Run it after each restore, before the start; said in vain it does no harm."""
    asyncio.run(_note(roles.configured("restored", directory).common))
    click.echo(NEXT)


async def _note(common: Common) -> None:
    try:
        with engines.refusals():
            await _migrate(common)
            async with engines.open_store(common) as store:
                await setback.restored(store)
    except StoreUnavailable as error:
        raise Misconfigured(f"{error}. Run `ringhook restored` again once that is mended: nothing is noted yet") from error


async def _migrate(common: Common) -> None:
    """Bring a store that an older version made to this one; where there is none, nothing was restored."""
    if await migrations.version(common.store_url) is None:
        raise Misconfigured(f"{engines.missing(common)}: bring the copy back first, then run `ringhook restored` again")
    await engines.migrate(common)
