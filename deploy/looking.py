"""Looks at the four public URLs as Ring and browsers would reach them, as far as one machine can."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from secrets import token_hex
from typing import Final, NamedTuple

import aiohttp

from deploy.unreached import FAILURES, unreached
from schemas.findings.urls import Looked, Probed
from schemas.ring.probe import body as made
from schemas.ring.signature import HEADER, sign

PATIENCE_S: Final = 8.0  # for each
READ: Final = 64 * 1024  # bytes of an answer
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
    try:
        async with client.request(door.method, url, allow_redirects=False) as answer:
            text = (await answer.content.read(READ)).decode(errors="replace")
    except FAILURES as error:
        return Looked(name=door.name, url=url, obstacle=unreached(error))
    location = answer.headers.get("Location") if answer.status // 100 == 3 else None  # noqa: PLR2004 - a redirect
    return Looked(
        name=door.name,
        url=url,
        status=answer.status,
        ours=answer.status in door.statuses and door.says in text,
        location=location,
        took=time.monotonic() - began,
    )


async def probe(base: str, key: bytes) -> Probed:
    """Post a webhook of no account, signed as Ring signs, to the public Webhook URL, and return what came of it."""
    name, began = f"ringhook-probe-{token_hex(8)}", time.monotonic()
    body = made(name, datetime.now(UTC))
    headers = {HEADER: sign(key, body), "Content-Type": "application/json"}
    try:
        async with (
            aiohttp.ClientSession(timeout=_CONNECTION, trust_env=False) as client,
            client.post(f"{base.rstrip('/')}/ring/webhook", data=body, headers=headers, allow_redirects=False) as answer,
        ):
            return Probed(id=name, status=answer.status, took=time.monotonic() - began)
    except FAILURES as error:
        return Probed(id=name, obstacle=unreached(error))
