"""The SQL of what waits for a destination: rows and lines as every lane has them, and what each line's first went through.

Beside these stand the marks of keys of which an event was buried, in the same table: a step writes and forgets both at once.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec
from sqlalchemy import BigInteger, Double, Executable, RowMapping, and_, bindparam, cast, delete, exists, or_, select

from workers.bus.contract import Held
from workers.deliver import untold
from workers.deliver.finished import Known, Untold
from workers.deliver.parcel import GONE, Parcel, packed
from workers.deliver.parked import Change, Kept, Tried
from workers.deliver.tables import tries
from workers.deliver.window import Item
from workers.runtime import stops, waiting
from workers.runtime.clock import utc_now
from workers.runtime.database import Database
from workers.runtime.delay import Delay
from workers.runtime.jobs import Step
from workers.runtime.lines import TOTAL, Line, Lines
from workers.runtime.rows import Values, among, listed, lists, prepared, upsert
from workers.runtime.waiting import STEPPED, Broom, lane_of, lines, of_lane
from workers.runtime.waiting import waiting as rows

_HELD: Final = msgspec.msgpack.Decoder(Held)
_MINE: Final = and_(tries.c.grp == lines.c.grp, tries.c.lane == lines.c.lane, tries.c.key == lines.c.key)
_FIRST: Final = and_(
    rows.c.grp == lines.c.grp, rows.c.lane == lines.c.lane, rows.c.key == lines.c.key, rows.c.sequence == lines.c.first
)
_KEPT: Final = (
    select(lines.c.key, lines.c.first, lines.c.last, rows.c.since, tries.c.offset, tries.c.due_at, tries.c.tries)
    .select_from(lines.outerjoin(rows, _FIRST).outerjoin(tries, _MINE))
    .where(of_lane(lines), lines.c.release_n.is_(None))
)
_MARK: Final = "!"  # before the name of what no line is called
_IS_MARK: Final = tries.c.key.startswith(_MARK)
_MARKS_KEPT: Final = timedelta(days=30)  # as dead letters are
_ORPHANS: Final = delete(tries).where(
    of_lane(tries),
    or_(
        and_(~_IS_MARK, ~exists().where(_MINE, lines.c.release_n.is_(None))),
        and_(_IS_MARK, tries.c.due_at < bindparam("my_now", type_=Double)),
    ),
)
_MARKS: Final = select(tries.c.key).where(of_lane(tries), _IS_MARK).order_by(tries.c.due_at)


@dataclass(frozen=True)
class Store:
    """Where what waits for a destination is kept; `group` is its consumer group. Its lanes share a delay."""

    database: Database
    group: str
    namespace: str  # of the stop table
    delay: Delay = field(default_factory=Delay)


class Shelf:
    """The rows of one lane, while its session lasts."""

    def __init__(self, store: Store, index: int, kind: str) -> None:
        """`kind` is what the destination keeps in order, as `Parcel.key` takes it."""
        self._database, self._namespace, self._kind = store.database, store.namespace, kind
        self._lane = store.group, index
        self._mine = {"my_grp": store.group, "my_lane": index}
        self._broom = Broom(STEPPED)
        self._over: dict[int, set[str]] = {}  # by step: lines whose tries nobody needs once it is true

    async def note(self, events: Sequence[Untold]) -> None:
        """Write down what this one finished, for the lane's next owner."""
        async with self._database.begin() as connection:
            await untold.note(connection, *self._lane, events, utc_now())

    async def forget(self, offsets: Collection[int]) -> None:
        """Delete of what was noted what the bus was told after all."""
        async with self._database.begin() as connection:
            await untold.forget(connection, *self._lane, offsets)

    async def kept(self, found: Known) -> tuple[list[Kept], list[str], Sequence[Untold]]:
        """Return all that waits, one entry a line, the marks, and what former sessions finished and may come again.

        The bus stands where it is `found`. What was tried of lines that are no more is forgotten.
        """
        async with self._database.begin() as connection:
            await connection.execute(_ORPHANS, self._mine | {"my_now": utc_now().timestamp()})
            kept = [_kept(row) for row in (await connection.execute(_KEPT, self._mine)).mappings()]
            marks = [key.removeprefix(_MARK) for key in await connection.scalars(_MARKS, self._mine)]
            return kept, marks, await untold.recall(connection, *self._lane, found, utc_now(), rows=bool(kept))

    async def read(self, wanted: Mapping[str, tuple[int, int]], now: datetime) -> dict[str, list[Item[Parcel]]]:
        """Return the rows of these lines, from a first to a last sequence, ready to be sent."""
        names = [*wanted]
        first, last = ([str(ends[side]) for ends in wanted.values()] for side in (0, 1))
        async with self._database.read() as connection:
            values = lists(connection, key=names, first=first, last=last) | self._mine
            found = [row for row in await connection.execute(_reading(connection), values) if row.key is not None]
        read: dict[str, list[Item[Parcel]]] = {name: [] for name in names}
        for row in sorted(found, key=lambda row: (row.key, row.sequence)):
            parcel = packed(_HELD.decode(row.record)) if row.record else GONE
            read[row.key].append(parcel.item(self._kind, now, line=row.key))
        return read

    async def write(self, step: Step, change: Change[Parcel], stored: Sequence[Line], now: datetime) -> list[Line]:
        """Write a change; return its lines, and TOTAL, as they are then."""
        await self._broom.sweep(step)
        state = Lines(stored)
        gone = {name: (state[name].first, through) for name, through in change.leaving.items()}
        for name, through in change.leaving.items():
            state.leave(name, through)
        for name, items in change.joining.items():
            for item in items:
                state.add(name, msgspec.msgpack.encode(item.load.held), item.since, self._whose(item.load))
        await waiting.add(step, state.added)
        await waiting.mark(step, gone)
        await waiting.keep(step, state)
        if state.changed:
            self._broom.marked(step)
        await self._remember(step, change, now)
        return [state[name] for name in (*change.names, TOTAL)]

    async def _remember(self, step: Step, change: Change[Parcel], now: datetime) -> None:
        """Keep what was tried; what is of no more use is deleted by the step after the one that says so, a mark at once."""
        over = set().union(*(names for n, names in self._over.items() if n < step.n)) - change.tried.keys()
        over |= {_MARK + mark for mark, stands in change.marks.items() if not stands}
        if over:
            await step.connection.execute(_forgetting(step.connection), lists(step.connection, name=[*over]) | lane_of(step))
        told = {**change.tried, **_marked(change, now)}
        await upsert(step.connection, tries, [_tried(step, name, tried) for name, tried in told.items()])
        kept = {n: names for n, names in self._over.items() if n == step.n - 1}
        self._over = kept | {step.n: change.leaving.keys() - change.tried.keys()}

    def _whose(self, parcel: Parcel) -> str | None:
        return stops.fingerprint(self._namespace, parcel.event.accountid) if parcel.event else None


