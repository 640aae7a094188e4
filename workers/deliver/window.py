"""The offsets in flight of one lane: keys in parallel, one key in order, and a note of what is finished. Pure.

A bigger file on purpose: the queue, the heap and the note are one invariant. Finished is every offset below the end that
is not open; so offsets that the log skips (transaction markers, compaction) and events passed over count as finished.
"""

import heapq
import struct
from collections import OrderedDict, deque
from collections.abc import Hashable
from datetime import datetime
from typing import Final, Generic, TypeVar

from msgspec.structs import replace

from workers.deliver.policy import Again, Bury, Cancel, Decision, Done, Tries

T = TypeVar("T")

LIMIT: Final = 1_024  # offsets between the lowest unfinished and the end, as many as the note has bits
BYTES_LIMIT: Final = 8 * 1024 * 1024  # of records held; the last batch fetched may go over
BURIED_KEYS_LIMIT: Final = 10_000  # keys remembered whose last event was buried; the oldest are forgotten
_HEAD: Final = struct.Struct(">QQ")  # n, and the offset that bit 0 of the bitmap stands for
_BITMAP: Final = LIMIT // 8


class Item(Generic[T]):
    """One open offset: what to send, and what it went through so far."""

    __slots__ = ("key", "load", "offset", "since", "size", "tries")

    def __init__(self, offset: int, key: Hashable | None, load: T, since: datetime, size: int) -> None:
        self.offset = offset
        self.since = since
        self.key = key
        self.load = load
        self.size = size
        self.tries: Tries | None = None


class Window(Generic[T]):
    """Tells which events of a lane may be sent now, and how far the lane may be committed."""

    def __init__(self, start: int, *, n: int = 0, finished: int = 0) -> None:
        self.n = n
        self.end = start  # just after the last offset seen
        self.bytes = 0
        self.changes = 0  # rises whenever there is something new to commit
        self._start, self._finished = start, finished  # from the note: bit i set means start + i was finished before
        self._open: dict[int, Item[T]] = {}  # in order of offsets
        self._queues: dict[Hashable, deque[Item[T]]] = {}  # per key, the first is sent or due; keys of one event stand here too
        self._due: list[tuple[datetime, int]] = []  # heap of firsts that are not in flight
        self._buried: OrderedDict[Hashable, None] = OrderedDict()

    @classmethod
    def from_note(cls, start: int, note: bytes) -> "Window[T]":
        """Return the window that a session begins with; an empty or foreign note means that nothing above `start` is finished.

        A start below the note's own is an operator's reset: what was finished there is wanted again.
        """
        if len(note) < _HEAD.size or len(note) > _HEAD.size + _BITMAP:
            return cls(start)
        n, base = _HEAD.unpack_from(note)
        if not base <= start <= base + LIMIT:
            return cls(start, n=n)
        return cls(start, n=n, finished=int.from_bytes(note[_HEAD.size :], "little") >> (start - base))

    def note(self, n: int) -> bytes:
        """Return `n` and which offsets from `next()` on are finished: at most 144 bytes."""
        self.n = n
        base = self.next()
        bits = (1 << min(self.end - base, LIMIT)) - 1
        for offset in self._open:
            if offset - base < LIMIT:
                bits &= ~(1 << (offset - base))
        bits |= self._known_from(base) & ((1 << LIMIT) - 1)
        return _HEAD.pack(n, base) + bits.to_bytes((bits.bit_length() + 7) // 8, "little")

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
        return 0 if self.bytes >= BYTES_LIMIT else max(LIMIT - (self.end - self.next()), 0)

    def oldest(self) -> T | None:
        """Return what the lowest unfinished offset carries."""
        return next((item.load for item in self._open.values()), None)

    def idle(self, now: datetime) -> bool:
        """Say whether there is nothing that could be sent now."""
        return not self._due or self._due[0][0] > now

    def skip(self, offset: int) -> None:
        """Count everything up to `offset` that is not open as finished."""
        if offset >= self.end:
            self.end = offset + 1
            self.changes += 1

    def admit(self, offset: int, key: Hashable | None, load: T, now: datetime, size: int = 0) -> bool:
        """Open an offset; False where it lies below the end, or the note says that it was finished before. Key None: no order."""
        if offset < self.end:
            return False
        self.skip(offset)
        if self._finished >> (offset - self._start) & 1:
            return False
        item = Item(offset, key, load, now, size)
        self._open[offset] = item
        self.bytes += size
        self._enqueue(item)
        return True

    def _enqueue(self, item: Item[T]) -> None:
        if item.key is not None:
            queue = self._queues.setdefault(item.key, deque())
            queue.append(item)
            if len(queue) > 1:
                return
        heapq.heappush(self._due, (item.since, item.offset))

    def ready(self, now: datetime, room: int) -> list[Item[T]]:
        """Take at most `room` events that may be sent now, those that wait longest first; each must be settled."""
        taken: list[Item[T]] = []
        while len(taken) < room and self._due and self._due[0][0] <= now:
            taken.append(self._open[heapq.heappop(self._due)[1]])
        return taken

    def settle(self, offset: int, decision: Decision) -> None:
        """Finish an event that is done, buried or cancelled, which frees the next of its key; or let it wait until it is due."""
        item = self._open[offset]
        match decision:
            case Again(at=at, spent=spent):
                if spent and item.tries:
                    item.tries = replace(item.tries, spent=item.tries.spent + 1)
                heapq.heappush(self._due, (at, offset))
            case Done():
                self._buried.pop(item.key, None)
                self._finish(item)
            case Bury():
                self._remember(item.key)
                self._finish(item)
            case Cancel():
                self._finish(item)

    def _finish(self, item: Item[T]) -> None:
        del self._open[item.offset]
        self.bytes -= item.size
        self.changes += 1
        if item.key is None:
            return
        queue = self._queues[item.key]
        queue.popleft()
        if queue:
            heapq.heappush(self._due, (queue[0].since, queue[0].offset))
        else:
            del self._queues[item.key]

    def _remember(self, key: Hashable | None) -> None:
        if key is None:
            return
        self._buried[key] = None
        self._buried.move_to_end(key)
        if len(self._buried) > BURIED_KEYS_LIMIT:
            self._buried.popitem(last=False)

    def single(self, item: Item[T]) -> bool:
        """Say whether an event of the same key was buried and none succeeded since: this one gets a single attempt."""
        return item.key in self._buried
