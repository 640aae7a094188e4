"""Whether what is read of a lane is the present: only then may an event's wait be over. Pure."""

from datetime import datetime, timedelta
from typing import Final

import msgspec

PAUSE: Final = timedelta(seconds=30)  # longer than this nobody looked: a restart, another owner, a store that was away
SETTLED: Final = timedelta(seconds=60)  # so long a lane must have been read as it came
AT_LAST: Final = timedelta(hours=1)  # so long a lane that is always behind, or whose bus has another time, must be read


class Watch(msgspec.Struct):
    """Since when one lane has been looked at without a pause, and since when it has not been behind."""

    looked: datetime
    watched: datetime
    current: datetime

    def look(self, now: datetime, oldest: datetime | None = None) -> None:
        """Note a look, and when the bus took the oldest record that it found."""
        if now - self.looked > PAUSE:
            self.watched = self.current = now
        if oldest is not None and now - oldest > PAUSE:
            self.current = now
        self.looked = now

    def settled(self, now: datetime, wait: timedelta) -> bool:
        """Say whether the news that would end a wait of this length would have been read by now."""
        return now - self.current >= min(SETTLED, wait) or now - self.watched >= AT_LAST


def begun(now: datetime) -> Watch:
    """Return the watch of a lane that is looked at for the first time."""
    return Watch(now, now, now)
