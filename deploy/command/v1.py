"""How a command asks a running ringhook over `/v1`: one request, and every refusal in a sentence."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson

from deploy.settings.calling import Calling, read_calling
from deploy.unreached import FAILURES, unreached
from schemas.errors import Misconfigured

PATIENCE: Final = aiohttp.ClientTimeout(total=75)
NOT_FOUND: Final = 404
LATER: Final = frozenset({429, 503})


class Unanswered(Misconfigured):
    """ringhook was not reached, or cannot say just now: the same question may be answered later."""


class Unknown(Misconfigured):
    """Nothing is known under the id that was asked for."""


def ask(directory: Path, method: str, path: str, **query: str | int) -> dict[str, Any]:
    """Return the JSON that `/v1` answers, or raise Misconfigured with what to do."""
    return asyncio.run(_asked(read_calling(os.environ, directory), method, path, query))


def tell(directory: Path, path: str, body: object) -> dict[str, Any]:
    """Return the JSON that `/v1` answers to a POST of this, or raise Misconfigured with what to do."""
    return asyncio.run(_asked(read_calling(os.environ, directory), "POST", path, {}, orjson.dumps(body)))


async def _asked(
    calling: Calling, method: str, path: str, query: Mapping[str, str | int], body: bytes | None = None
) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {calling.token.reveal()}", "Content-Type": "application/json"}
    try:
        async with (
            aiohttp.ClientSession(timeout=PATIENCE, trust_env=False) as client,
            client.request(method, calling.url + path, params=query, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            return _read(calling, answer.status, await answer.read())
    except FAILURES as error:
        raise Unanswered(
            f"ringhook was not reached at {calling.url}: {unreached(error)}. It must be running; RINGHOOK_INTERNAL_URL says where"
        ) from error


def _read(calling: Calling, status: int, body: bytes) -> dict[str, Any]:
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError:
        read = None
    if not isinstance(read, dict):
        raise Misconfigured(
            f"What answers at {calling.url} is not the internal port of `ringhook admin` or `up`, which alone know this: "
            "RINGHOOK_INTERNAL_URL says where that is"
        )
    if status != 200:  # noqa: PLR2004 - all of /v1 answers 200 or says why not
        message = read.get("error", {}).get("message", "no reason given")
        kind = Unanswered if status in LATER else Unknown if status == NOT_FOUND else Misconfigured
        raise kind(f"{calling.url} answered {status}: {message}")
    return read
