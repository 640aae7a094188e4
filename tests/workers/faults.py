"""Striking a member at the k-th of the points that it passes: before and after each await on its store."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from workers.bus.contract import Revoked, Unknown
from workers.runtime.database import Database, OutcomeUnknown, StoreUnavailable

Point = Callable[[str], Awaitable[None]]


class Killed(BaseException):
    """The process ends here: nothing after this line runs."""


class Watched:
    """A database that passes a point before and after each of its awaits."""

    def __init__(self, database: Database, point: Point) -> None:
        self._database, self._point = database, point

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Any]:
        await self._point("store.begin")
        async with self._database.begin() as connection:
            yield WatchedConnection(connection, self._point)
            await self._point("store.commit.before")
        await self._point("store.commit.after")

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Any]:
        await self._point("store.read")
        async with self._database.read() as connection:
            yield connection


class WatchedConnection:
    def __init__(self, connection: AsyncConnection, point: Point) -> None:
        self._connection, self._point, self.dialect = connection, point, connection.dialect

    async def execute(self, *statement: Any) -> object:  # noqa: ANN401 - whatever SQLAlchemy takes
        await self._point("store.execute")
        return await self._connection.execute(*statement)

    async def scalars(self, *statement: Any) -> object:  # noqa: ANN401 - whatever SQLAlchemy takes
        await self._point("store.execute")
        return await self._connection.scalars(*statement)


class Strike:
    """Does something at the k-th point of a member, once."""

    def __init__(self, at: int, deed: Callable[[str], Awaitable[None]]) -> None:
        self.at, self.deed, self.passed = at, deed, 0

    async def __call__(self, name: str) -> None:
        self.passed += 1
        if self.passed == self.at:
            await self.deed(name)


async def calm(_name: str) -> None:
    return


async def kill(_name: str) -> None:
    raise Killed


async def fail(name: str) -> None:
    """What each place answers when it fails."""
    if name == "store.commit.after":
        raise OutcomeUnknown
    if name.startswith("store"):
        raise StoreUnavailable
    raise Unknown if name == "commit.after" else Revoked


def outside(point: str) -> bool:
    """Say whether no transaction is open there: an open one holds the lane's row, and who wants it waits."""
    return not point.startswith("store.e") and point != "store.commit.before"
