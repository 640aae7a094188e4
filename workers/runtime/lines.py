"""Who waits in a lane, and how many: one line of rows per key, and one over all of them. Pure.

A line's sequence has no holes, because rows leave it at its old end only; so two numbers say how long it is, however long.
"""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Final

import msgspec

DOUBTS: Final = 8  # of one line that are remembered, the latest: users do not remove an app more often while something waits
TOTAL: Final = ""  # the key of the line that counts all others of its lane: no real key is empty


class Doubt(msgspec.Struct, frozen=True, array_like=True):
    """That those of a line may have to vanish that came by `app` until `at`, and are not behind `last`."""

    app: str  # of ours; empty: any
    at: float  # epoch seconds
    last: int  # the newest when the doubt was raised
    proven: bool = False  # it came true, whatever is heard later


class Line(msgspec.Struct, frozen=True):
    """What waits under a key; fields as in `waiting.lines`."""

    key: str
    first: int = 1  # the oldest that waits
    last: int = 0  # the newest
    ready: bool = False  # nothing but its turn keeps it any more
    sure: int = 0  # through here all are what doubts are about, and vanish should these prove true
    doubts: tuple[Doubt, ...] = ()

    @property
    def rows(self) -> int:
        """How many wait."""
        return self.last - self.first + 1


class Row(msgspec.Struct, frozen=True):
    """One that waits: `since` in epoch seconds, `record` as its job wrote it; `whose` by the stop table's fingerprint."""

    key: str
    sequence: int
    record: bytes
    since: float
    whose: str | None = None


class Lines:
    """The lines that a step touches, as they are at this point of it; what changes is collected for the store."""

    def __init__(self, stored: Iterable[Line]) -> None:
        """Take the lines as they stand in the store."""
        self._stored = {line.key: line for line in stored}
        self._now = dict(self._stored)
        self._added: list[Row] = []
        self._dropped: dict[str, tuple[int, int]] = {}

    def __getitem__(self, key: str) -> Line:
        """Return a key's line, which may be empty."""
        return self._now.get(key) or Line(key)

    def learn(self, stored: Iterable[Line]) -> None:
        """Take in lines that the store holds and this step has not touched."""
        for line in stored:
            if line.key not in self._stored:
                self._stored[line.key] = self._now[line.key] = line

    def waits(self, key: str) -> bool:
        """Say whether something waits under a key."""
        return self[key].rows > 0

    def add(self, key: str, record: bytes, since: float, whose: str | None = None) -> None:
        """Let a record wait behind all others of its key."""
        line = self[key] if self.waits(key) else msgspec.structs.replace(self[key], ready=False)
        self._added.append(Row(key, line.last + 1, record, since, whose))
        for each in (line, self[TOTAL]):
            self._now[each.key] = msgspec.structs.replace(each, last=each.last + 1)

    def leave(self, key: str, through: int) -> int:
        """Let all up to a sequence leave; return how many these were."""
        line, total = self[key], self[TOTAL]
        gone = max(0, min(through, line.last) - line.first + 1)
        self._now[key] = msgspec.structs.replace(line, first=line.first + gone)
        self._now[TOTAL] = msgspec.structs.replace(total, first=total.first + gone)
        return gone

    def drop(self, key: str) -> int:
        """Let all of a key vanish, those of this step too; return how many these were."""
        return self._drop(key, self[key].last)

    def doubt(self, key: str, at: float, app: str, about: Callable[[Doubt, int, bytes | None], bool]) -> None:
        """Note that all of a key may have to vanish that came by `app` until `at`, and none that comes behind them.

        `about` says whether a doubt is about a sequence, whose record is given where it joined in this step.
        """
        if not self.waits(key):
            return
        line, added = self[key], {row.sequence: row.record for row in self._added if row.key == key}
        doubts = raised(line, Doubt(app, at, line.last))

        def doubted(sequence: int) -> bool:
            return any(sequence <= doubt.last and about(doubt, sequence, added.get(sequence)) for doubt in doubts)

        sure = max(takewhile(doubted, range(line.first, line.last + 1)), default=0)
        self._now[key] = msgspec.structs.replace(line, sure=sure, doubts=doubts)

    def prove(self, key: str, proven: Callable[[Doubt], bool]) -> None:
        """Note which doubts about what waits under a key have come true."""
        line = self[key]
        doubts = tuple(msgspec.structs.replace(one, proven=one.proven or proven(one)) for one in line.doubts)
        if doubts != line.doubts and self.waits(key):
            self._now[key] = msgspec.structs.replace(line, doubts=doubts)

    def drop_doubted(self, key: str) -> int:
        """Let those of a key vanish of which it is sure that a doubt was about them; return how many these were."""
        return self._drop(key, self[key].sure)

    def _drop(self, key: str, through: int) -> int:
        first, last = self._dropped.get(key, (self[key].first, 0))
        self._dropped[key] = first, max(last, through)
        self._added = [row for row in self._added if row.key != key or row.sequence > through]
        return self.leave(key, through)

    def set_ready(self, key: str, *, ready: bool) -> None:
        """Say whether those who wait under a key may go."""
        if self.waits(key):
            self._now[key] = msgspec.structs.replace(self[key], ready=ready)

    @property
    def added(self) -> Sequence[Row]:
        """Rows to be inserted."""
        return self._added

    @property
    def dropped(self) -> Mapping[str, tuple[int, int]]:
        """Keys, each with the first and the last sequence of rows that vanish unread."""
        return self._dropped

    @property
    def keys(self) -> Sequence[str]:
        """Every key whose line is known here, but for TOTAL."""
        return [key for key in self._now if key != TOTAL]

    @property
    def grown(self) -> Sequence[Line]:
        """The lines to which this step has added, as they are now."""
        return [self[key] for key in sorted({row.key for row in self._added})]

    @property
    def changed(self) -> Sequence[str]:
        """Keys whose line is another one than in the store."""
        return [key for key, line in self._now.items() if line != self._stored.get(key)]


