"""Keys whose last event was buried: their next ones get single attempts until one succeeds. Pure."""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

LIMIT: Final = 10_000  # keys; the oldest are forgotten


class Buried:
    """Remembers them, bounded."""

    def __init__(self) -> None:
        self._keys: OrderedDict[Hashable, None] = OrderedDict()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._keys

    def add(self, key: Hashable | None) -> None:
        """Note that an event of the key was buried; None is no key."""
        if key is None:
            return
        self._keys[key] = None
        self._keys.move_to_end(key)
        if len(self._keys) > LIMIT:
            self._keys.popitem(last=False)

    def discard(self, key: Hashable | None) -> None:
        """Note that an event of the key succeeded."""
        self._keys.pop(key, None)
