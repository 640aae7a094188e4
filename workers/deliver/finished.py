"""What is known to be finished of a lane, and the bus perhaps not: no later session sends it again. Pure.

A commit whose outcome is unknown ends the session, and the next one begins where the bus says. What was done meanwhile was done
all the same, whoever owned the lane in between; so it is passed over, for as long as the bus does not say that it knows.
A process remembers what it did itself; what another noted in the store as its session ended comes to it at `begin`.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final

import msgspec

from workers.bus.contract import Held
from workers.deliver.policy import Decision
from workers.deliver.window import SPAN

BOUND: Final = SPAN  # events, of this session as of former ones; the oldest go first, and come twice then


class Known(msgspec.Struct, frozen=True):
    """A position that the bus is known to have had, and the step that its note named, if it had one of ours."""

    next: int
    n: int | None


class _Fate(msgspec.Struct, frozen=True, gc=False):
    time: datetime  # when the bus took it: an offset of a topic that was made anew is another event
    decision: Decision


class Untold(msgspec.Struct, frozen=True, gc=False):
    """One event that is finished, as the store keeps it for the lane's next owner; `known` is what the bus was known to know."""

    offset: int
    time: datetime
    decision: Decision
    known: Known


class Finished:
    """The memory of one lane, which outlives its sessions."""

    def __init__(self) -> None:
        self._known: Known | None = None
        self._mine: dict[int, _Fate] = {}  # by offset, what this session finished
        self._former: dict[int, _Fate] = {}  # and former ones
        self._noted: set[int] = set()  # of this one's, what the store has
        self.over: set[int] = set()  # what it has, and need not have any more

    def begin(self, found: Known, noted: Iterable[Untold] = (), *, rows: bool = True) -> None:
        """Begin a session where the bus says; all is wanted again after an operator's reset. `rows`: some events wait in rows."""
        own = {} if self._known and is_reset(self._known, found) else self._former | self._mine
        known = {event.offset: _Fate(event.time, event.decision) for event in noted} | own
        least = pending(found, rows=rows)
        self._former = dict(sorted(item for item in known.items() if item[0] >= least)[-BOUND:])
        self._mine, self._known = {}, found
        self._noted, self.over = set(), set()

    def add(self, held: Held, decision: Decision) -> None:
        """Note what became of an event."""
        self._former.pop(held.offset, None)
        self._mine[held.offset] = _Fate(held.time, decision)
        while len(self._mine) > BOUND:
            del self._mine[next(iter(self._mine))]

    def fate(self, held: Held) -> Decision | None:
        """Return what became of an event in a former session."""
        fate = self._former.get(held.offset)
        return fate.decision if fate and fate.time == held.time else None

    def untold(self) -> Collection[int]:
        """Return what the next commit tells."""
        return tuple(self._mine)

    def left(self) -> Sequence[Untold]:
        """Return what this session finished that no commit has told, nor the store has: for whoever has the lane next."""
        if not (known := self._known):
            return ()
        fates = ((offset, fate) for offset, fate in self._mine.items() if offset not in self._noted)
        return [Untold(offset, fate.time, fate.decision, known) for offset, fate in fates]

    def noted(self, events: Iterable[Untold]) -> None:
        """Learn that the store has these."""
        self._noted.update(event.offset for event in events)

    def told(self, offsets: Collection[int], known: Known) -> None:
        """Forget what a commit has told: the bus knows it."""
        self._known = known
        self.over |= self._noted.intersection(offsets)
        self._noted.difference_update(offsets)
        for offset in offsets:
            self._mine.pop(offset, None)


def is_reset(known: Known, found: Known) -> bool:
    """Say whether an operator moved the position: it went back, or the note is gone, or is not of where the lane stands."""
    return found.next < known.next or (found.n is None and found != known)


def pending(found: Known, *, rows: bool) -> int:
    """Return from which offset on an event may come again: what the bus knows to be finished does, where some waits in rows."""
    return 0 if rows else found.next


def is_void(noted: Iterable[Untold], found: Known) -> bool:
    """Say whether an operator has moved the position since some of it was noted: then all of it is wanted again."""
    return any(is_reset(event.known, found) for event in noted)
