"""Looks at the four public URLs as Ring and browsers would reach them, as far as one machine can."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import aiohttp

from schemas.findings.reach import obstacle
from schemas.findings.urls import Looked

PATIENCE_S: Final = 8.0  # for each
READ: Final = 64 * 1024  # bytes of an answer
NO_HTTP: Final = "what listens there does not speak HTTP as it should"
_CONNECTION: Final = aiohttp.ClientTimeout(total=PATIENCE_S)


class Door(NamedTuple):
    """A public URL: how to look without beginning anything, and what ringhook says there."""

    name: str
    method: str
    path: str
    says: str
    statuses: frozenset[int]


DOORS: Final = (
    Door("Token Exchange URL", "GET", "/ring/token-exchange", "ringhook's Token Exchange URL", frozenset({200})),
    Door("Account Link URL", "HEAD", "/ring/account-link", "", frozenset({200, 204})),
    Door("Webhook URL", "GET", "/ring/webhook", "ringhook's Webhook URL", frozenset({200})),
)


async def look(base: str) -> Sequence[Looked]:
    """Return how each of them was seen; nothing is linked, and nothing published, by it."""
    async with aiohttp.ClientSession(timeout=_CONNECTION, trust_env=False) as client:
        return await asyncio.gather(*(_look(client, base.rstrip("/"), door) for door in DOORS))


async def _look(client: aiohttp.ClientSession, base: str, door: Door) -> Looked:
    url, began = base + door.path, time.monotonic()
    seen = Looked(name=door.name, url=url)
    try:
        async with client.request(door.method, url, allow_redirects=False) as answer:
            text = (await answer.content.read(READ)).decode(errors="replace")
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        why = obstacle(error.os_error) if isinstance(error, aiohttp.ClientConnectorError) else _spoken(error)
        return Looked(name=door.name, url=url, obstacle=why)
    location = answer.headers.get("Location") if answer.status // 100 == 3 else None  # noqa: PLR2004 - a redirect
    return Looked(
        name=seen.name,
        url=url,
        status=answer.status,
        ours=answer.status in door.statuses and door.says in text,
        location=location,
        took=time.monotonic() - began,
    )


def _spoken(error: Exception) -> str:
    return obstacle(error) if isinstance(error, TimeoutError | OSError) else NO_HTTP