@prepared
def _reading(engine: str) -> Executable:
    plan = listed(engine, "key", "first", "last")
    mine = rows.c.sequence.between(cast(plan.c.first, BigInteger), cast(plan.c.last, BigInteger))
    wanted = and_(of_lane(rows), rows.c.key == plan.c.key, mine)
    return select(rows.c.key, rows.c.sequence, rows.c.record).select_from(plan.outerjoin(rows, wanted))


@prepared
def _forgetting(engine: str) -> Executable:
    return delete(tries).where(of_lane(tries), among(engine, tries.c.key, "name"))


def _marked(change: Change[Parcel], now: datetime) -> dict[str, Tried]:
    """Return the marks that are to stand, as if each were tried: due is when it may be forgotten."""
    mark = Tried(0, now + _MARKS_KEPT, b"")
    return {_MARK + name: mark for name, stands in change.marks.items() if stands}


def _tried(step: Step, name: str, tried: Tried) -> Values:
    told = {"offset": tried.offset, "due_at": tried.due.timestamp(), "tries": tried.packed}
    return {"grp": step.group, "lane": step.index, "key": name} | told


def _kept(row: RowMapping) -> Kept:
    line, since = Line(row["key"], row["first"], row["last"]), row["since"] or 0.0
    if row["tries"] is None:
        return Kept(line, since)
    return Kept(line, since, Tried(row["offset"], datetime.fromtimestamp(row["due_at"], UTC), row["tries"]))
