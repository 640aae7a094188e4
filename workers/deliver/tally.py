"""What became of events, as they are settled: when the last was accepted, how many went to the dead letters.

Of what was sent once more it is counted by replay, and added to the replays' rows every second.
"""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Final

from workers.deliver import replay as rows
from workers.deliver.policy import Again, Bury, Cancel, Decision, Done
from workers.deliver.replay import Fate
from workers.runtime.database import Database

FATES: Final[Mapping[type[Decision], Fate]] = {Done: "accepted", Bury: "buried", Cancel: "unsent"}


class Tally:
    """One copy's counts since it began; by replay those that are not in the rows yet: a kill loses a second's."""

    def __init__(self) -> None:
        self.accepted_at: float | None = None  # epoch seconds
        self.dead = 0
        self.dead_at: float | None = None
        self._counts: Counter[tuple[str, Fate]] = Counter()

    def add(self, replay: str | None, decision: Decision) -> None:
        """Count one event's end; what is tried again is not counted."""
        if isinstance(decision, Done):
            self.accepted_at = time.time()
        elif isinstance(decision, Bury):
            self.dead, self.dead_at = self.dead + 1, time.time()
        if replay is not None and not isinstance(decision, Again):
            self._counts[replay, FATES[type(decision)]] += 1

    async def tell(self, database: Database) -> None:
        """Add to the rows what was counted since. Unavailable: it is kept for the next time."""
        if not self._counts:
            return
        told, self._counts = self._counts, Counter()
        try:
            async with database.begin() as connection:
                await rows.add(connection, told)
        except BaseException:
            self._counts += told
            raise
