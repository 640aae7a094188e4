"""The one table from what went wrong to what is answered. Everything on our side is 503 with Retry-After: never 408, 500.

429 is for people at a form and for services at /v1 only: Ring would take it for good.
"""

from typing import Final

import msgspec
from aiohttp import web

from ingress.body import BodyTooLarge
from ingress.bounds import Full
from schemas.errors import Rejected, Unavailable
from workers.bus.contract import TooLarge


class Answer(msgspec.Struct, frozen=True):
    """A refusal: status, a few plain words, and whether the connection ends with it (a body may still be on its way)."""

    status: int
    words: str
    close: bool = False


class BadSignature(Rejected):
    """The signature does not fit the body."""


class NotFound(Rejected):
    """There is nothing here."""


class Stale(Rejected):
    """What was good for some minutes is so no longer."""


class Forbidden(Rejected):
    """Whoever asks has not shown that they may."""


class Unauthorized(Rejected):
    """A token is needed, and none that we know was shown."""


class Conflict(Rejected):
    """Another was first."""


class Misdirected(Rejected):
    """The request names a host that is not served here."""


class WrongMediaType(Rejected):
    """Only JSON is read here."""


class TooOften(Rejected):
    """One caller asks more than its share, or too much was guessed in a short time."""

    def __init__(self, message: str, *, retry_after: float, reason: str = "too_often") -> None:
        super().__init__(message, reason=reason)
        self.retry_after = retry_after  # seconds


class Later(Unavailable):
    """It cannot be had just now."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # seconds


class Unprocessable(Rejected):
    """It was understood, and cannot be taken as it is."""


class SignInAway(Unavailable):
    """The sign-in service does not answer just now. Please try again in a minute."""


TABLE: Final[dict[type[BaseException], Answer]] = {
    BadSignature: Answer(401, "The signature does not fit the body."),
    Unauthorized: Answer(401, "A token is needed."),
    Forbidden: Answer(403, "Not allowed."),
    NotFound: Answer(404, "Not found."),
    Conflict: Answer(409, "Another was first."),
    Stale: Answer(410, "Too old."),
    BodyTooLarge: Answer(413, "The body is too large.", close=True),
    WrongMediaType: Answer(415, "JSON only."),
    Misdirected: Answer(421, "Not served here."),
    Unprocessable: Answer(422, "Cannot be taken as it is."),
    TooOften: Answer(429, "Too many tries."),
    Rejected: Answer(400, "Cannot be read."),
    web.RequestPayloadError: Answer(400, "The body's framing is broken.", close=True),
    TooLarge: Answer(503, "Cannot be held just now."),  # our topics are too small: ours to mend, Ring's to try again
    Full: Answer(503, "Too much at once."),
    Unavailable: Answer(503, "Cannot be held just now."),
    TimeoutError: Answer(503, "Not held in time.", close=True),
    ConnectionError: Answer(503, "The connection broke.", close=True),
}
CRASHED: Final = Answer(503, "Something of ours broke.", close=True)


def answer(error: BaseException) -> Answer | None:
    """Return what the nearest known class of the error is answered with; None: it is a bug of ours (answer CRASHED)."""
    return next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), None)
