"""Reads in a thread of their own, each bounded in records and bytes, so that none keeps the log from starting over."""

import asyncio
import heapq
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from workers.bus.contract import BusBroken, BusUnavailable, Held
from workers.bus.sqlite import room
from workers.bus.sqlite.file import connection, coordinates, rowid, temporary
from workers.bus.sqlite.times import moment
from workers.bus.wire import unpack

BYTES: Final = 2**20  # of one topic in one read, beyond its first record: every lane may hold as much
PATIENCE: Final = 10.0  # seconds for one read

T = TypeVar("T")


class Span(msgspec.Struct, frozen=True):
    """A part of a log: offsets in [next, end) of one slot."""

    topic: str
    index: int
    slot: int
    next: int
    end: int


class Reader:
    """One connection and the thread that uses it."""

    def __init__(self, path: Path, name: str, broken: Callable[[BusBroken], None]) -> None:
        self._path, self._broken = path, broken
        self._link = connection(path)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    def beside(self, name: str) -> "Reader":
        """Return another reader of the same file, behind which nobody of this one waits."""
        return Reader(self._path, name, self._broken)

    async def run(self, read: Callable[[sqlite3.Connection], T], patience: float = PATIENCE) -> T:
        """Return what `read` makes of the connection; BusUnavailable after `patience` seconds, BusBroken where the file is."""
        try:
            async with asyncio.timeout(patience):
                return await asyncio.get_running_loop().run_in_executor(self._pool, read, self._link)
        except TimeoutError as error:
            raise BusUnavailable(f"the disk did not answer a read within {patience} s") from error
        except sqlite3.Error as error:
            if temporary(error):
                raise BusUnavailable(f"the bus file could not be read: {error}") from error
            broken = BusBroken(f"the bus file failed: {error!r}{room.bounded()}")
            self._broken(broken)
            raise broken from error

    async def close(self) -> None:
        """Wait for the read under way and close the connection."""
        await asyncio.to_thread(self._pool.shutdown)
        self._link.close()


def read(link: sqlite3.Connection, spans: Sequence[Span], limit: int) -> list[Held]:
    """Return the first `limit` records of the spans, in order of time, and of offset within each topic."""
    if len(spans) == 1:
        return list(_read(link, spans[0], limit))
    return merge([list(_read(link, span, limit)) for span in spans], limit)


def merge(batches: Sequence[Sequence[Held]], limit: int) -> list[Held]:
    """Return the first `limit` records in order of time, and of offset within each batch."""
    return list(islice(heapq.merge(*batches, key=lambda held: held.time), limit))


def _read(link: sqlite3.Connection, span: Span, limit: int) -> Iterator[Held]:
    query = "select id, time, key, headers, value from record where id >= ? and id < ? order by id limit ?"
    cursor = link.execute(query, (rowid(span.slot, span.next), rowid(span.slot, span.end), limit))
    room = BYTES
    for row, time, key, headers, value in cursor:
        room -= len(value)
        yield Held(
            topic=span.topic,
            key=key,
            value=value,
            headers=unpack(headers),
            index=span.index,
            offset=coordinates(row)[1],
            time=moment(time),
        )
        if room <= 0:
            break
    cursor.close()
