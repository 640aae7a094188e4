"""Room on the disk: a ballast that is given up when it is full, and how much the file and the disk have left."""

import os
import resource
import shutil
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

BALLAST: Final = 64 * 2**20
LOG_MAY_GROW: Final = 32 * 2**20  # bytes; below it the log is not started over


class Room(msgspec.Struct, frozen=True):
    """Bytes: what records use, what is free inside the file, what is free on its disk."""

    used: int
    inside: int
    disk: int


def look(link: sqlite3.Connection, path: Path) -> Room:
    """Return the room there is."""
    (size,), (pages,), (free,) = (
        link.execute(f"pragma {name}").fetchone() for name in ("page_size", "page_count", "freelist_count")
    )
    return Room(used=(pages - free) * size, inside=free * size, disk=shutil.disk_usage(path.parent).free)


def enough(room: Room, *, ballast: bool) -> bool:
    """Say whether a disk that was full takes publishes again: the ballast is back, or as much is free inside the file."""
    return ballast or (room.inside >= BALLAST and room.disk >= BALLAST // 2)


def limit() -> int | None:
    """Return the bytes that a file of this process may have at most, None where nothing bounds them."""
    soft = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if soft == resource.RLIM_INFINITY else soft


def bounded() -> str:
    """Return what bounds the files of this process, to be told behind an error, or nothing."""
    most = limit()
    return "" if most is None else f"; a file of this process may have at most {most} bytes (ulimit -f, LimitFSIZE)"


def needs(folder: Path, most: int | None) -> str:
    """Return why a file could not grow, and what it needs; `most` is the limit on a file's size."""
    bound = "" if most is None else f", or a file would outgrow this process's limit of {most} bytes (ulimit -f, LimitFSIZE)"
    return f"the disk is full{bound}: {BALLAST // 2**20} MiB of room are needed in {folder}"


def over(room: Room, most: int) -> str:
    """Return why publishes are refused by the byte cap, or nothing."""
    return f"the bus holds {room.used} bytes, its cap is {most}: read what waits, or raise ?bytes=" if room.used > most else ""


def stow(path: Path) -> bool:
    """Reserve the ballast's bytes; say whether they are there."""
    with suppress(OSError):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if os.fstat(handle).st_size < BALLAST:
                _fill(handle)
        except OSError:
            release(path)
            raise
        finally:
            os.close(handle)
        return True
    return False


def _fill(handle: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, BALLAST)
        return
    for at in range(0, BALLAST, 2**20):
        os.pwrite(handle, bytes(2**20), at)


def release(path: Path) -> None:
    """Give the ballast's bytes back to the disk."""
    path.unlink(missing_ok=True)


def checkpoint(link: sqlite3.Connection, log: Path) -> None:
    """Move the log's pages into the file beside the writer; cut the log where it has grown, with little left to wait for."""
    link.execute("pragma wal_checkpoint(passive)").fetchall()
    if log.exists() and log.stat().st_size > LOG_MAY_GROW:
        link.execute("pragma wal_checkpoint(truncate)").fetchall()
