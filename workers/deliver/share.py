"""How much of a destination goes to what is not new: keys that wait in rows, and replays. Pure.

Live events that could be sent have all but a part in `SHARE` to themselves. Where none could, what waits in rows takes what
they leave, but for as large a part, which the next live ones find free. What may be slow to fail never gets more than the
smaller part: rows that failed before, and replays, which nobody has tried lately.
"""

from typing import Final

import msgspec

SHARE: Final = 4


class Beside(msgspec.Struct, frozen=True, gc=False):
    """What may be sent besides live events, now."""

    rows: bool  # what waits in rows behind others that got through
    again: bool  # also what failed before
    aside: bool  # replays and the like


ALL: Final = Beside(rows=True, again=True, aside=True)
NONE: Final = Beside(rows=False, again=False, aside=False)


def sure(allowed: int) -> int:
    """Return how many of so many requests may be in flight beside live events that wait."""
    return max(allowed // SHARE, 1)


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
    doubts = doubtful < sure(concurrency)
    return Beside(rows=True, again=doubts, aside=doubts and pace)
