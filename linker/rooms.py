"""Room for the steps that are under way, some for each line of its own: a kind of call that hangs holds up no other."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from linker.rows import ASIDE, CODES, FRESHENED, LINKS, NAMES, PATCHES, STRANGERS, WANTED

PARALLEL: Final = 64
# What dies first is taken first: codes in a minute, sign-ins in ten; a PATCH is tried for a month.
LINES: Final = (CODES, NAMES, FRESHENED, LINKS, WANTED, PATCHES, STRANGERS, ASIDE)
# As many times less room than the others have: of strangers' codes a few a second are sent, and what keeps tokens can wait.
_PART: Final = {WANTED: 2, ASIDE: 2, STRANGERS: 4}


@dataclass
class Rooms:
    """How many may be under way in each line, and how many are."""

    most: Mapping[int, int]
    taken: Counter[int] = field(default_factory=Counter)

    def free(self, line: int) -> int:
        """Return how many more may begin."""
        return self.most[line] - self.taken[line]

    def enter(self, line: int) -> "Seat":
        """Take room in a line."""
        self.taken[line] += 1
        return Seat(self, line)


@dataclass
class Seat:
    """The room of one row, as long as it is under way."""

    rooms: Rooms
    line: int

    def moves(self, line: int) -> bool:
        """Move to the line of the row's next step where there is room, and say whether it is there."""
        if line != self.line and self.rooms.free(line) > 0:
            self.leave()
            self.rooms.enter(line)
            self.line = line
        return line == self.line

    def leave(self) -> None:
        """Give the room back."""
        self.rooms.taken[self.line] -= 1


@dataclass
class Depths:
    """Room for looks that go deeper than the newest grants: a few at a time, and one of a user."""

    most: int
    users: set[str] = field(default_factory=set)

    @contextmanager
    def enter(self, user: str) -> Iterator[bool]:
        """Say whether there is room for one more of this user, and take it until the end of the context."""
        free = user not in self.users and len(self.users) < self.most
        if not free:
            yield False
            return
        self.users.add(user)
        try:
            yield True
        finally:
            self.users.remove(user)


def rooms(parallel: int) -> Rooms:
    """Return empty rooms, the largest for so many."""
    return Rooms({line: max(1, parallel // _PART.get(line, 1)) for line in LINES})
