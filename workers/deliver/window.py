"""The offsets in flight of one lane: keys in parallel, one key in order, and a note of what is finished. Pure.

A bigger file on purpose: the queues, what is due and the note are one invariant. Finished is every offset below the end that
is not open; so offsets that the log skips (transaction markers, compaction) and events passed over count as finished.
"""

import struct
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import Final, Generic, TypeVar

from workers.deliver.agenda import Agenda
from workers.deliver.buried import Buried
from workers.deliver.policy import Again, Bury, Decision, Done, Tries, counted

T = TypeVar("T")

LIMIT: Final = 1_024  # offsets open, from which on no more are fetched
SPAN: Final = 3 * LIMIT  # offsets from the lowest unfinished to the end, likewise: one request that hangs holds nobody up so soon
MOST: Final = 0.75  # of the offsets spanned
BYTES_LIMIT: Final = 8 * 1024 * 1024  # of records held; the last batch fetched may go over
Company = tuple[int, ...]  # offsets of those that may share a request, the event's own among them
_HEAD: Final = struct.Struct(">BQQ")  # the layout, n, and the offset that bit 0 of the bitmap stands for
_LAYOUT: Final = 1
BITS: Final = 4 * LIMIT  # that a note holds: transaction markers take offsets too, so a window may span more of them
_BITMAP: Final = BITS // 8


class Item(Generic[T]):
    """One open offset: what to send, and what it went through so far."""

    __slots__ = ("company", "due", "early", "flying", "key", "line", "load", "offset", "since", "size", "tries")

    def __init__(
        self,
        offset: int,
        key: Hashable | None,
        load: T,
        due: datetime,
        *,
        size: int = 0,
        since: float = 0.0,
        line: str | None = None,
    ) -> None:
        self.offset = offset
        self.due = due
        self.early: datetime | None = None  # when the schedule has it, where it is due before
        self.since = since  # epoch seconds when the bus took it
        self.key = key
        self.load = load
        self.size = size
        self.flying = False
        self.line = line  # what the line is called in which it waits; None: it is of the log
        self.tries: Tries | None = None
        self.company: Company | None = None  # who may be in its next request; None: whoever goes just then

    @property
    def scheduled(self) -> datetime:
        """Return when it is due by the schedule."""
        return max(self.due, self.early or self.due)

    def hurry(self, now: datetime) -> None:
        """Let it be due now."""
        self.due, self.early = now, self.scheduled

    def put_off(self, due: datetime) -> None:
        """Let it be due then; before its time by the schedule it stays early."""
        self.due = due
        self.early = self.early if self.early and self.early > due else None

    @property
    def judged(self) -> bool:
        """Say whether any attempt was for it alone: then each of its next ones is."""
        return self.tries is not None and self.tries.judged


