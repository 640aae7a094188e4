"""One transaction of the writer: what its deeds see and add."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Final, NamedTuple

from workers.bus.contract import Held, Record
from workers.bus.sqlite.file import rowid
from workers.bus.sqlite.times import moment

_ROWS: Final = (256, 128, 64, 32, 16, 8, 4, 2, 1)
_INSERT: Final = {size: "insert into record values " + ",".join(["(?,?,?,?,?)"] * size) for size in _ROWS}  # noqa: S608  (only question marks)


class Row(NamedTuple):
    """A record on its way into the file."""

    slot: int
    partition: int
    headers: bytes  # packed
    record: Record


class Batch:
    """One transaction under way: what its deeds may see and add."""

    def __init__(self, link: sqlite3.Connection, ends: Mapping[int, int], now: int) -> None:
        self.now = now
        self._link = link
        self.ends: dict[int, int] = {}  # of the slots that grow
        self._before = ends
        self._unwritten: list[tuple[int, int, bytes, bytes, bytes]] = []
        self._added: list[tuple[int, Row]] = []

    @property
    def link(self) -> sqlite3.Connection:
        """The connection, inside the transaction; one that only appends a record needs none, and three statements become one."""
        if not self._link.in_transaction:
            self._link.execute("begin immediate")
        return self._link

    def end(self, slot: int) -> int:
        """Return the offset that the slot's next record gets."""
        return self.ends.get(slot, self._before[slot])

    def grow(self, slot: int) -> None:
        """Let records be appended to a slot that may be new."""
        if slot not in self._before:
            self.ends.setdefault(slot, 0)

    def add(self, rows: Iterable[Row]) -> None:
        """Append records."""
        for row in rows:
            slot, _, headers, record = row
            offset = self.end(slot)
            self._unwritten.append((rowid(slot, offset), self.now, record.key, headers, record.value))
            self._added.append((offset, row))
            self.ends[slot] = offset + 1

    def flush(self) -> None:
        """Hand the records to SQLite: many per statement, as each statement gives up the interpreter's lock several times."""
        rows, self._unwritten = self._unwritten, []
        link, at = (self._link if len(rows) in _ROWS else self.link), 0
        for size in _ROWS:
            while len(rows) - at >= size:
                link.execute(_INSERT[size], list(chain.from_iterable(rows[at : at + size])))
                at += size

    def commit(self) -> None:
        """Write what is unwritten and end the transaction."""
        self.flush()
        if self._link.in_transaction:
            self._link.execute("commit")

    def close(self) -> None:
        """Undo what was not committed."""
        if self._link.in_transaction:
            self._link.execute("rollback")

    def held(self) -> Iterator[tuple[int, Held]]:
        """Yield what was appended, by slot, as readers get it."""
        time = moment(self.now)
        for offset, (slot, index, _, record) in self._added:
            yield (
                slot,
                Held(
                    topic=record.topic,
                    key=record.key,
                    value=record.value,
                    headers=record.headers,
                    index=index,
                    offset=offset,
                    time=time,
                ),
            )
