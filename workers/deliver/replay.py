"""What is delivered again to one destination, as rows: a range of what was recorded, or letters that were dead.

A replay is copied onto the destination's own topic (`copying`) and sent from there (`sending`), both by consumer groups: it goes
on after a restart where it was, keeps order within each key, and takes little from what is live.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final, Literal

import msgspec
from msgspec.structs import asdict
from sqlalchemy import BigInteger, Column, Double, Index, Table, Text, bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.filters import Wants, wanting
from schemas.topics import delivery, delivery_held
from workers.bus.contract import Held, Record
from workers.deliver.parcel import NAMED, ORIGIN, REPLAY
from workers.runtime.database import metadata
from workers.runtime.lane import lanes
from workers.runtime.lines import TOTAL
from workers.runtime.rows import insert_once
from workers.runtime.waiting import lines

_MARKS: Final = frozenset((REPLAY, ORIGIN, NAMED))
State = Literal["preparing", "copying", "sending", "done", "cancelled"]
Fate = Literal["accepted", "buried", "unsent"]
OPEN: Final = ("preparing", "copying", "sending")
KEPT_S: Final = 45 * 86_400.0  # of one that is over: a segment of its topic goes when its last record is 30 days old

replays: Final = Table(
    "delivery_replay",
    metadata,
    Column("id", Text, primary_key=True),
    Column("destination", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("wanted", Text, nullable=False),  # JSON of Wanted
    Column("begin_at", Double, nullable=False),
    Column("end_at", Double, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("looked", BigInteger, nullable=False),
    Column("copied", BigInteger, nullable=False),
    Column("accepted", BigInteger, nullable=False, server_default="0"),
    Column("buried", BigInteger, nullable=False, server_default="0"),
    Column("unsent", BigInteger, nullable=False, server_default="0"),
    Column("by", Text, nullable=False),
    Column("asked_at", Double, nullable=False),
    Column("ended_at", Double),
    Index(None, "destination", "state"),
)


class Wanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which events of the range: those that a filter fits, and of them those with these ids; without either all."""

    filter: dict[str, Any] | None = None
    ids: tuple[str, ...] = ()

    @property
    def named(self) -> bool:
        """Say whether it asks for events by their names."""
        return bool(self.ids)


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """One replay; times are epoch seconds, and the range is of when events were recorded: from `begin_at`, before `end_at`."""

    id: str
    destination: str
    state: State
    wanted: Wanted
    begin_at: float
    end_at: float
    total: int  # records in the range, as it was asked for
    looked: int  # about how many of them were looked at
    copied: int  # about how many of those are sent
    by: str
    asked_at: float
    ended_at: float | None = None
    accepted: int = 0  # about how many of those copied the destination has taken
    buried: int = 0  # about how many became dead letters
    unsent: int = 0  # about how many were not to be had any more when their turn came

    @property
    def group(self) -> str:
        """The consumer group that copies it."""
        return f"{delivery(self.destination)}.replay.{self.id}"


def held_group(destination: str) -> str:
    """Return the consumer group that sends what was copied for a destination."""
    return f"{delivery(destination)}.held"


def again(held: Held, replay: str, destination: str, *, named: bool) -> Record:
    """Return the record that brings an event to one destination once more, in the order of its key.

    `named`: an operator asked for this very event, so that it is sent whatever the destination's filter.
    """
    origin = held.header(ORIGIN) or held.header("dead_offset") or str(held.offset).encode()
    kept = tuple((name, value) for name, value in held.headers if not name.startswith("dead_") and name not in _MARKS)
    mine = ((REPLAY, replay.encode()), (ORIGIN, origin), *(((NAMED, b""),) if named else ()))
    return Record(topic=delivery_held(destination).name, key=held.key, value=held.value, headers=(*kept, *mine))


def matching(wanted: Wanted) -> Wants:
    """Return what says whether a replay brings an event, linked or not: whether the destination takes it is its own to say.

    ValueError: what is wrong with the filter.
    """
    ids, fits = frozenset(wanted.ids), wanting(wanted.filter, unlinked=True)
    return lambda event: (not ids or event.id in ids) and fits(event)


