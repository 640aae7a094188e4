"""A store that is older than the bus was restored from a backup. Whoever sees it writes it down; owners mend what is theirs.

A lane's row holds the last step that the store knows to be true, and the next step writes it before the bus can hold that step:
so a note of the bus is at most one step ahead of it, unless the store was set back.

Lanes cannot see what made no step: tokens that were renewed. So a copy says by itself that it is one (`COPIED`).
"""

from typing import Final

import structlog
from sqlalchemy import ScalarSelect, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.runtime.database import Database
from workers.runtime.namespace import installation
from workers.runtime.rows import compare_and_swap, insert_once

log = structlog.get_logger()
NAME: Final = "set_back"
FOUND: Final = "found"
COPIED: Final = f"{FOUND}:copied"  # by the copy's own word: nobody has told it yet
MEANING: Final = (
    "the store is older than the bus, as a restored backup is: what the lost steps did stands on the bus, what they noted is "
    "gone. Accounts are announced again, their tokens renewed; `ringhook accounts list --at-risk` then names who must reconnect"
)
STANDING: Final[ScalarSelect[str]] = select(installation.c.value).where(installation.c.name == NAME).scalar_subquery()  # the mark


def is_set_back(held: int, known: int) -> bool:
    """Say whether the bus holds a step that this store cannot have lived through."""
    return held > known + 1


async def found(database: Database, group: str, lane: int, held: int, known: int) -> None:
    """Write down that the store was set back, and tell it where this lane proves it; what is being mended is begun again."""
    proven = is_set_back(held, known)
    async with database.begin() as connection:
        await _write(connection, FOUND, keeps="" if proven else COPIED)  # which is told by whoever mends it
    if proven:
        log.error("store.set_back", group=group, lane=lane, lost_steps=held - known, meaning=MEANING)


async def restored(database: Database) -> None:
    """Write down that the store came from a copy, as the copy itself may say: whoever mends it tells it and begins.

    Where that is not so, or nothing was lost, no harm is done: all is told once more, and tokens are renewed before their time.
    """
    async with database.begin() as connection:
        await _write(connection, COPIED)


async def _write(connection: AsyncConnection, value: str, keeps: str = "") -> None:
    """Write the mark, in place of any other but one that it keeps."""
    if not await insert_once(connection, installation, {"name": NAME, "value": value}):
        other = (installation.c.name == NAME) & (installation.c.value != keeps)
        await connection.execute(installation.update().where(other).values(value=value))


async def mark(connection: AsyncConnection) -> str | None:
    """Return how far the mending is; None where nothing is to be mended."""
    return await connection.scalar(select(installation.c.value).where(installation.c.name == NAME))


async def advance(connection: AsyncConnection, before: str, after: str | None) -> bool:
    """Note how far the mending is now (None: done); say whether nobody else was there first."""
    if after is not None:
        return await compare_and_swap(connection, installation, {"name": NAME, "value": before}, {"value": after})
    done = delete(installation).where(installation.c.name == NAME, installation.c.value == before)
    return (await connection.execute(done)).rowcount == 1
