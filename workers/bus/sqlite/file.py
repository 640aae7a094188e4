"""The file's tables, and the connections to it. A record's rowid is its slot and its offset: one b-tree, no other index."""

import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Final

import msgspec

from schemas.errors import Misconfigured, Rejected
from schemas.topics import Topic
from workers.bus.partition import partition

LAYOUT: Final = "1"
OFFSET_BITS: Final = 40
_OFFSET: Final = (1 << OFFSET_BITS) - 1
WAL_LIMIT: Final = 64 * 2**20  # bytes to which the log is cut when it starts over

_TABLES: Final = """
create table if not exists meta (name text primary key, value text not null) without rowid;
create table if not exists slot (id integer primary key, topic text not null, idx integer not null,
  first integer not null default 0, -- below it everything has expired
  unique (topic, idx));
create table if not exists record (id integer primary key, -- slot << 40 | offset
  time integer not null, -- microseconds UTC, never falling
  key blob not null, headers blob not null, value blob not null);
create table if not exists member (grp text primary key, session integer not null,
  absent integer not null default 0 -- seconds that the bus ran without it
  ) without rowid;
create table if not exists lane (grp text, idx integer, session integer not null,
  next blob not null, -- positions by slot
  note blob not null, primary key (grp, idx)) without rowid;
create table if not exists holder (name text primary key, epoch integer not null) without rowid;
"""


def rowid(slot: int, offset: int) -> int:
    """Return the rowid of a record."""
    return slot << OFFSET_BITS | offset


def coordinates(row: int) -> tuple[int, int]:
    """Return slot and offset of a rowid."""
    return row >> OFFSET_BITS, row & _OFFSET


FULL: Final = 13  # SQLITE_FULL, https://www.sqlite.org/rescode.html
BUSY: Final = 5


def primary(error: Exception) -> int:
    """Return SQLite's primary result code, 0 for what is not SQLite's."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def temporary(error: Exception) -> bool:
    """Say whether the file is whole and may work again; after anything else only a new process may look at it."""
    return primary(error) in (FULL, BUSY)


class Layout(msgspec.Struct, frozen=True):
    """Which slot a (topic, index) has; slots are numbered from 1 and never change."""

    slots: dict[str, tuple[int, ...]]  # by topic, in order of the index; topics may be added

    def of(self, topic: str) -> tuple[int, ...]:
        """Return the slots of a topic; Rejected if it was not declared."""
        try:
            return self.slots[topic]
        except KeyError:
            raise Rejected(f"no topic {topic} was declared", reason="topic_unknown") from None

    def place(self, topic: str, key: bytes) -> tuple[int, int]:
        """Return slot and index of a key."""
        slots = self.of(topic)
        index = partition(key, len(slots))
        return slots[index], index


def connection(path: Path) -> sqlite3.Connection:
    """Return a connection that commits nothing by itself, syncs each commit, and may be handed to another thread."""
    link = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0, cached_statements=256)
    link.execute("pragma journal_mode = wal")
    link.execute("pragma synchronous = full")
    link.execute(f"pragma journal_size_limit = {WAL_LIMIT}")
    link.execute("pragma wal_autocheckpoint = 0")  # the keeper's thread does it, so that no publish waits for it
    return link


def prepare(link: sqlite3.Connection, namespace: str, topics: Collection[Topic]) -> Layout:
    """Create what is missing and return the layout; Misconfigured where the file belongs to other settings."""
    link.executescript(_TABLES)
    link.execute("begin immediate")
    _agree(link, "layout", LAYOUT, "this version of ringhook cannot read it")
    _agree(link, "namespace", namespace, "RINGHOOK_NAMESPACE or RINGHOOK_BUS_URL is another installation's")
    layout = Layout(slots=slots(link, topics))
    link.execute("commit")
    return layout


def slots(link: sqlite3.Connection, topics: Collection[Topic]) -> dict[str, tuple[int, ...]]:
    """Return the slots of topics, made where they are missing; Misconfigured where one has another count."""
    return {topic.name: _slots(link, topic) for topic in topics}


def _agree(link: sqlite3.Connection, name: str, value: str, remedy: str) -> None:
    link.execute("insert into meta values (?, ?) on conflict do nothing", (name, value))
    (held,) = link.execute("select value from meta where name = ?", (name,)).fetchone()
    if held != value:
        raise Misconfigured(f"the bus file was made for {name} {held!r}, not {value!r}: {remedy}")


def _slots(link: sqlite3.Connection, topic: Topic) -> tuple[int, ...]:
    held = link.execute("select count(*) from slot where topic = ?", (topic.name,)).fetchone()[0]
    if held not in (0, topic.partitions):
        raise Misconfigured(
            f"{topic.name} has {held} partitions, not {topic.partitions}: keys would move; growth needs a new topic"
        )
    for index in range(topic.partitions if not held else 0):
        link.execute("insert into slot (topic, idx) values (?, ?)", (topic.name, index))
    return tuple(slot for (slot,) in link.execute("select id from slot where topic = ? order by idx", (topic.name,)))


def ends(link: sqlite3.Connection) -> dict[int, int]:
    """Return the offset that each slot's next record gets."""
    firsts = link.execute("select id, first from slot").fetchall()
    return {slot: max(first, _after_last(link, slot)) for slot, first in firsts}


def _after_last(link: sqlite3.Connection, slot: int) -> int:
    bounds = rowid(slot, 0), rowid(slot + 1, 0)
    (last,) = link.execute("select max(id) from record where id >= ? and id < ?", bounds).fetchone()
    return 0 if last is None else coordinates(last)[1] + 1


def youngest(link: sqlite3.Connection) -> int:
    """Return the time of the youngest record, in microseconds; times never fall, whatever the clock does."""
    slots = [slot for (slot,) in link.execute("select id from slot")]
    query = "select time from record where id >= ? and id < ? order by id desc limit 1"
    found = [link.execute(query, (rowid(slot, 0), rowid(slot + 1, 0))).fetchone() for slot in slots]
    return max((row[0] for row in found if row), default=0)
