"""The calls to Ring's OAuth and API: one request each, one outcome each, never a redirect, a proxy or a log of a secret."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Final

import aiohttp
import msgspec
from yarl import URL

from linker.metrics import RING_SECONDS
from linker.outcomes import Done, NotSent, Outcome, Refused, Unauthorised, Unclear
from schemas.errors import Misconfigured, Rejected
from schemas.findings.reach import obstacle
from schemas.findings.trying import OURS
from schemas.records import App
from schemas.ring import answers, api, limits
from workers.runtime.lookup import Resolver
from workers.runtime.secrets import Secret

TIMEOUT: Final = 8.0  # seconds for a whole call
TOKENS: Final = 30.0  # seconds for one that brings tokens, where the row is held that long: they are in this one answer alone
CONNECT: Final = 5.0  # of which for the connection, from the look-up of the name on: until then nothing was sent
CONNECTIONS: Final = 400  # more than there is room for steps: whoever waited for one would take that for a slow Ring
BODY_LIMIT: Final = 64 * 1024
STRAY: Final = 30.0  # seconds between two looks whether an app is configured: only a restart changes that
BUSY: Final = 1.0  # seconds to wait after a 429 that does not say how long


class Credentials(msgspec.Struct, frozen=True):
    """What the portal gave for one app."""

    client_id: str
    client_secret: Secret
    hmac_key: Secret


class Raw(msgspec.Struct, frozen=True):
    """What came over the wire."""

    status: int
    retry_after: str | None
    body: bytes


@dataclass(frozen=True)
class RingApi:
    """Ring, as the linker sees it. Every call returns an outcome within `timeout` seconds and raises nothing of the wire.

    Those that bring tokens are told how long; `longest` is of use to them at most.
    """

    oauth: aiohttp.ClientSession
    session: aiohttp.ClientSession
    oauth_url: str
    api_url: str
    apps: Mapping[App, Credentials]
    timeout: float = TIMEOUT
    longest: float = TOKENS
    heard: Callable[[limits.Limit], None] = lambda _: None

    async def exchange(self, app: App, code: str, within: float | None = None) -> api.Tokens | Outcome:
        """POST the code: its one and only time. Its answer is awaited `within` seconds, by default `timeout`."""
        if (known := self.apps.get(app)) is None:
            return _unknown(app)
        secret = known.client_secret.reveal()
        return await self._tokens("exchange", api.exchange_form(known.client_id, secret, code), (secret, code), within)

    async def refresh(self, app: App, refresh_token: str, within: float | None = None) -> api.Tokens | Outcome:
        """POST the refresh token, which rotates. Its answer is awaited `within` seconds, by default `timeout`."""
        if (known := self.apps.get(app)) is None:
            return _unknown(app)
        secret = known.client_secret.reveal()
        form = api.refresh_form(known.client_id, secret, refresh_token)
        return await self._tokens("refresh", form, (secret, refresh_token), within)

    async def identify(self, access_token: str) -> Outcome:
        """GET users/me: Done carries the account id."""
        raw = await self._api("account", "GET", api.ACCOUNT_PATH, access_token)
        outcome = _outcome("account", raw, (access_token,))
        if not isinstance(raw, Raw) or not isinstance(outcome, Done):
            return outcome
        try:
            return Done(account=api.read_account(raw.body))
        except Rejected as error:
            return Unclear(words=str(error))

    async def claim(self, access_token: str, nonce: str, identifier: str | None) -> Outcome:
        """POST the integration with the nonce."""
        body = api.claim_body(nonce, identifier)
        secrets = (access_token, nonce, identifier or "")
        return _outcome("claim", await self._api("claim", "POST", api.INTEGRATION_PATH, access_token, body), secrets)

    async def complete(self, access_token: str) -> Outcome:
        """PATCH the integration to completed."""
        body = api.complete_body()
        raw = await self._api("complete", "PATCH", api.INTEGRATION_PATH, access_token, body)
        return _outcome("complete", raw, (access_token,))

    async def devices(self, access_token: str) -> Outcome:
        """GET devices: whether Ring takes the token still."""
        return _outcome("devices", await self._api("devices", "GET", api.DEVICES_PATH, access_token), (access_token,))

    async def _tokens(
        self, call: answers.Call, form: dict[str, str], secrets: Collection[str], within: float | None
    ) -> api.Tokens | Outcome:
        raw = await self._send(call, self.oauth, "POST", self.oauth_url + api.TOKEN_PATH, within or self.timeout, data=form)
        outcome = _outcome(call, raw, secrets)
        if not isinstance(raw, Raw) or not isinstance(outcome, Done):
            return outcome
        try:
            return api.read_tokens(raw.body)
        except Rejected as error:
            return Unclear(words=str(error))

    async def _api(
        self, call: answers.Call, method: str, path: str, token: str, body: bytes | None = None
    ) -> Raw | NotSent | Unclear:
        headers = {"Authorization": f"Bearer {token}"} | ({"Content-Type": "application/json"} if body else {})
        return await self._send(call, self.session, method, self.api_url + path, self.timeout, data=body, headers=headers)

    async def _send(
        self,
        call: answers.Call,
        session: aiohttp.ClientSession,
        method: str,
        url: str,
        within: float,
        **what: Any,  # noqa: ANN401 - aiohttp's own
    ) -> Raw | NotSent | Unclear:
        try:
            with RING_SECONDS.labels(call).time():
                async with (
                    asyncio.timeout(within),
                    session.request(method, url, allow_redirects=False, timeout=_connects(within), **what) as response,
                ):
                    self.heard(limits.read(response.headers, datetime.now(UTC)))
                    return Raw(response.status, response.headers.get("Retry-After"), await _body(response))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return NotSent(words=unreached(url, error))
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return Unclear(words=unanswered(error))


def unreached(url: str, error: Exception) -> str:
    """Return in words to where there was no connection, and why; nothing of the path."""
    place, why = URL(url), error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return f"no connection to Ring at {place.host}:{place.port}: {obstacle(why)}"


def unanswered(error: Exception) -> str:
    """Return in words why nobody knows whether Ring acted."""
    if isinstance(error, TimeoutError):
        return "Ring did not answer in time"
    if isinstance(error, aiohttp.ClientResponseError):
        return "what answered in Ring's place does not speak HTTP"
    return "the connection to Ring was cut before its answer"


@asynccontextmanager
async def connect(
    *,
    api_url: str,
    oauth_url: str,
    apps: Mapping[App, Credentials],
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - of each call
    longest: float = TOKENS,
    heard: Callable[[limits.Limit], None] = lambda _: None,
) -> AsyncIterator[RingApi]:
    """Open the client, for URLs that are https or loopback (security 15); raises Misconfigured for others.

    `heard` is told what each answer says of Ring's limit.
    """
    async with AsyncExitStack() as stack:
        # A code goes out on a connection of its own: one kept alive may be cut under it, and nobody would know what became of it.
        oauth = await stack.enter_async_context(_session(force_close=True))
        session = await stack.enter_async_context(_session(force_close=False))
        yield RingApi(oauth, session, _safe(oauth_url), _safe(api_url), apps, timeout, longest, heard)


def _connects(within: float) -> aiohttp.ClientTimeout:
    """Bound what comes before the request, so that it ends before all of it does: else nobody could say that nothing was sent."""
    return aiohttp.ClientTimeout(total=None, connect=min(CONNECT, CONNECT / TIMEOUT * within))


def _session(*, force_close: bool) -> aiohttp.ClientSession:
    made = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS, force_close=force_close, resolver=Resolver()),
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "ringhook", "Accept": "application/json"},
    )
    made._retry_connection = False  # noqa: SLF001 - a GET that is cut would go out twice, with one place of the budget
    return made


def _outcome(  # noqa: PLR0911 - a table: one line, one meaning
    call: answers.Call, raw: Raw | NotSent | Unclear, secrets: Collection[str]
) -> Outcome:
    """Say what an answer means for the saga; Ring's own words go along, cut short by the schema, and without these secrets."""
    if not isinstance(raw, Raw):
        return raw
    answer = answers.classify(call, raw.status, raw.retry_after, raw.body, datetime.now(UTC), secrets=secrets)
    words = f"{raw.status} {' · '.join(answer.said[:2])}".strip()
    wait = answer.after.total_seconds() if answer.after else 0.0
    match answer.meaning:
        case "done":
            return Done()
        case "unauthorised":
            return Unauthorised(words=words)
        case "limited":
            return NotSent(words=words, wait=max(wait, BUSY), limited=True)
        case "client":
            return Refused(words=words, client=True) if call == "exchange" else NotSent(words=words, wait=wait, client=True)
        case "unavailable":
            return _unavailable(call, raw.status, words, wait)
        case "ambiguous":
            return Unclear(words=words, wait=wait)
        case _:
            past = "transition" in words.lower()
            stale = answer.meaning in {"transition", "invalid_nonce"} or past
            return Refused(words=words, stale=stale, past=past, doubtful=answer.meaning == "doubtful")


