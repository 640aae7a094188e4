"""The clock that decisions are handed; a module of its own, so that the hot path imports nothing that knows a database."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the present moment, in UTC."""
    return datetime.now(UTC)
