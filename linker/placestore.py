"""Where the places are kept: in one row, which every linker changes under its lock, by the store's clock.

A linker that is alone keeps them itself, and asks no store.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from linker import places
from linker.places import ARRIVES, SECOND, Answered, Asked, Book
from linker.tables import budget
from workers.runtime.clock import steady
from workers.runtime.database import Database
from workers.runtime.lease import store_time
from workers.runtime.rows import insert_once

_held: Final = select(budget.c.book).where(budget.c.name == "ring").with_for_update().cte("held")
_LOOK: Final = select(_held.c.book, store_time().label("now"))  # of held rows: a time from before the lock were before the book's
_WRITE: Final = update(budget).where(budget.c.name == "ring").values(book=bindparam("book_now"))


class Reply(NamedTuple):
    """An answer, and the moments of `steady()` between which the store looked at its clock."""

    answered: Answered
    since: float
    until: float


class Alone:
    """The places of a linker beside which no other can live; it rests at first, for what a former one may have sent just now."""

    def __init__(self) -> None:
        self._book = Book(at=steady(), rest=ARRIVES + SECOND)

    async def ask(self, asked: Asked) -> Reply:
        """Tell and ask."""
        now = steady()
        self._book, answer = places.answered(self._book, asked, here=now, now=now)
        return Reply(answer, now, now)


@dataclass(frozen=True)
class PlaceStore:
    """The row of one installation."""

    database: Database

    async def ask(self, asked: Asked) -> Reply:
        """Tell and ask; once this returns it is committed. Raises StoreUnavailable."""
        async with self.database.begin() as connection:
            since = steady()
            before, now = await self._look(connection)
            until = steady()
            after, answer = places.answered(before, asked, here=since, now=now)
            await connection.execute(_WRITE, {"book_now": msgspec.json.encode(after).decode()})
        return Reply(answer, since, until)

    async def _look(self, connection: AsyncConnection) -> tuple[Book, float]:
        found = (await connection.execute(_LOOK)).first()
        if found is None:
            await insert_once(connection, budget, {"name": "ring", "book": msgspec.json.encode(Book()).decode()})
            found = (await connection.execute(_LOOK)).one()
        return msgspec.json.decode(found.book, type=Book), found.now
