"""Keys whose last event was buried: their next ones get single attempts until one succeeds. Pure.

A lane's marks are kept with what waits in it, so that no restart gives a follower all attempts anew. A mark is a fingerprint: it
may be kept for long, and names nobody.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from hashlib import sha256
from typing import Final

LIMIT: Final = 10_000  # keys of a lane; the oldest are forgotten


def mark_of(kind: str, key: Hashable) -> str:
    """Return by what a key of this kind is known."""
    return sha256(f"{kind}={key}".encode(errors="surrogatepass")).hexdigest()[:32]


class Buried:
    """Remembers them, bounded, and tells what of it the store does not know."""

    def __init__(self, kind: str = "d", kept: Iterable[str] = ()) -> None:
        """`kind` is of what the keys are, `kept` the marks that the store has, the oldest first."""
        self._kind = kind
        self._marks: OrderedDict[str, None] = OrderedDict.fromkeys(kept)
        self._kept = {*self._marks}
        self._news: set[str] = set()

    def __contains__(self, key: Hashable) -> bool:
        return bool(self._marks) and key is not None and mark_of(self._kind, key) in self._marks

    def add(self, key: Hashable | None) -> None:
        """Note that an event of the key was buried; None is no key."""
        if key is None:
            return
        mark = mark_of(self._kind, key)
        self._marks[mark] = None
        self._marks.move_to_end(mark)
        self._learn(mark)
        if len(self._marks) > LIMIT:
            self._learn(self._marks.popitem(last=False)[0])

    def discard(self, key: Hashable | None) -> None:
        """Note that an event of the key succeeded."""
        if key in self:
            del self._marks[mark := mark_of(self._kind, key)]
            self._learn(mark)

    def _learn(self, mark: str) -> None:
        if (mark in self._marks) == (mark in self._kept):
            self._news.discard(mark)
        else:
            self._news.add(mark)

    @property
    def changed(self) -> bool:
        """Say whether the store does not know all."""
        return bool(self._news)

    def news(self) -> dict[str, bool]:
        """Return the marks that the store has otherwise, and whether they stand."""
        return {mark: mark in self._marks for mark in self._news}

    def written(self, news: Mapping[str, bool]) -> None:
        """Learn that the store knows these."""
        for mark, stands in news.items():
            (self._kept.add if stands else self._kept.discard)(mark)
            self._learn(mark)
