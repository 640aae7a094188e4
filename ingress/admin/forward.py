"""Reading a topic onwards, all indexes together, in the order in which the bus took the records."""

import heapq
from collections.abc import Iterator, Sequence
from itertools import accumulate

import msgspec

from ingress.admin.cursor import Positions
from workers.bus.contract import Browser, Held, Span


class Stretch(msgspec.Struct, frozen=True):
    """What was read of one index, and whether that is all there is of it."""

    held: Sequence[Held]
    whole: bool


def in_order(stretches: Sequence[Stretch]) -> Iterator[Held]:
    """Yield the records in order of time, up to where something earlier may be unread still; each index keeps its own order.

    Of at least one index that is not whole everything comes.
    """
    timed = [list(zip(accumulate((held.time for held in each.held), max), each.held, strict=True)) for each in stretches]
    ends = [rows[-1][0] for rows, each in zip(timed, stretches, strict=True) if rows and not each.whole]
    horizon = min(ends, default=None)
    for time, held in heapq.merge(*timed, key=lambda row: row[0]):
        if horizon is not None and time > horizon:
            return
        yield held


def unread(positions: Positions, spans: Sequence[Span]) -> list[Span]:
    """Return the spans with something behind their position."""
    return [span for span in spans if positions[span.index] < span.next]


def expired(positions: Positions, spans: Sequence[Span]) -> int:
    """Return how many offsets were gone before their position came to them."""
    return sum(max(0, span.first - positions[span.index]) for span in spans)


async def stretch(browser: Browser, topic: str, span: Span, offset: int, limit: int) -> Stretch:
    """Read on in one index."""
    held = await browser.read(topic, span.index, offset, limit)
    return Stretch(held, whole=not held or held[-1].offset + 1 >= span.next)


async def onward(
    browser: Browser, topic: str, positions: Positions, spans: Sequence[Span], limit: int
) -> tuple[Sequence[Held], Positions]:
    """Return the next records, about `limit` at most and none only at the end, and where each index stands before them."""
    behind = unread(positions, spans)
    each = -(-limit // len(behind)) if behind else 0
    read = {span.index: await stretch(browser, topic, span, positions[span.index], each) for span in behind}
    empty = {span.index: span.next for span in behind if not read[span.index].held}  # markers alone
    return list(in_order([*read.values()])), {**positions, **empty}
