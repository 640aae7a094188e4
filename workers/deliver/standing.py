"""How destinations fare, over all copies of deliver, and how an operator closes and opens them: what `/v1` shows and does."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from schemas.filters import Takes
from workers.deliver import closed, copies, resumed
from workers.deliver.closed import Closed
from workers.deliver.copies import Copy
from workers.deliver.resumed import NEVER, Resumed
from workers.runtime.database import Database

WORST_FIRST: Final = ("gone", "failing", "throttled", "well")
ABSENT: Final = "not running"
UNKNOWN: Final = "not configured"


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """One destination, as its copies see it; times are epoch seconds."""

    name: str
    state: str  # paused and gone are of the operator's rows; else the worst that a copy sees
    closed_at: float | None
    closed_by: str | None
    copies: int
    obey: int  # how many of them are as closed, or as open, as it shall be, and have heard that it was resumed
    quiet_until_at: float | None  # until when it has asked for rest
    in_flight: int
    waiting: int
    next_at: float | None  # when the next of those is tried; none is where it is closed
    held: int  # put aside: replays, letters sent anew
    behind: int | None
    behind_since_at: float | None
    accepted_at: float | None
    dead: int  # events put on the dead letters since these copies began
    dead_at: float | None
    failed_at: float | None
    failure: str | None


def summed(
    names: Collection[str],
    shut: Mapping[str, Closed],
    seen: Sequence[Copy],
    times: Mapping[str, Resumed],
    *,
    asked: Collection[str] = (),
) -> list[Standing]:
    """Return how each of these destinations fares, and each that has rows, by name; `times`: how often each was resumed.

    So does one that was `asked` for, though the configuration may not name it any more.
    """
    told = defaultdict[str, list[Copy]](list)
    for copy in seen:
        told[copy.destination].append(copy)
    every = sorted({*names, *shut, *told, *asked})
    return [_summed(name, shut.get(name), told[name], times.get(name, NEVER).times, named=name in names) for name in every]


def _summed(name: str, shut: Closed | None, seen: Sequence[Copy], times: int, *, named: bool) -> Standing:
    measured = max((copy for copy in seen if copy.behind is not None), key=lambda copy: copy.seen_at, default=None)
    failed = max((copy for copy in seen if copy.failed_at), key=lambda copy: copy.failed_at or 0.0, default=None)
    return Standing(
        name=name,
        state=shut.why if shut else _worst(seen, named=named),
        closed_at=shut.since if shut else None,
        closed_by=shut.by if shut else None,
        copies=len(seen),
        obey=sum(_obeys(copy, times, closed=bool(shut)) for copy in seen),
        quiet_until_at=max((copy.quiet_until for copy in seen if copy.quiet_until), default=None),
        in_flight=sum(copy.flying for copy in seen),
        waiting=sum(copy.waiting for copy in seen),
        next_at=None if shut else min((copy.next_at for copy in seen if copy.next_at), default=None),
        held=max((copy.held for copy in seen), default=0),
        behind=measured.behind if measured else None,
        behind_since_at=measured.behind_since if measured else None,
        accepted_at=max((copy.accepted_at for copy in seen if copy.accepted_at), default=None),
        dead=sum(copy.dead for copy in seen),
        dead_at=max((copy.dead_at for copy in seen if copy.dead_at), default=None),
        failed_at=failed.failed_at if failed else None,
        failure=failed.failure if failed else None,
    )


def _obeys(copy: Copy, times: int, *, closed: bool) -> bool:
    is_closed = copy.state in {"paused", "gone"}
    return is_closed if closed else not is_closed and copy.resumed == times


def _worst(seen: Sequence[Copy], *, named: bool) -> str:
    if not seen:
        return ABSENT if named else UNKNOWN
    states = {copy.state for copy in seen} - {"paused"}
    return next((state for state in WORST_FIRST if state in states), "well")


@dataclass(frozen=True)
class Destinations:
    """Reads and writes the rows; `names` are those of the configuration."""

    database: Database
    names: Collection[str]

    async def standing(self, now: datetime, *, asked: Collection[str] = ()) -> Sequence[Standing]:
        """Return all destinations, and those that were asked for by their names, whatever is known of them."""
        async with self.database.read() as connection:
            shut, times = await closed.read(connection), await resumed.read(connection)
            return summed(self.names, shut, await copies.live(connection, now), times, asked=asked)

    async def served(self, now: datetime) -> Sequence[str]:
        """Return the names of the configuration, and of what a copy still runs; one that is closed alone may be no more."""
        async with self.database.read() as connection:
            return sorted({*self.names, *(copy.destination for copy in await copies.live(connection, now))})

    async def takes(self, name: str, now: datetime) -> Takes | None:
        """Return which events it takes, as the copy says that told latest; None where none tells."""
        async with self.database.read() as connection:
            mine = [copy for copy in await copies.live(connection, now) if copy.destination == name and copy.takes]
        latest = max(mine, key=lambda copy: copy.seen_at, default=None)
        return msgspec.json.decode(latest.takes, type=Takes) if latest and latest.takes else None

    async def pause(self, name: str, by: str, now: datetime) -> None:
        """Send nothing to it from now on; one that is closed already stays as it is."""
        async with self.database.begin() as connection:
            await closed.close(connection, name, "paused", by, now)

    async def resume(self, name: str, now: datetime) -> None:
        """Send to it again, and at once, whether it was closed, has asked for rest, is to be probed later, or events wait."""
        async with self.database.begin() as connection:
            await closed.reopen(connection, name)
            await resumed.once_more(connection, name, now)
