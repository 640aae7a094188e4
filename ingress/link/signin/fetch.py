"""What is asked of the issuer: one request, bounded in time and size, to where the guard permits; no redirects, no proxy."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
import msgspec
from yarl import URL

from schemas.errors import Unavailable
from schemas.findings.reach import obstacle
from workers.runtime.guard import Network
from workers.runtime.lookup import Resolver
from workers.runtime.sockets import guarded

PATIENCE_S: Final = 4.0  # for a whole request
LIMIT: Final = 256 * 1024  # bytes of an answer
CONNECTIONS: Final = 50
_READ_BUFFER: Final = 16 * 1024
_HEADERS: Final = {"User-Agent": "ringhook", "Accept": "application/json", "Accept-Encoding": "identity"}
_FOREIGN: Final = (aiohttp.ClientError, OSError, ValueError, RuntimeError)  # TimeoutError is an OSError


class Answered(msgspec.Struct, frozen=True):
    """Whatever the other side said."""

    status: int
    body: bytes


class Unanswered(Unavailable):
    """Nothing that can be used came back."""


class Outward:
    """An HTTP client for one issuer."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def get(self, url: str) -> bytes:
        """Return the body of a 200, or raise Unanswered, which says why."""
        answer = await self._ask("GET", url, {}, None)
        if answer.status != 200:  # noqa: PLR2004 - anything else is no document
            raise Unanswered(f"{host(url)} answered {answer.status}")
        return answer.body

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answered:
        """Return the answer to a form, or raise Unanswered."""
        return await self._ask("POST", url, headers, form)

    async def _ask(self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None) -> Answered:
        try:
            async with self._session.request(method, URL(url), headers=headers, data=form, allow_redirects=False) as response:
                return Answered(response.status, await _body(response))
        except TimeoutError as error:
            raise Unanswered(f"{host(url)} did not answer within {PATIENCE_S:g} s") from error
        except _FOREIGN as error:
            raise Unanswered(f"{host(url)} cannot be reached: {obstacle(getattr(error, 'os_error', error))}") from error


async def _body(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LIMIT:
            response.close()
            raise Unanswered(f"{response.url.host} answered with more than {LIMIT // 1024} KiB")
    return bytes(body)


def host(url: str) -> str:
    """Return whom a message names: never a whole address, which may hold more than a place."""
    try:
        return URL(url).authority or "the issuer"
    except ValueError:
        return "the issuer"


@asynccontextmanager
async def outward(allowed: Sequence[Network]) -> AsyncIterator[Outward]:
    """Open a client that reaches public addresses, and those in networks that were allowed."""
    connector = aiohttp.TCPConnector(
        limit=CONNECTIONS, resolver=Resolver(), socket_factory=guarded(allowed), keepalive_timeout=4.0
    )
    async with aiohttp.ClientSession(
        connector=connector,
        headers=_HEADERS,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=PATIENCE_S),
        auto_decompress=False,
        trust_env=False,
        read_bufsize=_READ_BUFFER,
    ) as session:
        yield Outward(session)
