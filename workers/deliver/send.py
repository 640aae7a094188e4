"""The HTTP client of deliveries: one attempt in, one Answer out; whatever the other side does is bounded."""

import asyncio
import ssl
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from types import TracebackType
from typing import Final, Self

import aiohttp
from yarl import URL

from schemas.findings.reach import origin
from workers.deliver.answer import Answer, Failure, retry_after
from workers.deliver.destinations import Destination
from workers.deliver.redact import escapes, redacted, secret_parts
from workers.deliver.tls import shared
from workers.deliver.watch import Connector, sockets, started
from workers.deliver.words import told
from workers.runtime.guard import Guarded
from workers.runtime.lookup import Resolver
from workers.runtime.secrets import Secret

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
        tls: ssl.SSLContext | None = None,
        resolver: aiohttp.abc.AbstractResolver | None = None,
    ) -> None:
        """`headers` are those that only the environment knows; without `tls` the system's authorities are believed."""
        secret = {name: value.reveal() for name, value in (headers or {}).items()}
        self._headers = {**_HEADERS, **destination.headers} | secret
        self._secrets = tuple(secret.values())
        self._url = URL(destination.url)
        self._named = not _is_address(self._url.host)
        self._secure = not destination.allow_http
        self._destination = destination
        self._resolver = resolver
        self._tls = tls or (shared() if self._url.scheme == "https" else True)
        self._session: aiohttp.ClientSession | None = None
        self._masking = asyncio.Lock()  # one answer a turn of the loop: what is escaped on purpose takes its time to read

    async def __aenter__(self) -> Self:
        connector = Connector(
            limit=self._destination.concurrency,
            keepalive_timeout=KEEPALIVE_S,
            ssl=self._tls,
            resolver=self._resolver or Resolver(),
            socket_factory=sockets(self._destination.networks),
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

    async def _masked(self, said: bytes, secrets: Sequence[bytes]) -> bytes:
        """Return what was said without these secrets; of what escapes something one a turn, whoever else wants the loop."""
        if not escapes(said):
            return redacted(said, secrets)
        async with self._masking:
            await asyncio.sleep(0)  # else nobody waits for the lock: those of one turn find it free again
            return redacted(said, secrets)

    async def reach(self) -> Answer:
        """Return what came of a request that asks for nothing and brings no event: any status means that the way is free."""
        return await self._request("HEAD", b"", {})

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Return what came of one attempt within the destination's timeout; never raises for what the other side does.

        What it says is without the secrets that it was told.
        """
        return await self._request("POST", body, headers)

    async def _request(self, method: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        if self._session is None or (self._secure and self._url.scheme != "https"):
            return Answer(failure="guard")
        watch = started()
        try:
            async with self._session.request(method, self._url, data=body, headers=headers, allow_redirects=False) as response:
                ended = time.perf_counter()
                timing = watch.split(ended, None, named=self._named)
                if 200 <= response.status < 300:  # noqa: PLR2004 -- success
                    await _read(response)
                    return Answer(status=response.status, took=ended - watch.began, timing=timing)
                asked = retry_after(response.headers.get("Retry-After"), datetime.now(UTC)) if response.status >= 400 else None  # noqa: PLR2004
                secrets = secret_parts((*self._secrets, headers.get("webhook-signature", "")))
                said = await self._masked(await _read(response), secrets)
                return Answer(status=response.status, asked=asked, took=ended - watch.began, timing=timing, said=said)
        except _FOREIGN as error:
            ended, why = time.perf_counter(), failure(error)
            timing = watch.split(ended, why, named=self._named)
            words = told(error, timing, certified=self._destination.cert_file is not None)
            return Answer(failure=why, took=ended - watch.began, timing=timing, words=words)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return how a body begins, and read a short one to its end, so that its connection is kept.

    A long, slow or broken one is left: the status stands.
    """
    read = bytearray()
    if response.content.at_eof():
        return b""
    try:
        async with asyncio.timeout(1.0):
            while not response.content.at_eof() and len(read) <= BODY_READ:
                read += await response.content.readany()
    except _FOREIGN:
        response.close()
    return bytes(read[:BODY_READ])


def _is_address(host: str | None) -> bool:
    try:
        return bool(ip_address(host or ""))
    except ValueError:
        return False


def failure(error: BaseException) -> Failure:
    """Return the class of a foreign error."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "dns"
    if isinstance(error, aiohttp.ClientSSLError) or isinstance(origin(error), ssl.SSLError):
        return "tls"
    if isinstance(error, aiohttp.InvalidURL):  # the URL was checked at the start: the client refuses the notation of its address
        return "guard"
    if isinstance(error, aiohttp.ClientConnectorError):
        return "guard" if isinstance(error.os_error, Guarded) else "connect"
    # TLS 1.3: a server refuses our certificate when the handshake is over for us, and a reset may overtake what it says
    return "connect" if isinstance(error, OSError) else "protocol"
