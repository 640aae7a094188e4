"""What is under way has a bound everywhere: over it we say 503 at once, so that what is inside stays quick."""

from types import TracebackType

from schemas.errors import Unavailable


class Full(Unavailable):
    """More is under way here than we let in: ask again in a moment."""


class Bound:
    """Lets in at most `most` at a time: `with bound:`. Raises Full."""

    __slots__ = ("most", "taken")

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    def __enter__(self) -> None:
        if self.taken >= self.most:
            raise Full
        self.taken += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.taken -= 1


class Room:
    """Bytes of bodies that may be held in memory at a time, over all routes that share it."""

    __slots__ = ("most", "taken")

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0

    def take(self, count: int) -> None:
        """Take `count` bytes of room, or raise Full and take none."""
        if self.taken + count > self.most:
            raise Full
        self.taken += count

    def give(self, count: int) -> None:
        """Give `count` bytes back."""
        self.taken -= count
