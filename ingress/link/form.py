"""The two small forms that browsers post."""

from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from ingress.body import read
from ingress.bounds import Room
from ingress.link.words import MALFORMED
from schemas.errors import Rejected

LIMIT: Final = 16 * 1024  # bytes
FIELDS: Final = 10


async def posted(request: web.Request, name: str, room: Room) -> str:
    """Return the one value of a form's field, or raise Rejected or BodyTooLarge."""
    body = await read(request, LIMIT, room)
    try:
        pairs = parse_qsl(body.decode("ascii"), max_num_fields=FIELDS, strict_parsing=True)
    except ValueError as error:
        raise Rejected(MALFORMED, reason="form") from error
    values = [value for field, value in pairs if field == name]
    if len(values) != 1:
        raise Rejected(MALFORMED, reason="form")
    return values[0]
