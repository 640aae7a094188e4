"""What comes in the bodies of `/v1`: JSON as it is, within bounds, read and decoded in this one place."""

from dataclasses import dataclass, field
from typing import Final, TypeVar

import msgspec
from aiohttp import web

from ingress.body import read
from ingress.bounds import Room
from ingress.errors import WrongMediaType
from schemas.errors import UNREADABLE, Rejected

T = TypeVar("T")
LIMIT: Final = 64 * 1024  # bytes
ALL: Final = 64 * LIMIT  # of the large ones that are being read
CUT: Final = "Input data was truncated"  # msgspec's word for half a surrogate pair, too


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a caller may say where the address says it all: nothing yet."""


@dataclass(frozen=True, slots=True)
class Bodies:
    """Reads the bodies of all routes within one bound."""

    room: Room = field(default_factory=lambda: Room(ALL))

    async def read(self, request: web.Request, kind: type[T]) -> T:
        """Return what was sent; an empty body says as much as `{}`. Raises Rejected, BodyTooLarge and Full."""
        return decoded(await read(request, LIMIT, self.room) or b"{}", kind)


def decoded(body: bytes, kind: type[T]) -> T:
    """Return the JSON as one of its kind, or raise Rejected in words."""
    try:
        return msgspec.json.decode(body, type=kind)
    except UnicodeDecodeError as error:  # which is none of msgspec's own
        raise Rejected("The body is not understood: not all of it is UTF-8.", reason="body_unreadable") from error
    except UNREADABLE as error:
        why = "it ends amid a value, or a \\u escape in it is half of a pair" if str(error) == CUT else error
        raise Rejected(f"The body is not understood: {why}", reason="body_unreadable") from error


def demand_json(request: web.Request) -> None:
    """Raise WrongMediaType for what is no JSON, or JSON in another form: nothing is decompressed here."""
    if request.content_type != "application/json":
        raise WrongMediaType("Content-Type: application/json is needed.", reason="media_type")
    if any(coding.strip().lower() not in {"", "identity"} for coding in request.headers.getall("Content-Encoding", ())):
        raise WrongMediaType("Content-Encoding is not understood here: send the JSON as it is.", reason="content_encoding")
