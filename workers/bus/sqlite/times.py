"""Times in the file are microseconds since 1970."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def moment(time: int) -> datetime:
    """Return the time of so many microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=time)


def micros(moment: datetime) -> int:
    """Return how many microseconds since 1970 a time is."""
    return (moment - _EPOCH) // timedelta(microseconds=1)
