"""How far behind a consumer group is, as two gauges."""

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from workers.bus.contract import Bus, Lag
from workers.runtime.metrics import LAG_RECORDS, LAG_SECONDS

EVERY: Final = timedelta(seconds=10)


@dataclass(frozen=True)
class LagSweep:
    """Sweep: measures one group's lag on its topics."""

    bus: Bus
    group: str
    topics: Collection[str]
    tell: Callable[[Lag], None] | None = None  # hears of each measurement

    @property
    def name(self) -> str:
        """As logs and metrics call it."""
        return f"lag.{self.group}"

    async def __call__(self, now: datetime) -> timedelta:
        """Set the gauges; ask again in ten seconds."""
        lag = await self.bus.lag(self.group, self.topics)
        LAG_RECORDS.labels(group=self.group).set(lag.records)
        LAG_SECONDS.labels(group=self.group).set(max(0.0, (now - lag.oldest).total_seconds()) if lag.oldest else 0.0)
        if self.tell:
            self.tell(lag)
        return EVERY


def unwatch(group: str) -> None:
    """Tell nothing of a group any more that nobody measures."""
    for gauge in (LAG_RECORDS, LAG_SECONDS):
        with suppress(KeyError):  # it was never measured
            gauge.remove(group)
