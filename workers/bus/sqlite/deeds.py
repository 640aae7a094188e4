"""What the writer is asked to do. Each deed checks everything before it writes anything."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Final, Literal

import msgspec

from schemas.errors import Misconfigured, Rejected
from schemas.topics import Topic
from workers.bus.contract import Record, Revoked, Start
from workers.bus.sqlite.batch import Batch, Row
from workers.bus.sqlite.file import Layout, rowid, slots
from workers.bus.sqlite.times import micros
from workers.bus.sqlite.writer import Deed
from workers.bus.wire import pack

pack_positions: Final = msgspec.msgpack.Encoder().encode
unpack_positions: Final = msgspec.msgpack.Decoder(dict[int, int]).decode
Beginning = Literal["first", "end"] | datetime


class Member(msgspec.Struct, frozen=True):
    """One session of a group's only member; a later session has a higher number."""

    group: str
    session: int


class Read(msgspec.Struct, frozen=True):
    """What one lane reads: its index, and its slot of each topic."""

    index: int
    slots: Mapping[str, int]


def rows(layout: Layout, records: Sequence[Record]) -> list[Row]:
    """Return the records as the file takes them; Rejected for a topic that was not declared."""
    return [Row(*layout.place(record.topic, record.key), pack(record.headers), record) for record in records]


def publish(added: Sequence[Row]) -> Deed[None]:
    """Append the rows."""
    return lambda batch: batch.add(added)


def declare(topics: Collection[Topic]) -> Deed[dict[str, tuple[int, ...]]]:
    """Make slots for topics that have none; answer those of all."""

    def deed(batch: Batch) -> dict[str, tuple[int, ...]]:
        try:
            found = slots(batch.link, topics)
        except Misconfigured as error:
            raise Rejected(str(error), reason="topic_differs") from error
        for slot in chain.from_iterable(found.values()):
            batch.grow(slot)
        return found

    return deed


def hold(name: str) -> Deed[int]:
    """Take a name from its holder; answer the new epoch."""

    def deed(batch: Batch) -> int:
        query = "insert into holder values (?, 1) on conflict do update set epoch = epoch + 1 returning epoch"
        return int(batch.link.execute(query, (name,)).fetchall()[0][0])

    return deed


def publish_as(name: str, epoch: int, added: Sequence[Row]) -> Deed[None]:
    """Append the rows if the name is still held with that epoch, else refuse with Revoked."""

    def deed(batch: Batch) -> None:
        if batch.link.execute("select epoch from holder where name = ?", (name,)).fetchall() != [(epoch,)]:
            raise Revoked(f"somebody else holds {name} now")
        batch.add(added)

    return deed


def begin(group: str) -> Deed[Member]:
    """Fence the group's former session and answer the new one."""

    def deed(batch: Batch) -> Member:
        query = (
            "insert into member values (?, 1, 0) on conflict do update set session = session + 1, absent = 0 returning session"
        )
        session = int(batch.link.execute(query, (group,)).fetchall()[0][0])
        batch.link.execute("update lane set session = ? where grp = ?", (session, group))
        return Member(group, session)

    return deed


def opening(member: Member, lane: Read, lanes: Sequence[Read], start: Beginning) -> Deed[Start]:
    """Answer where the lane starts. Positions that the group lacks are committed by `start`, for all lanes at one moment."""

    def deed(batch: Batch) -> Start:
        if batch.link.execute("select session from member where grp = ?", (member.group,)).fetchall() != [(member.session,)]:
            raise Revoked
        held = positions(batch.link, member.group)
        for each in lanes:
            if missing := set(each.slots.values()) - set(held):
                held |= {slot: _place(batch, slot, start) for slot in missing}
                _begin(batch.link, member, each.index, {slot: held[slot] for slot in each.slots.values()})
        return _start(batch.link, member.group, lane, held)

    return deed


def commit(member: Member, index: int, next_: Mapping[int, int], note: bytes, outputs: Sequence[Row]) -> Deed[None]:
    """Write positions (by slot), note and outputs, or refuse: Revoked for a former session, ValueError above the end."""
    words = "update lane set next = ?, note = ? where grp = ? and idx = ? and session = ?"  # the fence is in the same words
    values = (pack_positions(next_), note, member.group, index, member.session)

    def deed(batch: Batch) -> None:
        for slot, position in next_.items():
            if position > batch.end(slot):
                raise ValueError(f"position {position} is above the log's end {batch.end(slot)}")
        if not batch.link.execute(words, values).rowcount:
            raise Revoked
        batch.add(outputs)

    return deed


def positions(link: sqlite3.Connection, group: str) -> dict[int, int]:
    """Return a group's positions by slot."""
    held: dict[int, int] = {}
    for (packed,) in link.execute("select next from lane where grp = ?", (group,)).fetchall():
        held |= unpack_positions(packed)
    return held


def _begin(link: sqlite3.Connection, member: Member, index: int, next_: Mapping[int, int]) -> None:
    # the conflict: a topic has joined the group
    words = "insert into lane values (?, ?, ?, ?, x'') on conflict do update set next = excluded.next"
    link.execute(words, (member.group, index, member.session, pack_positions(next_)))


def _start(link: sqlite3.Connection, group: str, lane: Read, held: Mapping[int, int]) -> Start:
    firsts = dict(link.execute("select id, first from slot").fetchall())
    note = link.execute("select note from lane where grp = ? and idx = ?", (group, lane.index)).fetchall()
    return Start(
        next={topic: max(held[slot], firsts[slot]) for topic, slot in lane.slots.items()},
        note=note[0][0] if note else b"",
        gaps={topic: firsts[slot] - held[slot] for topic, slot in lane.slots.items() if firsts[slot] > held[slot]},
    )


def _place(batch: Batch, slot: int, start: Beginning) -> int:
    if start == "end":
        return batch.end(slot)
    (first,) = batch.link.execute("select first from slot where id = ?", (slot,)).fetchall()[0]
    if start == "first":
        return int(first)
    batch.flush()
    return since(batch.link, slot, first, batch.end(slot), micros(start))


def since(link: sqlite3.Connection, slot: int, first: int, end: int, time: int) -> int:
    """Return an offset in [first, end] with nothing older than `time` (microseconds) at or after it, everything older below."""
    query = "select time, id - ? from record where id >= ? and id < ? order by id limit 1"
    low, high = first, end
    while low < high:
        middle = (low + high) // 2
        found = link.execute(query, (rowid(slot, 0), rowid(slot, middle), rowid(slot, end))).fetchall()
        if not found or found[0][0] >= time:
            high = middle
        else:
            low = found[0][1] + 1
    return low
