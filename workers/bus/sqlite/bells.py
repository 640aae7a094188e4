"""Who is woken by what grows: never a clock, and never the lanes of another index."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence


class Bells:
    """Wakes the lanes of those slots that grew, and no others."""

    def __init__(self) -> None:
        self._hung: defaultdict[int, set[asyncio.Event]] = defaultdict(set)

    def hang(self, slots: Sequence[int], bell: asyncio.Event) -> None:
        """Have `bell` set when one of the slots grows."""
        for slot in slots:
            self._hung[slot].add(bell)

    def take(self, slots: Sequence[int], bell: asyncio.Event) -> None:
        """Undo `hang`."""
        for slot in slots:
            self._hung[slot].discard(bell)

    def ring(self, grown: Mapping[int, int]) -> None:
        """Wake the lanes of these slots."""
        for slot in grown:
            for bell in self._hung.get(slot, ()):
                bell.set()
