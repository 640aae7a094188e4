"""A SQLite connection that gives its locks back when it closes, whatever was cut off in the middle.

sqlite3_close_v2 leaves a connection with a half-read statement open until that statement is collected, and with it the
transaction and the write lock: a cancelled task could keep everybody else from writing. So it is rolled back first.
"""

import asyncio
import sqlite3
from contextlib import suppress
from typing import Any

import aiosqlite


class Connection(aiosqlite.Connection):
    """aiosqlite's, rolled back before it is closed or stopped."""

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
    connection = Connection(lambda: sqlite3.connect(path, **options), iter_chunk_size=64)
    connection._thread.daemon = True  # noqa: SLF001 - as SQLAlchemy does for connections that it makes
    return connection
