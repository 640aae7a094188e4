"""What a store's failure means: another try, an unknown end, or the end of this process. Drivers' errors stop here."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar, Final

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from schemas.errors import RinghookError, Unavailable
from schemas.findings.reach import obstacle
from workers.runtime.supervise import Fatal


class StoreUnavailable(Unavailable):
    """The store did not answer in time or asked for another try; nothing was written."""

    plight: ClassVar[str] = "the store (RINGHOOK_STORE_URL) does not answer as it should"


class StoreRefused(StoreUnavailable):
    """The store does not let us in; while it runs that may be a password on its way, at the start it is a mistake."""

    plight: ClassVar[str] = "the store (RINGHOOK_STORE_URL) does not let us in"


class OutcomeUnknown(StoreUnavailable):
    """The store's commit did not answer: what was written may stand."""


class StoreBroken(RinghookError, Fatal):
    """The store's file cannot be read or written; this process must end (a retried fsync lies)."""


# https://www.sqlite.org/rescode.html: I/O error, corrupt, cannot open, read-only, not a database
_BROKEN: Final = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOTADB,
}
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}  # of those, what no disk and no permission mends
# busy, locked, no memory, interrupted, disk full, locking protocol
_AGAIN: Final = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_PROTOCOL,
}
# https://www.postgresql.org/docs/current/errcodes-appendix.html: connection, rollback (deadlock, serialization), resources, lock
# not available, operator intervention (also statement_timeout), system error; read-only after a failover; idle transaction ended
_AGAIN_CLASSES: Final = ("08", "40", "53", "55P03", "57", "58", "25006", "25P03", "25P04")

# what an operator can act on, of those
_SAYS: Final = {
    "57P03": "PostgreSQL is starting up, or does not let anybody in just now",
    "53300": "PostgreSQL has no connection left for us: raise max_connections, or run fewer copies",
    "25006": "PostgreSQL is read-only, as a standby is: RINGHOOK_STORE_URL must lead to the primary",
}

# invalid authorization, no such database, privileges lacking: words of ours, since the server's may name users and hosts
_REFUSED: Final = {
    "28": "PostgreSQL refuses the user or password of RINGHOOK_STORE_URL",
    "3D": "PostgreSQL has no database of the name in RINGHOOK_STORE_URL: create it (createdb)",
    "42501": "PostgreSQL does not let the user of RINGHOOK_STORE_URL do this: what `ringhook grants` prints gives each role's "
    "user its rights, and `ringhook migrate` is for the tables' owner",
}


def translated(error: BaseException, place: str = "the store") -> RinghookError | None:
    """Return what this error of the store at `place` means for us, or None if it is not its trouble (a bug, or ours already)."""
    if isinstance(error, RinghookError):
        return None
    if isinstance(error, PoolTimeout | TimeoutError):
        return StoreUnavailable(f"{place} did not answer in time")
    if isinstance(error, OSError):
        return StoreUnavailable(f"{place} cannot be reached: {obstacle(error)}")
    if isinstance(error, DBAPIError):
        return _driver(error.orig, place, lost=error.connection_invalidated)
    return _driver(error, place, lost=False)


@contextmanager
def translating(place: str) -> Iterator[None]:
    """Let the store's failures leave the block as ours, and everything else as it is."""
    try:
        yield
    except Exception as error:
        fault = translated(error, place)
        if fault is None:
            raise
        raise fault from error


def _driver(error: BaseException | None, place: str, *, lost: bool) -> RinghookError | None:
    if isinstance(error, sqlite3.Error):
        return _sqlite(error, place)
    state = getattr(error, "sqlstate", None) or ""
    if refused := next((words for start, words in _REFUSED.items() if state.startswith(start)), None):
        return StoreRefused(f"{refused} ({state})")
    cause = getattr(error, "__cause__", None)
    if type(cause).__name__ == "ClientConfigurationError":  # asyncpg's own; imported only where PostgreSQL is in use
        return StoreRefused(f"RINGHOOK_STORE_URL cannot be used: {cause}")
    if lost or state.startswith(_AGAIN_CLASSES):
        return StoreUnavailable(f"{_SAYS.get(state, 'the store asked for another try')} ({state or 'connection lost'})")
    return None


def _sqlite(error: sqlite3.Error, place: str) -> RinghookError | None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte is the primary code
    if code in _BROKEN:
        remedy = "restore it from a backup" if code in _DAMAGED else "see that its disk and folder can be read and written"
        return StoreBroken(f"{place} failed: {error}; {remedy}, then start again")
    if code in _AGAIN:
        return StoreUnavailable(f"the store asked for another try: {error}")
    return None
