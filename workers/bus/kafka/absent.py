"""Whether a topic is not there, or its broker does not know its topics yet: one that has just started lists none at all."""

from collections.abc import Collection
from typing import Final

SETTLED: Final = 10.0  # seconds for which no topic at all is listed, until that is believed


class Absence:
    """Since when no topic is listed, over all that ask."""

    def __init__(self) -> None:
        self._since: float | None = None

    def settled(self, listed: Collection[str], now: float) -> bool:
        """Say whether what is not `listed` is not there; `now` is monotonic."""
        if listed:
            self._since = None
            return True
        self._since = now if self._since is None else self._since
        return now - self._since >= SETTLED

    def words(self, topic: str, listed: Collection[str], now: float) -> str:
        """Return why nothing can be read of a topic of which nothing was known."""
        if topic in listed:
            return f"topic {topic} is there, and was not known to the broker that was asked first"
        if self.settled(listed, now):
            return f"topic {topic} is not there: run `ringhook topics apply`"
        return f"Kafka lists no topic yet, as it does while it starts: {topic} is waited for"