def _unknown(app: App) -> NotSent:
    return NotSent(
        words=f"{OURS}it came by the app with the id {app}, whose credentials are not configured: "
        "set them again (with _NEXT beside another app's), or let the user connect the app that is configured",
        wait=STRAY,
        stray=True,
    )


def _unavailable(call: answers.Call, status: int, words: str, wait: float) -> Outcome:
    """Tell what Ring did not take up from what it may have; a redirect is not followed, and a code not offered twice to it."""
    if status < HTTPStatus.BAD_REQUEST:
        return (
            Refused(words=f"{words} (a redirect, which is not followed)")
            if call == "exchange"
            else NotSent(words=words, wait=wait)
        )
    if call == "claim":
        return Unclear(words=words, wait=wait)  # asking by PATCH costs nothing
    return NotSent(words=words, wait=wait)


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """Return at most BODY_LIMIT bytes; what was cut or never came is no reason to forget the status."""
    body = b""
    try:
        async for chunk in response.content.iter_chunked(BODY_LIMIT):
            body += chunk
            if len(body) >= BODY_LIMIT:
                return body[:BODY_LIMIT]
    except (aiohttp.ClientError, TimeoutError, OSError):
        return body
    return body


def _safe(url: str) -> str:
    parsed = URL(url)
    if parsed.scheme == "https" or (parsed.scheme == "http" and _loopback(parsed.host or "")):
        return url.rstrip("/")
    raise Misconfigured(f"Ring's URLs must be https (http only on loopback), not {parsed.scheme}://{parsed.host}")


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
