"""What stands behind the question mark of a read."""

from collections.abc import Mapping
from datetime import datetime
from typing import TypeVar

import msgspec

from schemas.errors import Rejected

T = TypeVar("T")


def queried(query: Mapping[str, str], kind: type[T]) -> T:
    """Return a query as one of its kind, or raise Rejected in words."""
    try:
        return msgspec.convert(dict(query), kind, strict=False)
    except msgspec.ValidationError as error:
        raise Rejected(f"The query is not understood: {error}", reason="query") from error


def instant(text: str) -> datetime:
    """Return a time that is written with its offset, or raise Rejected in words."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Rejected("A time is written with its offset: 2026-02-13T00:00:00Z.", reason="query")
    return at
