"""What Ring says of its limit beside an answer: X-RateLimit-Limit, -Remaining, and -Reset where there is one.

Source: developer.amazon.com/docs/ring/api-documentation.html; Reset is not in it, and read as the field writes it.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import msgspec

LONGEST: Final = 60.0  # seconds; a reset beyond it is taken as this
_EPOCH: Final = 1e9  # what is as large as this is a moment, and not a number of seconds


class Limit(msgspec.Struct, frozen=True):
    """How many requests a second Ring takes of this client id, how many are left now, and for how many seconds that stands."""

    most: int | None = None
    left: int | None = None
    reset: float | None = None


def read(headers: Mapping[str, str], now: datetime) -> Limit:
    """Return what the headers say; `now` is aware. Never raises."""
    reset = _number(headers.get("X-RateLimit-Reset"))
    if reset is not None and reset >= _EPOCH:
        reset = max(0.0, reset - now.timestamp())
    limit, left = _number(headers.get("X-RateLimit-Limit")), _number(headers.get("X-RateLimit-Remaining"))
    return Limit(
        int(limit or 0) or None,  # less than one whole request would be a limit nobody could live by: it is not one
        None if left is None else int(left),
        None if reset is None else min(reset, LONGEST),
    )


def _number(text: str | None) -> float | None:
    """Return a header's first number: some write `100, 100;w=1`."""
    first = (text or "").split(",")[0].split(";")[0].strip()
    whole, _, part = first[:16].partition(".")
    digits = whole + part  # a superscript two is a digit, and no number
    return float(first[:16]) if whole and digits.isascii() and digits.isdigit() else None