def raised(line: Line, doubt: Doubt) -> tuple[Doubt, ...]:
    """Return the doubts of a line with a new one; the same one, told again, is about what came since, too."""
    same = [one for one in line.doubts if (one.app, one.at) == (doubt.app, doubt.at)]
    others = [one for one in line.doubts if one not in same and one.last >= line.first]
    return (*others, msgspec.structs.replace(doubt, proven=any(one.proven for one in same)))[-DOUBTS:]


def cut(plan: Mapping[str, int], lines: Lines, most: int) -> dict[str, tuple[int, int]]:
    """Return the part of a plan (key → through which sequence) that holds at most so many rows: key → first and last."""
    left, ends = most, dict[str, tuple[int, int]]()
    for key, through in plan.items():
        first, last = lines[key].first, min(through, lines[key].last, lines[key].first + left - 1)
        if first <= last:
            ends[key] = first, last
            left -= last - first + 1
    return ends


def above(lines: Iterable[Line], bound: int) -> dict[str, int]:
    """Return the keys whose lines are longer than `bound`, each with the sequence through which its oldest must leave.

    Lines that are ready are leaving anyway, and lose nothing.
    """
    return {line.key: line.last - bound for line in lines if line.rows > bound and not line.ready}


def levelled(lines: Iterable[Line], excess: int) -> dict[str, int]:
    """Return from which keys `excess` rows leave, the longest line's oldest each time; through which sequence, by key.

    Lines that are ready lose nothing here either, so there may be fewer.
    """
    longest = [(-line.rows, line.key, line.first) for line in lines if not line.ready]
    heapq.heapify(longest)
    leaving: dict[str, int] = {}
    for _ in range(excess):
        rows, key, first = longest[0] if longest else (0, "", 0)
        if rows == 0:
            break
        leaving[key] = first
        heapq.heapreplace(longest, (rows + 1, key, first + 1))
    return leaving
