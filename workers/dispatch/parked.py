"""Events that wait for their account's link: how they are kept, what ends their wait, and what they become then."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Final, Literal, NamedTuple

import msgspec
import structlog

from schemas import cloudevents
from schemas.errors import Rejected
from schemas.records import App
from schemas.topics import EVENT_RECORDED, PARTITIONS
from workers.bus.contract import Held, Record
from workers.dispatch import metrics, store
from workers.dispatch.accounts import Known
from workers.dispatch.normalise import NOTHING, View, normalise
from workers.dispatch.reading import Webhook, webhook
from workers.runtime import waiting
from workers.runtime.dead import letter
from workers.runtime.jobs import Step
from workers.runtime.lines import TOTAL, Doubt, Line, Lines, Row, above, levelled

log = structlog.get_logger()
AT_ONCE: Final = 100  # events that one step releases: of the largest bodies these are 25 MiB
BURIED_AT_ONCE: Final = 1_000  # as many as a batch can add
FULL: Final = "waiting_full"  # reasons on dead letters
OTHER_APP: Final = "other_app"
UNREADABLE: Final = "unreadable"  # how a wait ends whose record this version reads no more


class Bounds(msgspec.Struct, frozen=True):
    """How long an event waits for its account's link, and how many may."""

    wait: timedelta = timedelta(days=1)  # zero: none waits
    per_account: int = 1_000
    in_all: int = 100_000

    @property
    def per_lane(self) -> int:
        """One lane's share."""
        return -(-self.in_all // PARTITIONS)


class Parked(msgspec.Struct, frozen=True):
    """What a waiting row holds: the record as it came, and the id under which its event goes out."""

    held: Held
    request_id: str


class Past(NamedTuple):
    """When an event happened, in epoch seconds, and by which app of ours it came; an empty one is any."""

    at: float
    app: App

    def of(self, doubt: Doubt) -> bool:
        """Say whether it is of the connection by that app which was removed then."""
        return self.at <= doubt.at and (not self.app or not doubt.app or self.app == doubt.app)


class Out(NamedTuple):
    """What an event becomes whose wait is over; where that is a dead letter, why, and the claim that it gives back."""

    record: Record
    rejected: str | None = None
    freed: str | None = None


_PARKED: Final = msgspec.msgpack.Decoder(Parked)


def park(lines: Lines, account: str, held: Held, request_id: str, now: datetime) -> None:
    """Let an event wait behind all others of its account."""
    lines.add(account, msgspec.msgpack.encode(Parked(held, request_id)), now.timestamp())


async def pasts(step: Step, lines: Lines, accounts: Collection[str]) -> dict[tuple[str, int], Past]:
    """Return when what waits for these accounts happened, and by which apps it came, by account and sequence."""
    ends = {name: (lines[name].first, lines[name].last) for name in accounts if lines.waits(name)}
    return {(row.key, row.sequence): past(row.record) for row in await waiting.look(step, ends)}


def past(record: bytes) -> Past:
    """Return when the event of a row happened, and by which app it came; long ago where this version cannot read it."""
    try:
        said = webhook(_PARKED.decode(record).held)
    except Rejected:
        return Past(0.0, "")  # it becomes a dead letter
    return Past(said.at.timestamp(), said.arrival.app)


def event(said: Webhook, account: str, view: View, request_id: str) -> Record:
    """Return the record of `event.recorded` that a webhook becomes."""
    made = normalise(said.envelope, said.arrival, said.held.value, account, view)
    headers, value = cloudevents.binary(msgspec.structs.replace(made, id=request_id))
    return Record(topic=EVENT_RECORDED.name, key=account.encode(), value=value, headers=headers)


async def written(step: Step, lines: Lines, known: Known, bounds: Bounds, now: datetime) -> list[Record]:
    """Write what a batch has changed; return the dead letters of what no longer found room.

    Nothing is taken from accounts that are to be told again: theirs is leaving, as that of a linked one.
    """
    if not lines.changed and not lines.dropped:
        return []
    await waiting.add(step, lines.added)
    await waiting.mark(step, lines.dropped)
    letters = await _overflow(step, lines, known, bounds, now) if lines.added else []
    await waiting.keep(step, lines)
    return letters


async def _overflow(step: Step, lines: Lines, known: Known, bounds: Bounds, now: datetime) -> list[Record]:
    """Bury the oldest of an account with too many, then of the fullest accounts where all together are too many."""
    letters = await _bury(step, lines, above(_staying(lines.grown, known), bounds.per_account), now)
    excess = min(lines[TOTAL].rows - bounds.per_lane, BURIED_AT_ONCE)
    if excess > 0:
        touched = set(lines.keys)
        lines.learn(await waiting.longest(step, excess + len(touched)))
        others = Known(await store.versions(step.connection, {*lines.keys} - touched), ())
        staying = _staying(_staying([lines[key] for key in lines.keys], known), others)
        letters += await _bury(step, lines, levelled(staying, excess), now)
    return letters


def _staying(lines: Sequence[Line], known: Known) -> list[Line]:
    return [line for line in lines if not known.distrusted(line.key)]


async def _bury(step: Step, lines: Lines, plan: Mapping[str, int], now: datetime) -> list[Record]:
    buried = [_PARKED.decode(row.record) for row in await waiting.leave(step, lines, plan, BURIED_AT_ONCE)]
    await store.free(step, [parked.request_id for parked in buried])
    metrics.LEFT.labels(how="overflowed").inc(len(buried))
    return [letter(parked.held, FULL, at=now) for parked in buried]


async def released(step: Step, namespace: str, limit: int, now: datetime) -> list[Record] | None:
    """Release events of accounts whose link is complete, each account's oldest first; None: there are none.

    Those of an account that was forgotten meanwhile go nowhere.
    """
    found = chosen(await waiting.ready(step, limit), limit)
    if not found:
        return None
    lines = Lines([*found, *await waiting.read(step, ())])
    rows = await waiting.leave(step, lines, {line.key: line.last for line in found}, limit)
    await waiting.keep(step, lines)
    versions, forgotten = await store.standing(step.connection, namespace, [line.key for line in found])
    known = Known(versions, ())
    going = [row for row in _left(rows, found, known) if row.key not in forgotten]
    metrics.LEFT.labels(how="cancelled").inc(len(rows) - len(going))
    return await _going(step, going, known, now, how="released")


def _left(rows: Sequence[Row], lines: Sequence[Line], known: Known) -> list[Row]:
    """Return those of rows that are of no connection whose removal is proven."""
    former = {line.key: [doubt for doubt in line.doubts if known.proven(line.key, doubt)] for line in lines}
    return [row for row in rows if not _doubted(row, former[row.key])]


def _doubted(row: Row, doubts: Sequence[Doubt]) -> bool:
    """Say whether a row is what one of these doubts is about: it was there then, and happened before."""
    there = [doubt for doubt in doubts if row.sequence <= doubt.last]
    return bool(there) and any(map(past(row.record).of, there))


def chosen(ready: Sequence[Line], limit: int) -> Sequence[Line]:
    """Return as many of these lines as hold `limit` rows."""
    before = accumulate((line.rows for line in ready), initial=0)
    return [line for line, rows in zip(ready, before, strict=False) if rows < limit]


async def expired(step: Step, namespace: str, limit: int, before: datetime, now: datetime) -> list[Record] | None:
    """End the wait of events that began before a time: they go out as not linked; None: there are none.

    Those of an account that is removed, or was forgotten meanwhile, go nowhere.
    """
    plan = await waiting.older(step, before.timestamp(), limit)
    if not plan:
        return None
    versions, forgotten = await store.standing(step.connection, namespace, [*plan])
    known = Known(versions, ())
    plan = {name: through for name, through in plan.items() if not known.distrusted(name)}
    if not plan:
        return None
    found = await waiting.read(step, plan)
    lines = Lines(found)
    rows = await waiting.leave(step, lines, plan, limit)
    await waiting.keep(step, lines)
    going = [row for row in _left(rows, found, known) if not known.removed(row.key) and row.key not in forgotten]
    metrics.LEFT.labels(how="cancelled").inc(len(rows) - len(going))
    return await _going(step, going, known, now, how="expired")


async def _going(
    step: Step, rows: Sequence[Row], known: Known, now: datetime, *, how: Literal["released", "expired"]
) -> list[Record]:
    """Return what rows become whose wait is over; those that become dead letters give their claims back."""
    shown = known if how == "released" else None  # at the end of its wait, it goes as if nobody were linked
    outs = [_out(row, known, shown, now) for row in rows]
    await store.free(step, [out.freed for out in outs if out.freed is not None])
    for out in outs:
        metrics.LEFT.labels(how=_ended(out) or how).inc()
    return [out.record for out in outs]


def _ended(out: Out) -> str | None:
    """Return how a wait ended where it ended otherwise than its account's."""
    return out.rejected if out.rejected in {None, OTHER_APP} else UNREADABLE


def _out(row: Row, known: Known, shown: Known | None, now: datetime) -> Out:
    """Return what a row becomes: its event as its account is shown to stand; a dead letter where it must not be, or cannot."""
    parked = _PARKED.decode(row.record)
    try:
        said = webhook(parked.held)
    except Rejected as error:
        return _aside(parked, error.reason, now)
    if known.foreign(row.key, said.arrival):
        return _aside(parked, OTHER_APP, now)
    view = shown.view(row.key, said.arrival.received_at, said.at) if shown else NOTHING
    return Out(event(said, row.key, view, parked.request_id))


def _aside(parked: Parked, reason: str, now: datetime) -> Out:
    """Return the dead letter of a record whose wait is over, and log it as where records are read."""
    held = parked.held
    log.warning("record.rejected", job="dispatch", reason=reason, lane=held.index, offset=held.offset)
    return Out(letter(held, reason, at=now), reason, parked.request_id)
