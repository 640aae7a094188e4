"""The HTTP client of deliveries: one attempt in, one Answer out; whatever the other side does is bounded."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

import aiohttp
from yarl import URL

from workers.deliver.answer import Answer, Failure, retry_after
from workers.deliver.destinations import Destination
from workers.runtime.guard import Guarded
from workers.runtime.secrets import Secret
from workers.runtime.sockets import guarded

BODY_READ: Final = 1_024  # bytes of an answer that are read, so that its connection can serve again; a longer one is hung up on
KEEPALIVE_S: Final = 4.0  # under the 5 s after which common servers close: a POST on a closing connection fails
_READ_BUFFER: Final = 8_192
_HEADERS: Final = {"User-Agent": "ringhook", "Accept-Encoding": "identity"}
_FOREIGN: Final = (aiohttp.ClientError, OSError, ValueError, RuntimeError)  # TimeoutError is an OSError


class Sender:
    """An HTTP client for one destination; a context manager."""

    def __init__(
        self,
        destination: Destination,
        *,
        headers: Mapping[str, Secret] | None = None,
        resolver: aiohttp.abc.AbstractResolver | None = None,
    ) -> None:
        """`headers` are those that only the environment knows."""
        self._headers = {**_HEADERS, **destination.headers} | {name: value.reveal() for name, value in (headers or {}).items()}
        self._url = URL(destination.url)
        self._secure = not destination.allow_http
        self._destination = destination
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            limit=self._destination.concurrency,
            keepalive_timeout=KEEPALIVE_S,
            resolver=self._resolver or aiohttp.ThreadedResolver(),
            socket_factory=guarded(self._destination.networks),
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            headers=self._headers,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=self._destination.timeout_s),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=_READ_BUFFER,
            max_line_size=_READ_BUFFER,
            max_field_size=_READ_BUFFER,
            max_headers=64,
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Return what came of one attempt within the destination's timeout; never raises for what the other side does."""
        began = time.perf_counter()
        if self._session is None or (self._secure and self._url.scheme != "https"):
            return Answer(failure="guard")
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                took = time.perf_counter() - began
                asked = retry_after(response.headers.get("Retry-After"), datetime.now(UTC)) if response.status >= 400 else None  # noqa: PLR2004
                await _finish(response)
                return Answer(status=response.status, asked=asked, took=took)
        except _FOREIGN as error:
            return Answer(failure=failure(error), took=time.perf_counter() - began)


async def _finish(response: aiohttp.ClientResponse) -> None:
    """Read a short answer's body, so that its connection is kept; leave a long, slow or broken one: the status stands."""
    if response.content.at_eof():
        return
    try:
        async with asyncio.timeout(1.0):
            while not response.content.at_eof() and response.content.total_bytes <= BODY_READ:
                await response.content.readany()
    except _FOREIGN:
        response.close()


def failure(error: BaseException) -> Failure:
    """Return the class of a foreign error."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "dns"
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return "tls"
    if isinstance(error, aiohttp.InvalidURL):  # the URL was checked at the start: the client refuses the notation of its address
        return "guard"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "guard" if isinstance(error.os_error, Guarded) else "connect"
    return "connect" if isinstance(error, OSError) else "protocol"
