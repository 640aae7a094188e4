"""Every error answers one question: would trying again help?"""

from typing import ClassVar, Final

# What reading others' JSON raises: msgspec's and orjson's own (both ValueErrors), bytes that are no UTF-8, brackets without end.
UNREADABLE: Final = (ValueError, RecursionError)


class RinghookError(Exception):
    """Something ringhook knows how to explain."""

    def __str__(self) -> str:
        """Return what was said, or else the first line of the class's docstring: the default message."""
        return super().__str__() or (type(self).__doc__ or type(self).__name__).splitlines()[0]


class Rejected(RinghookError):
    """Trying again will not help: the input itself is at fault."""

    def __init__(self, message: str = "", *, reason: str = "rejected") -> None:
        super().__init__(*(message,) if message else ())
        self.reason = reason  # one word of a closed set: metric label, header of the dead letter


class Unavailable(RinghookError):
    """Trying again will help: something of ours, or beyond us, is not there just now."""

    plight: ClassVar[str] = ""  # what of ours is away, for whoever may ask at `/v1`: a clause, and nothing of where that is


class Misconfigured(RinghookError):
    """The configuration cannot work as it stands; the message says what to change. Commands exit with code 2."""
