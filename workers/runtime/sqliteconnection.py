"""A SQLite connection that asks its thread once a statement, and gives its locks back when it closes.

aiosqlite goes to the thread to make a cursor, to execute, to fetch and to close: four times a statement, and each costs more
than most statements. Here the thread executes and reads all rows in one go.

sqlite3_close_v2 leaves a connection with a half-read statement open until that statement is collected, and with it the
transaction and the write lock: a cancelled task could keep everybody else from writing. So it is rolled back first.
"""

import asyncio
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Self

import aiosqlite
from aiosqlite.context import Result


class Cursor(aiosqlite.Cursor):
    """aiosqlite's, whose rows are all here when `execute` returns: nothing is left to fetch or to close in the thread."""

    _rows: Iterable[sqlite3.Row] = ()

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> Self:
        """Execute a statement and read its rows."""
        self._rows = await self._execute(self._executed, sql, parameters or ())  # type: ignore[no-untyped-call] # aiosqlite has none
        return self

    def _executed(self, sql: str, parameters: Iterable[Any]) -> Iterable[sqlite3.Row]:
        return self._cursor.execute(sql, parameters).fetchall()  # type: ignore[arg-type] # as aiosqlite passes them on

    async def fetchall(self) -> Iterable[sqlite3.Row]:
        """Return the rows, once."""
        rows, self._rows = self._rows, ()
        return rows

    async def close(self) -> None:
        """Forget the rows; a statement that was read to its end holds nothing."""
        self._rows = ()


class Connection(aiosqlite.Connection):
    """aiosqlite's, rolled back before it is closed or stopped."""

    def cursor(self) -> Result[aiosqlite.Cursor]:
        """Return a cursor, to be awaited as aiosqlite's."""
        return Result(self._cursor())

    async def _cursor(self) -> Cursor:
        return Cursor(self, self._conn.cursor())

    async def close(self) -> None:
        """Roll back, then close."""
        self._undo_first()
        await super().close()

    def stop(self) -> asyncio.Future[Any] | None:
        """Roll back, close and end the thread, without waiting."""
        self._undo_first()
        return super().stop()

    def _undo_first(self) -> None:
        self._tx.put_nowait((None, self._undo))

    def _undo(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.rollback()


def connect(path: str, **options: Any) -> Connection:  # noqa: ANN401 - sqlite3.connect's own options
    """Return a connection to be awaited, as `aiosqlite.connect` does; its thread ends with the process."""
    options["check_same_thread"] = False  # cursors are made here, and used there
    connection = Connection(lambda: sqlite3.connect(path, **options), iter_chunk_size=64)
    connection._thread.daemon = True  # noqa: SLF001 - as SQLAlchemy does for connections that it makes
    return connection
