"""A copy of the SQLite store while others write to it: one moment of it, whole or not there. It says that it is a copy."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from schemas.errors import Misconfigured
from workers.runtime import setback

PATIENCE: Final = 30.0  # seconds to wait for whoever holds the file
_MARK: Final = "INSERT OR REPLACE INTO installation (name, value) VALUES (?, ?)"


def copy(source: Path, target: Path) -> int:
    """Write the store as it is at one moment to a new file, readable by its owner alone; return its size in bytes.

    Writers go on meanwhile. Misconfigured: the source is no store, or the target is there or cannot be written.
    """
    new = target.with_name(f"{target.name}.new")
    try:
        new.unlink(missing_ok=True)  # of one that was killed
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        _copy(source, new)
        _settle(new)
        os.link(new, target)  # unlike a rename it replaces nothing
        _settle(target.parent)
        return target.stat().st_size
    except FileExistsError as error:
        raise Misconfigured(f"{target} is there already: nothing was written. Name another folder") from error
    except OSError as error:
        raise Misconfigured(f"{target} cannot be written: {error.strerror}") from error
    except sqlite3.Error as error:
        raise Misconfigured(f"{source} cannot be copied: {error}") from error
    finally:
        new.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """Let SQLite write all that one reader sees; an empty file is what it may write into. Who starts on it will know."""
    with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True, timeout=PATIENCE)) as link:
        link.isolation_level = None
        link.execute("VACUUM INTO ?", (str(target),))
    with closing(sqlite3.connect(target)) as copied:
        with copied:
            copied.execute(_MARK, (setback.NAME, setback.COPIED))
        (verdict,) = copied.execute("PRAGMA quick_check").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(f"the copy is not whole ({verdict})")


def _settle(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
