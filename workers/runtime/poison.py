"""Poison: a record at which a job crashes. Three crashes at one position, then the batch is halved until one record is left."""

from collections.abc import Mapping
from typing import Final

import msgspec

CRASHES: Final = 3  # at one position, before a batch is taken apart


class Suspicion(msgspec.Struct):
    """What a worker remembers of one lane across its restarts (not across the process's: crashes never end that)."""

    at: Mapping[str, int] = {}  # the position at which the crashed batch began
    crashes: int = 0
    limit: int = 0  # how many records the next batch may have while the batch is taken apart; 0: any
    until: Mapping[str, int] = {}  # the position behind the crashed batch

    def crashed(self, at: Mapping[str, int], until: Mapping[str, int], size: int) -> bool:
        """Note a crash of a batch; say whether to go on with a smaller one here and now (else the worker is restarted)."""
        if self.limit:
            self.limit = max(1, size // 2)
            return True
        self.crashes = self.crashes + 1 if at == self.at else 1
        self.at = dict(at)
        if self.crashes >= CRASHES:
            self.split(until, size)
        return self.limit > 0

    def split(self, until: Mapping[str, int], size: int) -> None:
        """Take the batch that ends at `until` apart, without further crashes of the worker."""
        self.limit, self.until = max(1, size // 2), dict(until)

    def passed(self, reached: Mapping[str, int]) -> None:
        """Note that everything below `reached` is committed: grow again, and forget once the crashed batch lies behind."""
        if self.limit and all(reached.get(topic, 0) >= offset for topic, offset in self.until.items()):
            self.at, self.crashes, self.limit, self.until = {}, 0, 0, {}
        elif self.limit:
            self.limit *= 2
