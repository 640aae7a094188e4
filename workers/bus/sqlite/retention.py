"""What may be forgotten: decisions on values, and the deeds and reads that carry them out in small pieces."""

import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from workers.bus.sqlite.batch import Batch
from workers.bus.sqlite.deeds import since, unpack_positions
from workers.bus.sqlite.file import coordinates, rowid
from workers.bus.sqlite.times import micros
from workers.bus.sqlite.writer import Deed

ROWS: Final = 500  # records deleted in one transaction, so that publishes pass in between
BYTES: Final = 4 * 2**20
ABSENT: Final = timedelta(days=7)  # of the bus's own running time, after which a group pins nothing any more
SOON: Final = timedelta(hours=1)  # after a start: an installation that is restarted daily compacts too
TOMBSTONE: Final = timedelta(days=1)  # kept so that whoever reads from the beginning now still hears of the end
ABSENT_AT_CAP: Final = timedelta(hours=1)


class Policy(msgspec.Struct, frozen=True):
    """How a slot's topic is kept; `retention` None: for ever."""

    slot: int
    retention: timedelta | None
    compacted: bool


class Cut(msgspec.Struct, frozen=True):
    """Everything of a slot below an offset may go."""

    slot: int
    below: int


def floor(expired: int, positions: Collection[int]) -> int:
    """Return below which offset everything may go: it has expired, and every group that counts has read it."""
    return min((expired, *positions))


def due(last_end: int, kept: int, end: int) -> bool:
    """Say whether compacting is worth a scan: as many records came as were kept, and a thousand."""
    return end - last_end >= max(1_000, kept)


def overdue(compacted: datetime, now: datetime) -> bool:
    """Say whether compacting is due whatever came: what is forgotten must be gone in days, not after a thousand others."""
    return now - compacted >= TOMBSTONE


def superseded(rows: Sequence[tuple[int, bytes]], below: int, tombstones: Collection[int] = ()) -> list[int]:
    """Return the rowids below an offset whose key appears again later, or that are themselves to go.

    `rows` are (rowid, key) in order; `tombstones` the rowids of those that say only that their key is gone.
    """
    newest, going = {key: row for row, key in rows}, set(tombstones)
    return [row for row, key in rows if (newest[key] != row or row in going) and coordinates(row)[1] < below]


def positions(link: sqlite3.Connection, absent: timedelta) -> dict[int, list[int]]:
    """Return the positions by slot of all groups that were not absent for longer."""
    held: dict[int, list[int]] = {}
    query = "select next from lane join member using (grp) where absent <= ?"
    for (packed,) in link.execute(query, (absent.total_seconds(),)).fetchall():
        for slot, position in unpack_positions(packed).items():
            held.setdefault(slot, []).append(position)
    return held


def cuts(
    link: sqlite3.Connection, policies: Sequence[Policy], ends: Mapping[int, int], now: datetime, absent: timedelta
) -> list[Cut]:
    """Return what has expired and is read by all."""
    return list(_cuts(link, policies, ends, now, positions(link, absent)))


def _cuts(
    link: sqlite3.Connection, policies: Sequence[Policy], ends: Mapping[int, int], now: datetime, held: Mapping[int, list[int]]
) -> Iterator[Cut]:
    firsts = dict(link.execute("select id, first from slot").fetchall())
    for policy in policies:
        if policy.retention is not None and ends[policy.slot] > (first := firsts[policy.slot]):
            age = micros(now - policy.retention)
            expired = _expired(link, policy.slot, first, ends[policy.slot], age)
            if (below := floor(expired, held.get(policy.slot, ()))) > first:
                yield Cut(policy.slot, below)


def _expired(link: sqlite3.Connection, slot: int, first: int, end: int, age: int) -> int:
    query = "select time from record where id >= ? and id < ? order by id limit 1"
    oldest = link.execute(query, (rowid(slot, first), rowid(slot, end))).fetchall()
    return first if oldest and oldest[0][0] >= age else since(link, slot, first, end, age)  # mostly: nothing has


def keys(link: sqlite3.Connection, slot: int) -> list[tuple[int, bytes]]:
    """Return (rowid, key) of all records of a slot, read in pieces."""
    found: list[tuple[int, bytes]] = []
    after, end = rowid(slot, 0) - 1, rowid(slot + 1, 0)
    query = "select id, key from record where id > ? and id < ? order by id limit 5000"
    while piece := link.execute(query, (after, end)).fetchall():
        found += piece
        after = piece[-1][0]
    return found


def tombstones(link: sqlite3.Connection, slot: int, before: int) -> list[int]:
    """Return the rowids of a slot's records without a value that the bus took before that time."""
    query = "select id from record where id >= ? and id < ? and length(value) = 0 and time < ?"
    return [row for (row,) in link.execute(query, (rowid(slot, 0), rowid(slot + 1, 0), before)).fetchall()]


def drop(cut: Cut) -> Deed[bool]:
    """Delete a bounded piece of what the cut allows and raise the log's first offset; answer whether that was all."""

    def deed(batch: Batch) -> bool:
        bounds = rowid(cut.slot, 0), rowid(cut.slot, cut.below)
        query = "select id, length(value) from record where id >= ? and id < ? order by id limit ?"
        last = _bounded(batch.link.execute(query, (*bounds, ROWS)).fetchall())
        done = last is None or batch.link.execute(query, (last + 1, bounds[1], 1)).fetchall() == []
        batch.link.execute("delete from record where id >= ? and id <= ?", (bounds[0], last or 0))
        first = cut.below if last is None or done else coordinates(last)[1] + 1
        batch.link.execute("update slot set first = max(first, ?) where id = ?", (first, cut.slot))
        return done

    return deed


def _bounded(rows: Sequence[tuple[int, int]]) -> int | None:
    room, last = BYTES, None
    for row, size in rows:
        last, room = row, room - size
        if room <= 0:
            break
    return last


def forget(rows: Sequence[int]) -> Deed[None]:
    """Delete superseded records; the log's first offset stays."""

    def deed(batch: Batch) -> None:
        batch.link.executemany("delete from record where id = ?", [(row,) for row in rows])

    return deed


def attend(present: Collection[str], passed: timedelta) -> Deed[None]:
    """Count the time for which groups were absent while the bus ran."""

    def deed(batch: Batch) -> None:
        members = batch.link.execute("select grp, absent from member").fetchall()
        for group, absent in members:
            now = 0 if group in present else absent + int(passed.total_seconds())
            if now != absent:
                batch.link.execute("update member set absent = ? where grp = ?", (now, group))

    return deed
