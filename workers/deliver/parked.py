"""Keys that wait in rows because an event of theirs takes too long: the log goes on without them. Pure.

A bigger file on purpose, as the window is: what is stored, what is loaded and what is to be written are one invariant. Per key
one line of rows, the oldest first; only the first is ever sent. A line is here from when its events leave the window's queues
until its last row is gone; what the store does not know of it yet is handed out by `change`.
"""

import heapq
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from operator import itemgetter
from typing import Final, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from workers.deliver.buried import Buried
from workers.deliver.policy import AT_ONCE, Again, Decision, Done, Standard, Tries, counted
from workers.deliver.window import Item, judge
from workers.runtime.lines import TOTAL, Line

T = TypeVar("T")
_PLAIN: Final = re.compile(r"[\x20-\x7e]{1,512}")

_TRIES: Final = msgspec.msgpack.Decoder(Tries)

KEYS_LIMIT: Final = 5_000  # lines of a lane; beyond them keys hold up their lane's window, and nothing is lost
ROWS_LIMIT: Final = 1_000_000  # of a lane; beyond them its lane's log waits
EASED: Final = 0.9  # of either: from there down it is not crowded any more, lest that come and go with each key
LOADED_BYTES: Final = 1024 * 1024  # of rows held in memory to be sent
LOT: Final = 100  # events that join at once, which are kept in memory until they are written
AHEAD: Final = 32  # rows read at once of a line that goes on


def kind_of(key: str) -> str:
    """Return the sign with which the lines of a destination begin: d(evice), a(ccount), n(one)."""
    return key[0]


def name_of(kind: str, key: Hashable | None, offset: int) -> str:
    """Return what the line of a key is called; an event without one has a line to itself. Never that of all lines together."""
    if key is None:
        return f"{kind}-{offset}"
    text = str(key)
    return f"{kind}={text}" if _PLAIN.fullmatch(text) else f"{kind}#{sha256(text.encode(errors='surrogatepass')).hexdigest()}"


class Tried(msgspec.Struct, frozen=True, gc=False):
    """What the first of a line went through, and when it is due again; `offset` says whose that is.

    Packed as the store has it: thousands of lines may wait in memory, each with up to nine attempts behind it.
    """

    offset: int
    due: datetime
    packed: bytes

    @classmethod
    def of(cls, offset: int, due: datetime, tries: Tries) -> "Tried":
        """Pack what an event went through."""
        return cls(offset, due, msgspec.msgpack.encode(tries))

    @property
    def tries(self) -> Tries:
        """What it went through."""
        return _TRIES.decode(self.packed)


Latest = Callable[[Tries, datetime], datetime]  # `Policy.latest`


def believed(tried: Tried, now: datetime, latest: Latest) -> Tried:
    """Return what was tried as it can have been by our clock: one ahead of it noted attempts to come, and a retry after days."""
    tries = tried.tries
    before = replace(tries, first=min(tries.first, now), previous=min(tries.previous, now), latest=min(tries.latest, now))
    due = min(tried.due, latest(before, now))
    return tried if (due, before) == (tried.due, tries) else Tried.of(tried.offset, due, before)


class Kept(msgspec.Struct, frozen=True):
    """A line as the store has it; `since`: epoch seconds when the bus took its first."""

    line: Line
    since: float = 0.0
    tried: Tried | None = None


class Change(msgspec.Struct, Generic[T], frozen=True):
    """What is to be written: rows that join, rows that leave (through which sequence), and what was tried, by line.

    `marks` are those of `Buried`, and whether they stand.
    """

    joining: Mapping[str, Sequence[Item[T]]]
    leaving: Mapping[str, int]
    tried: Mapping[str, Tried]
    marks: Mapping[str, bool]

    def __bool__(self) -> bool:
        return bool(self.joining or self.leaving or self.tried or self.marks)

    @property
    def names(self) -> set[str]:
        """The lines that it is about."""
        return {*self.joining, *self.leaving, *self.tried}


class _Queue(Generic[T]):
    """A line in memory: of its stored rows, `first` to `last` are not done."""

    __slots__ = ("due", "first", "flows", "joining", "last", "loaded", "since", "tried", "writes")

    def __init__(self, first: int, last: int, due: datetime, since: float) -> None:
        self.first, self.last, self.due, self.since = first, last, due, since
        self.joining: list[Item[T]] = []  # not stored yet
        self.loaded: list[Item[T]] = []  # its oldest rows, in memory to be sent: few
        self.tried: Tried | None = None
        self.writes = False  # the store does not know `tried` yet
        self.flows = False  # its last event found its way: the next ones are worth reading, too

    @property
    def rows(self) -> int:
        return self.last - self.first + 1