_COLUMNS: Final = tuple(replays.c[name] for name in Replay.__struct_fields__)


def _read(row: Sequence[Any]) -> Replay:
    values = dict(zip(Replay.__struct_fields__, row, strict=True))
    return Replay(**values | {"wanted": msgspec.json.decode(values["wanted"], type=Wanted)})


async def begin(connection: AsyncConnection, replay: Replay) -> bool:
    """Hold a replay; say whether its id is new."""
    return await insert_once(connection, replays, asdict(replay) | {"wanted": msgspec.json.encode(replay.wanted).decode()})


async def live(connection: AsyncConnection) -> dict[str, list[Replay]]:
    """Return by destination the replays that are not over."""
    open_ = select(*_COLUMNS).where(replays.c.state.in_(OPEN)).order_by(replays.c.destination, replays.c.asked_at)
    each = groupby(map(_read, await connection.execute(open_)), lambda one: one.destination)
    return {destination: [*mine] for destination, mine in each}


async def still_open(connection: AsyncConnection, names: Collection[str]) -> frozenset[str]:
    """Return which of these replays are not over."""
    return frozenset(await connection.scalars(select(replays.c.id).where(replays.c.id.in_(names), replays.c.state.in_(OPEN))))


async def cancelled(connection: AsyncConnection) -> dict[str, frozenset[str]]:
    """Return by destination the replays of which nothing more is sent."""
    over = select(replays.c.destination, replays.c.id).where(replays.c.state == "cancelled").order_by(replays.c.destination)
    each = groupby(await connection.execute(over), lambda row: str(row.destination))
    return {destination: frozenset(row.id for row in mine) for destination, mine in each}


async def every(connection: AsyncConnection, limit: int = 100) -> list[Replay]:
    """Return the latest replays, the newest first."""
    return [_read(row) for row in await connection.execute(select(*_COLUMNS).order_by(replays.c.asked_at.desc()).limit(limit))]


async def find(connection: AsyncConnection, name: str) -> Replay | None:
    """Return one replay, or None."""
    row = (await connection.execute(select(*_COLUMNS).where(replays.c.id == name))).first()
    return _read(row) if row else None


async def become(connection: AsyncConnection, replay: Replay, state: State, now: datetime) -> bool:
    """Change the state of a replay that still is as it was; say whether it was."""
    there = (replays.c.id == replay.id) & (replays.c.state == replay.state)
    ended = None if state in OPEN else now.timestamp()
    changed = await connection.execute(update(replays).where(there).values(state=state, ended_at=ended))
    return changed.rowcount == 1


_NOTE: Final = (
    update(replays)
    .where(replays.c.id == bindparam("name"))
    .values(looked=replays.c.looked + bindparam("more_looked"), copied=replays.c.copied + bindparam("more_copied"))
)


async def note(connection: AsyncConnection, name: str, looked: int, copied: int) -> None:
    """Count what was looked at and copied; about, since a step may be undone."""
    if looked or copied:
        await connection.execute(_NOTE, {"name": name, "more_looked": looked, "more_copied": copied})


async def add(connection: AsyncConnection, counts: Mapping[tuple[str, Fate], int]) -> None:
    """Count what became of events, by replay; about, since a kill loses what was not added yet."""
    for (name, fate), number in sorted(counts.items()):
        more = {fate: replays.c[fate] + number}
        await connection.execute(update(replays).where(replays.c.id == name).values(more))


async def prune(connection: AsyncConnection, now: float) -> None:
    """Drop replays that were over long ago, and the lanes of their groups: nobody runs them any more."""
    old = [_read(row) for row in await connection.execute(select(*_COLUMNS).where(replays.c.ended_at < now - KEPT_S))]
    for one in old:
        await connection.execute(delete(lanes).where(lanes.c.grp == one.group))
        await connection.execute(delete(replays).where(replays.c.id == one.id))


async def waits(connection: AsyncConnection, group: str) -> bool:
    """Say whether something of a group waits in rows."""
    left = select(lines.c.key).where(lines.c.grp == group, lines.c.key != TOTAL, lines.c.release_n.is_(None)).limit(1)
    return (await connection.execute(left)).first() is not None