class Window(Generic[T]):
    """Tells which events of a lane may be sent now, and how far the lane may be committed."""

    def __init__(self, start: int, *, finished: int = 0, buried: Buried | None = None) -> None:
        self.end = start  # just after the last offset seen
        self.bytes = 0
        self.changes = 0  # rises whenever there is something new to commit
        self._start, self._finished = start, finished  # from the note: bit i set means start + i was finished before
        self._open: dict[int, Item[T]] = {}  # in order of offsets
        self._queues: dict[Hashable, deque[Item[T]]] = {}  # per key, the first is sent or due; keys of one event stand here too
        self._new = Agenda()  # firsts that are not in flight and never failed alone
        self._few = Agenda()  # likewise of those that may share a request with certain others only, or with nobody
        self._again = Agenda()  # likewise of those that failed alone
        self._failed: dict[int, Item[T]] = {}  # tried before, open still
        self.buried = buried or Buried()
        self._resumed_at = datetime.min.replace(tzinfo=UTC)  # what was tried before and fails after is due at once

    @classmethod
    def from_note(cls, start: int, note: bytes, buried: Buried | None = None) -> "Window[T]":
        """Return the window that a session begins with; an empty or foreign note means that nothing above `start` is finished.

        A start below the note's own is an operator's reset: what was finished there is wanted again.
        """
        if len(note) < _HEAD.size or len(note) > _HEAD.size + _BITMAP:
            return cls(start, buried=buried)
        layout, _, base = _HEAD.unpack_from(note)
        if layout != _LAYOUT or not base <= start <= base + BITS:
            return cls(start, buried=buried)
        return cls(start, finished=int.from_bytes(note[_HEAD.size :], "little") >> (start - base), buried=buried)

    def note(self, n: int) -> bytes:
        """Return `n` and which offsets from `next()` on are finished: at most 529 bytes."""
        base = self.next()
        bits = (1 << min(self.end - base, BITS)) - 1
        for offset in self._open:
            if offset - base < BITS:
                bits &= ~(1 << (offset - base))
        bits |= self._known_from(base) & ((1 << BITS) - 1)
        return _HEAD.pack(_LAYOUT, n, base) + bits.to_bytes((bits.bit_length() + 7) // 8, "little")

    def _known_from(self, base: int) -> int:
        """Return what the former note knew of offsets that this session has not seen yet, as bits from `base`."""
        return self._finished >> (self.end - self._start) << (self.end - base)

    def next(self) -> int:
        """Return the lowest unfinished offset: what to commit."""
        return next(iter(self._open), self.end)

    @property
    def open(self) -> int:
        """How many offsets are unfinished."""
        return len(self._open)

    @property
    def free(self) -> int:
        """How many more offsets may be admitted."""
        return 0 if self.bytes >= BYTES_LIMIT else max(min(LIMIT - self.open, SPAN - self._span), 0)

    @property
    def _span(self) -> int:
        return self.end - self.next()

    def held_up(self, now: datetime) -> bool:
        """Say whether nothing more may be admitted although nothing that is new could be sent now."""
        return not self.free and not self.has_untried(now)

    def oldest(self) -> float | None:
        """Return since when the bus has the lowest unfinished offset, in epoch seconds; None where there is none."""
        return next((item.since for item in self._open.values()), None)

    def idle(self, now: datetime) -> bool:
        """Say whether there is nothing that could be sent now."""
        return not self.has_untried(now) and self._again.first(now) is None

    def skip(self, offset: int) -> None:
        """Count everything up to `offset` that is not open as finished."""
        if offset >= self.end:
            self.end = offset + 1
            self.changes += 1

    def admit(self, item: Item[T]) -> bool:
        """Open an offset; False where it lies below the end, or the note says that it was finished before. Key None: no order."""
        if not self.hold(item):
            return False
        self._enqueue(item)
        return True

    def _enqueue(self, item: Item[T]) -> None:
        if item.key is not None:
            queue = self._queues.setdefault(item.key, deque())
            queue.append(item)
            if len(queue) > 1:
                return
        self._offer(item)

    def _offer(self, item: Item[T]) -> None:
        if item.company is None and item.key in self.buried:
            item.company = (item.offset,)  # its only attempt is for it alone, and likely in vain: it would take others along
        self._agenda(item).put(item.offset, item.due)

    def _agenda(self, item: Item[T]) -> Agenda:
        if item.judged:
            return self._again
        return self._new if item.company is None else self._few

    def untried(self, now: datetime) -> Item[T] | None:
        """Take the next event that may be sent now and never failed alone; it must be settled."""
        due = [(agenda.since(), first) for agenda in (self._new, self._few) if (first := agenda.first(now)) is not None]
        return self._taken_out(self._open[min(due)[1]]) if due else None

    def another(self, now: datetime, fits: Callable[[T], bool]) -> Item[T] | None:
        """Take the next event of those that may share a request with whomever, if it fits; it must be settled."""
        first = self._first(self._new, now)
        return self._taken_out(first) if first and fits(first.load) else None

    def fellows(self, item: Item[T], now: datetime) -> list[Item[T]]:
        """Take those that are to be in one request with this one, as far as they may be sent now; they must be settled."""
        due = [self._open[offset] for offset in item.company or () if self._few.is_due(offset, now)]
        return [self._taken_out(one) for one in due if one.company is item.company]

    def sample(self, now: datetime, dice: float) -> Item[T] | None:
        """Take some event as `untried` does, whichever `dice` in [0, 1) says; it must be settled."""
        new, few = len(self._new), len(self._few)
        at = dice * (new + few)
        offset = self._new.sample(now, at / new) if at < new else self._few.sample(now, (at - new) / max(few, 1))
        return self.untried(now) if offset is None else self._taken_out(self._open[offset])

    def has_untried(self, now: datetime) -> bool:
        """Say whether there is an event that may be sent now and never failed alone."""
        return self._new.first(now) is not None or self._few.first(now) is not None

    def again(self, now: datetime) -> Item[T] | None:
        """Take the next event that may be sent now and failed alone before; it must be settled."""
        return self._taken_out(first) if (first := self._first(self._again, now)) else None

    def _first(self, agenda: Agenda, now: datetime) -> Item[T] | None:
        return None if (offset := agenda.first(now)) is None else self._open[offset]

    def _taken_out(self, item: Item[T]) -> Item[T]:
        self._agenda(item).drop(item.offset)
        item.flying = True
        return item

    def settle(self, offset: int, decision: Decision) -> None:
        """Finish an event that is done, buried or cancelled, which frees the next of its key; or let it wait until it is due."""
        item = self._open[offset]
        item.flying = False
        if isinstance(decision, Again):
            item.put_off(decision.at)
            item.tries = counted(item.tries, decision)
            if item.tries and item.tries.latest < self._resumed_at:
                item.hurry(self._resumed_at)
            self._failed[offset] = item
            self._offer(item)
            return
        judge(self.buried, item.key, decision)
        self.finish([item])
        if item.key is not None:
            self._next_of(item.key)

    def finish(self, items: Sequence[Item[T]]) -> None:
        """Count offsets as finished: nothing more is to be done for them here."""
        for item in items:
            del self._open[item.offset]
            self._failed.pop(item.offset, None)
            self.bytes -= item.size
            self.changes += 1

    def _next_of(self, key: Hashable) -> None:
        queue = self._queues[key]
        queue.popleft()
        if queue:
            self._offer(queue[0])
        else:
            del self._queues[key]

    def stuck(self, before: datetime, now: datetime) -> list[Item[T]]:
        """Return the events at rest whose first attempt began before then: each holds up its key.

        Not those that never failed alone and may go now: they wait for nothing but their turn.
        """
        tried = [item for item in self._failed.values() if not item.flying and item.tries and item.tries.first < before]
        return [item for item in tried if item.judged or item.due > now]

    def foremost(self, span: int, now: datetime) -> list[Item[T]]:
        """Return those of them, whenever they failed, that keep the window from going on by so many offsets."""
        return [item for item in self.stuck(datetime.max.replace(tzinfo=UTC), now) if item.offset < self.next() + span]

    def hurry(self, now: datetime) -> None:
        """Let what failed before be due now, and what is under way where it fails."""
        self._resumed_at = now
        for item in self._failed.values():
            if not item.flying and item.due > now:
                item.hurry(now)
                self._agenda(item).put(item.offset, now)

    def slow(self) -> Hashable | None:
        """Return the key whose first is in flight with others behind it, and keeps the window from going on; None: nobody's does.

        Nor where most of what came since is not finished either: all are slow then, and nobody is served by moving some.
        """
        lowest = next(iter(self._open.values()), None)
        if lowest is None or not lowest.flying or len(self._open) > MOST * self._span:
            return None
        return lowest.key if len(self._queues.get(lowest.key, ())) > 1 else None

    def first(self, key: Hashable) -> Item[T] | None:
        """Return the event of a key that is next."""
        return self._queues[key][0] if key in self._queues else None

    def take(self, item: Item[T]) -> Sequence[Item[T]]:
        """Take an event at rest and all that follow it in its key out of the queues; their offsets stay open until `finish`."""
        taken = [item] if item.key is None else [*self._queues.pop(item.key)]
        self._failed.pop(item.offset, None)
        self._agenda(item).drop(item.offset)
        return taken

    def hold(self, item: Item[T]) -> bool:
        """Open an offset that is not to be sent from here, since its key waits elsewhere; False as above."""
        if item.offset < self.end:
            return False
        self.skip(item.offset)
        if self._finished >> (item.offset - self._start) & 1:
            return False
        self._open[item.offset] = item
        self.bytes += item.size
        return True


def part(items: Sequence[Item[T]]) -> None:
    """Let what shared a request come again in two, none of them larger than the other by more than one event."""
    every, middle = sorted(items, key=attrgetter("offset")), (len(items) + 1) // 2
    for half in (every[:middle], every[middle:]):
        company = tuple(item.offset for item in half)
        for item in half:
            item.company = company


def noted(note: bytes) -> int | None:
    """Return the `n` of a note; None where it holds none of ours."""
    ours = len(note) >= _HEAD.size and note[0] == _LAYOUT
    return _HEAD.unpack_from(note)[1] if ours else None


def judge(buried: Buried, key: Hashable | None, decision: Decision) -> None:
    """Remember what a decision about one of its events means for those that follow in its key."""
    if isinstance(decision, Done):
        buried.discard(key)
    elif isinstance(decision, Bury) and not decision.unsent:
        buried.add(key)
