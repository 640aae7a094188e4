"""Where the bus lives: its URL, its files, and the lock that keeps it to one process."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from schemas.errors import Misconfigured

GIB: Final = 2**30
_EXAMPLE: Final = "sqlite:///var/bus.db (relative), sqlite:////var/lib/ringhook/bus.db (absolute)"


class Place(msgspec.Struct, frozen=True):
    """The file of the bus, and how many bytes of records it may hold before publishes are refused."""

    path: Path
    most: int = 8 * GIB

    def beside(self, suffix: str) -> Path:
        """Return the path of a file that belongs to this one."""
        return self.path.with_name(self.path.name + suffix)


def parse(url: str) -> Place:
    """Return the place a URL names; `?bytes=…` sets the byte cap. Raises Misconfigured."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise Misconfigured(f"the bus's URL cannot be read: {_EXAMPLE} is meant") from None
    path = unquote(parts.path).removeprefix("/")
    if parts.scheme != "sqlite" or parts.netloc or not path or path.endswith("/") or "\0" in path:
        raise Misconfigured(f"the bus's URL names no file: {_EXAMPLE} is meant")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    try:
        most = int(options.pop("bytes", 8 * GIB))
    except ValueError as error:
        raise Misconfigured("bytes in the bus's URL is not a number of bytes") from error
    if options:
        raise Misconfigured("the bus's URL has an option that is not known; `bytes` is the only one")
    return Place(path=Path(path), most=most)


@contextmanager
def owned(path: Path, name: str = "RINGHOOK_BUS_URL") -> Iterator[None]:
    """Own the file that `name` leads to until the end of the block, or raise Misconfigured, which names the process that does."""
    handle = _opened(path, name)
    try:
        _lock(handle, path, name)
        yield
    finally:
        os.close(handle)  # the file stays: removing it would let two processes lock two files of one name


class FileGone(FileNotFoundError):
    """The path leads to no file any more, or to another: what is written goes nowhere."""


def anchored(path: Path) -> Callable[[], None]:
    """Return what raises FileGone once the path leads to another file than now, or to none: that one holds nothing."""
    known = _identity(path)

    def demand() -> None:
        if _identity(path) != known:
            raise FileGone(f"{path} was removed or replaced while it was in use")

    return demand


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _opened(path: Path, name: str) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # WAL and index inherit its mode: bodies are private
        return os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Misconfigured(f"{name}: {path.absolute()} cannot be made or opened: {error.strerror}") from error


def _lock(handle: int, path: Path, name: str) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
        raise Misconfigured(_taken(path.absolute(), owner, name)) from error
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    except OSError as error:
        raise Misconfigured(f"{name}: beside {path.absolute()} nothing can be written: {error.strerror}") from error


def _taken(path: Path, owner: str, name: str) -> str:
    stop = f"stop that one (kill {owner})" if owner.isdigit() else "stop that one"  # it may not have written its id yet
    return (
        f"{path} is in use by process {owner or 'unknown'}: {stop}, or run this one in a folder of its own "
        f"({name} names the file); "
        "several processes share a Kafka and a PostgreSQL"
    )