class Parked(Generic[T]):
    """Tells which waiting events may be sent now, and what the store must learn."""

    def __init__(
        self,
        kept: Iterable[Kept],
        now: datetime,
        *,
        kind: str = "d",
        buried: Buried | None = None,
        latest: Latest | None = None,
        resumed_at: datetime = AT_ONCE,
    ) -> None:
        """`kind` is of what the keys are, as `kind_of` says it; `latest` is the policy's.

        What was last tried before the destination was resumed is due at once.
        """
        self._kind, self._latest, self._resumed_at = kind, latest or Standard().latest, resumed_at
        self.buried = buried or Buried()
        self.rows = 0
        self._bytes = self._foreign = 0
        self._queues: dict[str, _Queue[T]] = {}
        self._stored = {TOTAL: Line(TOTAL)}
        self._news: set[str] = set()  # lines of which the store does not know all
        self._done: dict[str, int] = {}  # through which sequence rows are done that the store still has
        self._unread: list[tuple[datetime, str]] = []  # heap of lines none of which is loaded
        self._due: list[tuple[datetime, str]] = []  # heap of lines whose first is loaded, was never sent and is not in flight
        self._due_again: list[tuple[datetime, str]] = []  # the same of those whose first failed before
        self.take_in(kept, now)

    def take_in(self, kept: Iterable[Kept], now: datetime) -> None:
        """Learn of lines that the store has, before any event."""
        for one in kept:
            self._take_in(one, now)

    def _take_in(self, one: Kept, now: datetime) -> None:
        name = one.line.key
        self._stored[name] = one.line
        if name != TOTAL:
            tried = believed(one.tried, now, self._latest) if one.tried else None
            due = min(now, tried.due) if tried and tried.tries.latest < self._resumed_at else tried and tried.due
            queue = self._queues[name] = _Queue[T](one.line.first, one.line.last, due or now, one.since)
            queue.tried = tried
            if tried and one.tried and tried.due < one.tried.due:
                self._learns(name, queue)  # else each opening would begin the same wait anew
            self.rows += queue.rows
            heapq.heappush(self._unread, (queue.due, name))
            self._foreign += name[0] != self._kind

    def _learns(self, name: str, queue: _Queue[T]) -> None:
        """Let the store learn what was tried."""
        queue.writes = True
        self._news.add(name)

    def blocks(self, key: Hashable | None, *, known: bool = True) -> bool:
        """Say whether events of this key wait, so that the next ones must; not `known`: those count that the store still has."""
        if key is None:
            return False
        name = name_of(self._kind, key, 0)
        return name in self._queues or (not known and name in self._done)

    @property
    def foreign(self) -> bool:
        """Say whether lines are left that began under another `key` of the destination: order is theirs first."""
        return bool(self._foreign)

    @property
    def crowded(self) -> bool:
        """Say whether no further key may come."""
        return len(self._queues) >= KEYS_LIMIT or self.full

    @property
    def eased(self) -> bool:
        """Say whether more than a few further keys may come."""
        return len(self._queues) < EASED * KEYS_LIMIT and self.rows < EASED * ROWS_LIMIT

    @property
    def keys(self) -> int:
        """How many keys wait."""
        return len(self._queues)

    @property
    def full(self) -> bool:
        """Say whether nothing more may come."""
        return self.rows >= ROWS_LIMIT

    @property
    def changed(self) -> bool:
        """Say whether the store does not know all."""
        return self.moved or self.buried.changed

    @property
    def moved(self) -> bool:
        """Say whether it does not know all of what waits."""
        return bool(self._news)

    @property
    def urgent(self) -> bool:
        """Say whether the store lacks more than a few events that joined, which are safe on the bus meanwhile."""
        news = [self._queues[name] for name in self._news if name in self._queues]
        return bool(self._done) or any(queue.writes for queue in news) or sum(len(queue.joining) for queue in news) >= LOT

    def oldest(self) -> float | None:
        """Return since when the oldest waits, in epoch seconds, or a little earlier; None where none does."""
        return min((queue.since for queue in self._queues.values()), default=None)

    def join(self, items: Sequence[Item[T]]) -> None:
        """Let events of one key wait, behind those that wait already; the first brings what it went through."""
        name = name_of(self._kind, items[0].key, items[0].offset)
        queue = self._queues.get(name)
        if queue is None:
            last = self._stored[name].last if name in self._stored else 0
            queue = self._queues[name] = _Queue[T](last + 1, last, items[0].due, items[0].since)
            if items[0].tries:
                queue.tried, queue.writes = Tried.of(items[0].offset, items[0].scheduled, items[0].tries), True
        queue.joining += items
        self._news.add(name)

    def wanted(self, now: datetime) -> dict[str, tuple[int, int]]:
        """Return which rows are to be read now (first and last, by line); each line must then be `load`ed, if with nothing."""
        wanted: dict[str, tuple[int, int]] = {}
        room = AHEAD if self._bytes < LOADED_BYTES else 0
        while room > 0 and self._unread and self._unread[0][0] <= now:
            name = heapq.heappop(self._unread)[1]
            queue = self._queues[name]
            most = min(queue.rows, room if queue.flows else 1)
            wanted[name] = queue.first, queue.first + most - 1
            room -= most
        return wanted

    def load(self, name: str, items: Sequence[Item[T]]) -> None:
        """Take in the rows that were read of a line; where there are none, it is read again."""
        queue = self._queues[name]
        if not items:
            heapq.heappush(self._unread, (queue.due, name))
            return
        queue.loaded.extend(items)
        queue.since = items[0].since or queue.since
        self._bytes += sum(item.size for item in items)
        if queue.tried and queue.tried.offset == items[0].offset:
            items[0].tries = queue.tried.tries
            items[0].due, items[0].early = queue.due, queue.tried.due if queue.tried.due > queue.due else None
        self._offer(name, queue)

    def _offer(self, name: str, queue: _Queue[T]) -> None:
        heapq.heappush(self._due_again if queue.loaded[0].tries else self._due, (queue.due, name))

    def hurry(self, now: datetime) -> None:
        """Let all that waits be due now; what it was due by stays known, as no attempt before is a verdict.

        What joins, and what is under way, follows once it is written or has failed.
        """
        self._resumed_at = now
        for queue in self._queues.values():
            if queue.joining and not queue.rows:
                queue.due = min(queue.due, now)
        self._unread = [(min(due, now), name) for due, name in self._unread]
        heapq.heapify(self._unread)
        for due, name in self._unread:
            self._queues[name].due = due

    def next_due(self) -> datetime | None:
        """Return when the first that is not in flight is due; None where there is none."""
        return min((heap[0][0] for heap in (self._unread, self._due, self._due_again) if heap), default=None)

    def idle(self, now: datetime) -> bool:
        """Say whether there is nothing that could be sent now."""
        return not any(heap and heap[0][0] <= now for heap in (self._due, self._due_again))

    def ready(self, now: datetime, *, again: bool = True) -> Item[T] | None:
        """Take an event that may be sent now, of those that failed before only where `again`; it must be settled."""
        heaps = [heap for heap in (self._due, self._due_again if again else []) if heap and heap[0][0] <= now]
        if not heaps:
            return None
        return self._queues[heapq.heappop(min(heaps, key=itemgetter(0)))[1]].loaded[0]

    def settle(self, item: Item[T], decision: Decision) -> None:
        """Let the first of a line wait until it is due, or go, which frees the next."""
        name = item.line or ""
        queue = self._queues[name]
        judge(self.buried, item.key, decision)
        if isinstance(decision, Again):
            self._put_off(name, queue, decision)
        else:
            self._went(name, queue, decision)

    def _put_off(self, name: str, queue: _Queue[T], decision: Again) -> None:
        item = queue.loaded[0]
        tries = counted(item.tries, decision)
        item.put_off(decision.at)
        if tries:
            if tries.latest < self._resumed_at:
                item.hurry(self._resumed_at)
            queue.tried = Tried.of(item.offset, item.scheduled, tries)
            self._learns(name, queue)
        self._bytes -= sum(each.size for each in queue.loaded)
        queue.loaded.clear()
        queue.due, queue.flows = item.due, False
        heapq.heappush(self._unread, (queue.due, name))

    def _went(self, name: str, queue: _Queue[T], decision: Decision) -> None:
        item = queue.loaded.pop(0)
        self._bytes -= item.size
        self._done[name] = queue.first
        self._news.add(name)
        queue.first += 1
        self.rows -= 1
        queue.tried, queue.writes = None, False
        queue.flows = isinstance(decision, Done)
        if queue.loaded:
            queue.since = queue.loaded[0].since or queue.since
            self._offer(name, queue)
        elif queue.rows:
            heapq.heappush(self._unread, (queue.due, name))
        elif not queue.joining:
            del self._queues[name]
            self._foreign -= name[0] != self._kind

    def change(self) -> Change[T]:
        """Return what the store does not know yet."""
        news = {name: self._queues[name] for name in self._news if name in self._queues}
        joining = {name: [*queue.joining] for name, queue in news.items() if queue.joining}
        tried = {name: queue.tried for name, queue in news.items() if queue.writes and queue.tried}
        return Change(joining, dict(self._done), tried, self.buried.news())

    def stored(self, change: Change[T]) -> list[Line]:
        """Return the lines that a change is about, and TOTAL, as the store has them."""
        return [self._stored[name] for name in (*change.names, TOTAL) if name in self._stored]

    def written(self, change: Change[T], lines: Iterable[Line]) -> None:
        """Learn that the store knows a change, and how these lines stand there now."""
        self.buried.written(change.marks)
        self._stored |= {line.key: line for line in lines}
        for name, through in change.leaving.items():
            if self._done[name] == through:
                del self._done[name]
        for name, tried in change.tried.items():
            queue = self._queues.get(name)
            if queue and queue.tried is tried:
                queue.writes = False
        for name, items in change.joining.items():
            self._joined(name, len(items))
        for name in change.names:
            self._forget(name)

    def _forget(self, name: str) -> None:
        """Drop what is of no more use of a line: everything, where nothing waits there any more."""
        queue = self._queues.get(name)
        if name in self._done or (queue and (queue.joining or queue.writes)):
            return
        self._news.discard(name)
        if queue is None:
            self._stored.pop(name, None)

    def _joined(self, name: str, count: int) -> None:
        queue = self._queues[name]
        del queue.joining[:count]
        if not queue.rows and not queue.loaded:
            heapq.heappush(self._unread, (queue.due, name))
        queue.last += count
        self.rows += count
