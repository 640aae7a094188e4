"""Read a request's raw bytes: never decompressed, never more than the cap, never more of all together than there is room for."""

from typing import Final

from aiohttp import web

from ingress.bounds import Room
from schemas.errors import Rejected

FREE: Final = 8 * 1024  # any event of Ring fits in it; takes no room, so that big strangers never crowd it out


class BodyTooLarge(Rejected):
    """The body is larger than what is read here."""

    def __init__(self, most: int) -> None:
        super().__init__(f"The body is larger than the {most // 1024} KiB that are read here.", reason="body_too_large")


async def read(request: web.Request, most: int, room: Room) -> bytes:
    """Return the body as it came, or raise BodyTooLarge (a declared length over `most`: unread), Full or ConnectionError."""
    if (request.content_length or 0) > most:
        raise BodyTooLarge(most)
    try:
        body = await request.content.readany()
        if request.content.at_eof() and len(body) <= FREE:
            return body
        return await _rest(request, body, most, room)
    except RuntimeError as error:  # so aiohttp says that the sender went before we began to read
        if request.transport is not None:
            raise
        raise ConnectionResetError("the sender has gone") from error


async def _rest(request: web.Request, begun: bytes, most: int, room: Room) -> bytes:
    """Go on reading what did not come in one piece."""
    body, taken = bytearray(begun), 0
    try:
        while True:
            if len(body) > most:
                raise BodyTooLarge(most)
            if (more := max(0, len(body) - FREE) - taken) > 0:
                room.take(more)
                taken += more
            if not (chunk := await request.content.readany()):
                return bytes(body)
            body += chunk
    finally:
        room.give(taken)
