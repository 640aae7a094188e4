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
from workers.runtime.database import Database
from workers.runtime.lease import steady, store_time
from workers.runtime.rows import insert_once

_LOOK: Final = select(budget.c.book).where(budget.c.name == "ring").with_for_update()
_NOW: Final = select(store_time())
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
            before = await self._book(connection)
            since = steady()
            now: float = (await connection.execute(_NOW)).scalar_one()  # after the lock, or it were a time before the book's
            until = steady()
            after, answer = places.answered(before, asked, here=since, now=now)
            await connection.execute(_WRITE, {"book_now": msgspec.json.encode(after).decode()})
        return Reply(answer, since, until)

    async def _book(self, connection: AsyncConnection) -> Book:
        found = (await connection.execute(_LOOK)).scalar()
        if found is None:
            await insert_once(connection, budget, {"name": "ring", "book": msgspec.json.encode(Book()).decode()})
            found = (await connection.execute(_LOOK)).scalar_one()
        return msgspec.json.decode(found, type=Book)
