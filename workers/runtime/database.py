"""The store's engine: SQLite in one file, or PostgreSQL, behind three doors: `begin` and `once` to write, `read` to read.

Portable statements stand in `rows.py`, leases in `lease.py`, what a failure means in `storefault.py`. Owners declare their
tables on `metadata`.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from sqlalchemy import MetaData, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.util import await_only

from schemas.errors import Misconfigured
from schemas.hosts import is_host
from workers.bus.sqlite.place import FileGone, anchored
from workers.runtime import sqliteconnection
from workers.runtime.storefault import OutcomeUnknown, StoreBroken, StoreUnavailable, translated, translating

__all__ = ["Database", "OutcomeUnknown", "StoreBroken", "StoreUnavailable", "connect", "metadata"]

metadata: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

PATIENCE: Final = 5.0  # seconds to wait for a connection, or for the turn to write
STATEMENT: Final = 10.0  # seconds a statement may take; an idle transaction is ended by the server after as long
READERS: Final = 4
HIGHEST_PORT: Final = 65_535
_EXAMPLE: Final = "sqlite:///var/store.db (relative), sqlite:////var/lib/ringhook/store.db (absolute)"


class Database:
    """One store; its writers queue fairly, its readers wait for nobody."""

    def __init__(
        self,
        writer: AsyncEngine,
        reader: AsyncEngine,
        turn: asyncio.Lock | None = None,
        *,
        place: str = "the store",
        anchor: Callable[[], None] = lambda: None,
    ) -> None:
        self._writer, self._reader, self._turn, self._anchor = writer, reader, turn, anchor
        self._place = place  # as an operator reads it where it does not answer

    def __repr__(self) -> str:
        return f"Database({self.dialect})"

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        return self._writer.dialect.name

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Open a transaction that commits when the block ends and rolls back when it raises.

        StoreUnavailable: nothing was written, another try may work. OutcomeUnknown: the commit itself did not answer.
        StoreBroken: the file is beyond this process.
        """
        committing = False
        try:
            async with self._queued(), self._writer.connect() as connection:
                transaction = await connection.begin()
                yield connection
                committing = True
                await transaction.commit()
                self._anchor()
        except FileGone as error:
            raise StoreBroken(f"{self._place}: {error}; nothing that is written there is kept") from error
        except Exception as error:
            fault = translated(error, self._place)
            if committing and not isinstance(fault, StoreBroken):
                raise OutcomeUnknown(str(fault or "")) from error
            if fault is None:
                raise
            raise fault from error

    @asynccontextmanager
    async def once(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection for one statement that writes, a transaction of its own: PostgreSQL is spared BEGIN and COMMIT.

        Raises as `begin` does; OutcomeUnknown wherever the statement did not answer, since it commits by itself.
        """
        if self._turn is not None:
            async with self.begin() as connection:
                yield connection
            return
        asking = False
        try:
            async with self._reader.connect() as connection:
                asking = True
                yield connection
        except Exception as error:
            fault = translated(error, self._place)
            if fault is None:
                raise
            raise (OutcomeUnknown(str(fault)) if asking else fault) from error

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Open a connection for reading: on SQLite one snapshot that waits for no writer; on PostgreSQL one a statement."""
        with translating(self._place):
            async with self._reader.connect() as connection:
                yield connection

    async def create_all(self) -> None:
        """Create every declared table that is missing; for tests. Installations use `deploy.migrations`."""
        async with self.begin() as connection:
            await connection.run_sync(metadata.create_all)

    async def close(self) -> None:
        """Close every connection."""
        await self._writer.dispose()
        if self._reader is not self._writer:
            await self._reader.dispose()

    @asynccontextmanager
    async def _queued(self) -> AsyncIterator[None]:
        if self._turn is None:
            yield
            return
        async with asyncio.timeout(PATIENCE):
            await self._turn.acquire()
        try:
            yield
        finally:
            self._turn.release()


@asynccontextmanager
async def connect(url: str, *, connections: int = 8) -> AsyncIterator[Database]:
    """Open the store at `sqlite:///relative.db`, `sqlite:////absolute.db` or `postgresql://user:pw@host:port/db?…`.

    Nothing is asked of PostgreSQL yet: one that is down is met by the first statement. Raises Misconfigured for another URL.
    """
    database = _open(url, connections)
    try:
        yield database
    finally:
        await database.close()


def address(url: str) -> URL:
    """Return the parts of a store's URL, or raise Misconfigured in words that show nothing of it."""
    try:
        parsed = make_url(url)
    except Exception as error:
        raise Misconfigured("the store's URL cannot be read: sqlite:///path or postgresql://… is meant") from error
    if parsed.drivername not in ("sqlite", "postgresql", "postgres"):
        raise Misconfigured("the store's URL is neither sqlite:///path nor postgresql://…")
    if parsed.drivername == "sqlite":
        _demand_file(parsed)
    host = unquote(parsed.host or "")
    if host and not host.startswith("/") and not is_host(host):  # that of a socket is its folder
        raise Misconfigured("the host in the store's URL is no name of a host")
    if not 0 < (5432 if parsed.port is None else parsed.port) <= HIGHEST_PORT:
        raise Misconfigured(f"the port in the store's URL is not between 1 and {HIGHEST_PORT}")
    return parsed


def absent(url: str) -> Path | None:
    """Return where the store's file would be, as long as there is none; None for PostgreSQL, of which nothing is asked."""
    parsed = address(url)
    if parsed.drivername != "sqlite":
        return None
    path = Path(str(parsed.database)).absolute()
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return path
    except OSError:  # perhaps it is there: to open it says what is wrong
        return None
    return None


def _demand_file(url: URL) -> None:
    name = url.database or ""
    if url.host is not None or not name or name.endswith("/") or "\0" in name:  # of sqlite://var/name.db, var is a host
        raise Misconfigured(f"the store's URL names no file: {_EXAMPLE} is meant")
    if url.query:
        raise Misconfigured("the store's URL has an option, and SQLite's has none")


def _open(url: str, connections: int) -> Database:
    parsed = address(url)
    if parsed.drivername == "sqlite":
        return _open_sqlite(parsed)
    engine = _postgres_engine(url, connections)
    reader = engine.execution_options(isolation_level="AUTOCOMMIT")  # BEGIN and ROLLBACK would bring nothing
    return Database(engine, reader, place=_place(parsed))


def _place(url: URL) -> str:
    """Return where the URL leads, as an operator looks for it; nothing of user and password."""
    at = f" at {url.host}:{url.port or 5432}" if url.host else ""
    return f"PostgreSQL{at} (RINGHOOK_STORE_URL)"


def _open_sqlite(url: URL) -> Database:
    path = Path(str(url.database))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise Misconfigured(f"RINGHOOK_STORE_URL: {path.absolute()} cannot be made or opened: {error.strerror}") from error
    writer, reader = _sqlite_engine(url, "BEGIN IMMEDIATE", 1), _sqlite_engine(url, "BEGIN", READERS)
    place = f"{path.absolute()} (RINGHOOK_STORE_URL)"
    return Database(writer, reader, asyncio.Lock(), place=place, anchor=anchored(path))


def _sqlite_engine(url: URL, begin: str, size: int) -> AsyncEngine:
    engine = create_async_engine(
        url.set(drivername="sqlite+aiosqlite"),
        connect_args={
            "isolation_level": None,
            "async_creator_fn": sqliteconnection.connect,
        },  # the driver's own BEGIN is deferred and fails late; ours is said below
        pool_size=size,
        max_overflow=0,
        pool_timeout=PATIENCE,
        hide_parameters=True,
    )
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", lambda connection: connection.exec_driver_sql(begin))
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 - SQLAlchemy's adapted driver connection has no type
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout = {int(PATIENCE * 1000)}",
        "synchronous = FULL",  # a commit is on the disk, or it is none
        "foreign_keys = ON",
        "journal_size_limit = 67108864",
        "secure_delete = ON",  # what is forgotten is not left in the file's free pages
    ):
        cursor.execute(f"PRAGMA {pragma}")
    _keep_wal(cursor)
    cursor.close()


def _keep_wal(cursor: Any) -> None:  # noqa: ANN401 - as above
    """Set the journal's mode; on a new file this fails at once, whatever the timeout, while another process does the same."""
    for pause in (0.01, 0.05, 0.1, 0.2, 0.5, None):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if pause is None:
                raise
            await_only(asyncio.sleep(pause))
        else:
            return


def _postgres_engine(url: str, connections: int) -> AsyncEngine:
    milliseconds = str(int(STATEMENT * 1000))
    return create_async_engine(
        "postgresql+asyncpg://",  # the real URL goes to the driver only, so that no engine can print its password
        connect_args={
            "dsn": url,
            "timeout": PATIENCE,
            "command_timeout": STATEMENT + 1,  # after the server's own, which tells why
            "server_settings": {
                "application_name": "ringhook",
                "statement_timeout": milliseconds,
                "idle_in_transaction_session_timeout": milliseconds,
                "synchronous_commit": "on",
                "jit": "off",
            },
        },
        pool_size=connections,
        max_overflow=0,
        pool_timeout=PATIENCE,
        pool_use_lifo=True,  # the connections in use stay few and keep their prepared statements
        hide_parameters=True,
    )
