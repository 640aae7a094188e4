"""What one HTTP attempt came to, and what that says: about the event, or about the destination."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Final, Literal

import msgspec

Failure = Literal["connect", "tls", "dns", "timeout", "protocol", "guard"]  # why there was no answer: a closed set, for labels
RETRY_AFTER_CAP_S: Final = 600.0  # a longer wish is a mistake, or a destination that will say so again


class Verdict(Enum):
    """What an answer means for the event and its destination."""

    ACCEPTED = "accepted"  # 2xx
    REFUSED = "refused"  # 4xx about this event: the destination lives
    FAILED = "failed"  # no answer, 3xx, a 4xx about who asks, where or how, other 5xx
    THROTTLED = "throttled"  # 429, 502, 503, 504
    GONE = "gone"  # 410


class Timing(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The seconds of an attempt's steps; None: the step did not happen, as three of them on a kept connection."""

    dns: float | None = None
    connect: float | None = None  # TCP, over all addresses that were tried
    tls: float | None = None
    wait: float | None = None  # from the request's first byte to the answer's head


class Answer(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A status, or why there was none; `asked` is Retry-After in seconds, `took` the attempt's seconds until the answer.

    `said` is how the body of an answer begins that is no 2xx: a stranger's bytes, for the attempt's record and nowhere else.
    """

    status: int | None = None
    failure: Failure | None = None
    asked: float | None = None
    took: float = 0.0
    timing: Timing | None = None
    said: bytes | None = None
    words: str = ""  # what stood in the way, for people


def retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, between 0 and the cap; None where it says nothing readable.

    Source: RFC 9110, 10.2.3.
    """
    if not text:
        return None
    text = text.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), RETRY_AFTER_CAP_S)
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    aware = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max((aware - now).total_seconds(), 0.0), RETRY_AFTER_CAP_S)
