"""Reading topics backwards, the newest first over all their indexes: in pieces, of which only what is wanted is kept."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, Generic, TypeVar

from workers.bus.contract import Browser, Held

FIRST: Final = 64  # offsets of the first piece of an index; each further one is twice as long
LONGEST: Final = 512
SCANNED: Final = 200_000  # records looked at for one answer
SECONDS: Final = 20.0  # for them
UNKNOWN: Final = datetime.max.replace(tzinfo=UTC)

T = TypeVar("T")
Keep = Callable[[Held], T | None]  # what is kept of a record; None: it is not wanted


@dataclass
class Allowance:
    """How much one answer may look at."""

    records: int = SCANNED
    until: float = field(default_factory=lambda: time.monotonic() + SECONDS)
    used: int = 0
    ended: bool = False  # before everything was looked at

    def over(self) -> bool:
        """Say whether it is used up, and remember that it was asked for more."""
        self.ended = self.used >= self.records or time.monotonic() > self.until
        return self.ended


@dataclass
class Tail(Generic[T]):
    """One index, of which everything from `unread` on was read; nothing of interest lies below `floor`."""

    topic: str
    index: int
    floor: int
    unread: int
    bound: datetime | None = None  # nothing unread is newer; None: that is not known yet
    kept: list[tuple[datetime, T]] = field(default_factory=list)  # the newest last
    length: int = FIRST

    def piece(self) -> tuple[int, int]:
        """Return the offsets [low, high) to be read next, and count them as read."""
        low, high = max(self.floor, self.unread - self.length), self.unread
        self.unread, self.length = low, min(2 * self.length, LONGEST)
        return low, high

    def leave(self) -> None:
        """Read no more of it."""
        self.unread = self.floor


async def newest(
    browser: Browser, tails: Sequence[Tail[T]], keep: Keep[T], allowance: Allowance, *, together: bool = False
) -> AsyncIterator[T]:
    """Yield what is kept, the newest first, until the allowance is used up.

    `together`: all that is wanted lies in one index, and once that is known the others are left alone.
    """
    while True:
        if (behind := next_to_read(tails)) is not None:
            if allowance.over():
                return
            await _read(browser, behind, keep, allowance)
            if together and behind.kept:
                _leave_others(behind, tails)
        elif (full := next_to_hand_out(tails)) is not None:
            yield full.kept.pop()[1]
        else:
            return


async def tails(browser: Browser, topic: str, since: datetime | None = None) -> list[Tail[T]]:
    """Return the indexes of a topic, as yet unread, down to a time or to the oldest that is kept."""
    floors = await browser.since(topic, since) if since else {}
    spans = await browser.spans(topic)
    return [Tail(topic, span.index, max(span.first, floors.get(span.index, span.first)), span.next) for span in spans]


def next_to_read(tails: Sequence[Tail[T]]) -> Tail[T] | None:
    """Return the index that may hold something newer than all that is kept, None where none can."""
    latest = max((tail for tail in tails if tail.unread > tail.floor), key=_bound, default=None)
    ready = next_to_hand_out(tails)
    return None if latest and ready and _bound(latest) <= ready.kept[-1][0] else latest


def next_to_hand_out(tails: Sequence[Tail[T]]) -> Tail[T] | None:
    """Return the index that holds the newest of all that is kept."""
    return max((tail for tail in tails if tail.kept), key=lambda tail: tail.kept[-1][0], default=None)


def _bound(tail: Tail[T]) -> datetime:
    return tail.bound or UNKNOWN


async def _read(browser: Browser, tail: Tail[T], keep: Keep[T], allowance: Allowance) -> None:
    """Read one piece; then rest for as long as that took: whatever else this process does goes first."""
    offset, high = tail.piece()
    found: list[tuple[datetime, T]] = []
    oldest: datetime | None = None
    began = time.monotonic()
    while offset < high and (held := await browser.read(tail.topic, tail.index, offset, high - offset)):
        mine = [one for one in held if one.offset < high]
        oldest = oldest or (mine[0].time if mine else None)
        found += [(one.time, kept) for one in mine if (kept := keep(one)) is not None]
        allowance.used += len(mine)
        offset = held[-1].offset + 1
    tail.bound = oldest or tail.bound
    tail.kept = found + tail.kept
    await asyncio.sleep(time.monotonic() - began)


def _leave_others(found: Tail[T], tails: Sequence[Tail[T]]) -> None:
    for tail in tails:
        if tail is not found:
            tail.leave()
