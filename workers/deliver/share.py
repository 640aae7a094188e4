"""How much of a destination goes to what is not new: what failed before, keys that wait in rows, and replays.

Live events that were never sent, and could be, have all but a part in `SHARE` to themselves: of the requests in flight, or of
the time where fewer than `SHARE` may be. Where none could, what waits in rows takes what they leave, but for as large a part,
which the next live ones find free. What may be slow to fail never gets more than the smaller part: what failed before, and
replays, which nobody has tried lately.
"""

from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from typing import Final

import msgspec

SHARE: Final = 4


class Beside(msgspec.Struct, frozen=True, gc=False):
    """What may be sent besides live events, now."""

    rows: bool  # what waits in rows behind others that got through
    again: bool  # also what failed before, there or in the log
    aside: bool  # replays and the like


ALL: Final = Beside(rows=True, again=True, aside=True)
NONE: Final = Beside(rows=False, again=False, aside=False)


class Share:
    """What is in flight beside live events, and what more may be sent."""

    def __init__(self) -> None:
        self._flying: dict[Hashable, tuple[datetime, bool]] = {}  # since when, and whether it may be slow to fail
        self._turn = datetime.min.replace(tzinfo=UTC)  # of one more, where fewer than SHARE may be in flight

    def began(self, item: Hashable, now: datetime, *, doubtful: bool) -> None:
        """Count one that is none of the live events that were never sent."""
        self._flying[item] = now, doubtful

    def ended(self, item: Hashable, now: datetime) -> None:
        """Count it no more, if it is one."""
        if found := self._flying.pop(item, None):
            self._turn = now + (now - found[0]) * (SHARE - 1)

    def dropped(self, item: Hashable) -> None:
        """Hear that one was not sent after all."""
        self._flying.pop(item, None)

    def may(self, now: datetime, *, allowed: int, concurrency: int, presses: Callable[[], bool], pace: bool) -> Beside:
        """Return what may be sent, where so many may be in flight.

        `presses` says whether a live event could be sent that never was. `pace`: the part of the rate that is theirs has room; it
        bounds replays at any time.
        """
        flying = len(self._flying)
        first = pace and not flying
        if pace and flying < allowed // SHARE:
            return ALL
        if presses():
            return ALL if first and now >= self._turn else NONE
        if first:
            return ALL
        doubtful = sum(doubtful for _, doubtful in self._flying.values())
        return beyond(flying, doubtful, allowed=allowed, concurrency=concurrency, pace=pace)


def most(allowed: int) -> int:
    """Return how many of so many requests may be in flight where no live event waits."""
    return allowed - allowed // SHARE


def beyond(flying: int, doubtful: int, *, allowed: int, concurrency: int, pace: bool) -> Beside:
    """Return what may be sent though the sure share is used up, as no live event waits.

    `doubtful` of those `flying` may be slow to fail. They are held to their share of what the destination is said to take, not
    of what it may get after a failing spell: else what only they can prove would never be proven. `pace`: the sure part of the
    rate has room, which bounds replays at any time.
    """
    if flying >= most(allowed):
        return NONE
    doubts = doubtful < max(concurrency // SHARE, 1)
    return Beside(rows=True, again=doubts, aside=doubts and pace)
