"""What becomes of one call to Ring, on the wire."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import quote, quote_plus

import pytest
from aiohttp import web

from linker.budget import Budget
from linker.outcomes import Done, NotSent, Refused, Unauthorised, Unclear
from linker.placestore import Alone
from linker.ringapi import RingApi, connect
from schemas.errors import Misconfigured
from schemas.ring.api import Tokens
from schemas.ring.limits import Limit
from tests.linker.rig import APPS
from workers.runtime import lookup

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{any:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def ring(answer: Answer, timeout: float = 1.0) -> AsyncIterator[RingApi]:  # noqa: ASYNC109 - the client's own
    async with serving(answer) as url, connect(api_url=url, oauth_url=url, apps=APPS, timeout=timeout) as api:
        yield api


async def test_a_call_whose_connection_is_cut_is_one_request_at_ring() -> None:
    seen: list[str] = []

    async def cutting(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        assert request.transport
        request.transport.abort()
        return web.Response()

    async with ring(cutting) as api:
        for call in (api.identify("token"), api.devices("token"), api.complete("token"), api.exchange("first", "code")):
            assert isinstance(await call, Unclear)
    assert len(seen) == 4


async def test_redirects_are_not_followed_and_the_other_host_sees_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        seen.append(request.path)
        return web.json_response({})

    async with serving(elsewhere) as other:

        async def redirecting(_request: web.Request) -> web.StreamResponse:
            return web.Response(status=307, headers={"Location": f"{other}/oauth/token"})

        monkeypatch.setenv("HTTP_PROXY", other)
        async with ring(redirecting) as api:
            assert isinstance(await api.exchange("first", "code"), Refused)
            assert isinstance(await api.identify("token"), NotSent)
            assert isinstance(await api.claim("token", "nonce", None), NotSent)
    assert seen == []


async def test_a_server_that_is_not_there_was_sent_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    async with connect(api_url=url, oauth_url=url, apps=APPS) as api:
        outcome = await api.exchange("first", "code")
    assert outcome == NotSent(words=f"no connection to Ring at {url[7:]}: the connection was refused (nothing listens there)")


async def test_a_name_that_is_not_there_was_sent_nothing() -> None:
    url = "https://no-such.example.com"
    async with connect(api_url=url, oauth_url=url, apps=APPS) as api:
        outcome = await api.exchange("first", "code")
    assert outcome == NotSent(words="no connection to Ring at no-such.example.com:443: there is no such name")


async def test_name_servers_that_are_silent_were_sent_no_code(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(lookup, "_found", lambda _host, _family: [*range(over.wait(10) - 1)])
    url = "https://silent.example.com"
    try:
        async with connect(api_url=url, oauth_url=url, apps=APPS, timeout=0.4, longest=0.4) as api:
            outcome = await api.exchange("first", "code")
    finally:
        over.set()
    assert outcome == NotSent(words="no connection to Ring at silent.example.com:443: no answer came in time")


async def test_what_speaks_no_tls_or_closes_or_babbles_in_rings_place_is_told_in_words() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.readline()
        writer.write(b"220 mail.example.com\r\n" if b"HTTP" not in first or b"token" in first else b"")
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    at = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        async with connect(api_url=f"http://{at}", oauth_url=f"http://{at}", apps=APPS) as api:
            assert await api.exchange("first", "code") == Unclear(words="what answered in Ring's place does not speak HTTP")
            assert await api.identify("canary") == Unclear(words="the connection to Ring was cut before its answer")
        async with connect(api_url=f"https://{at}", oauth_url=f"https://{at}", apps=APPS) as api:
            outcome = await api.identify("canary")
    words = f"no connection to Ring at {at}: what listens there does not speak TLS as asked"
    assert outcome == NotSent(words=words)


async def test_an_answer_that_does_not_come_in_time_is_unclear() -> None:
    async def slow(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.Response()

    async with ring(slow, timeout=0.2) as api:
        outcome = await api.exchange("first", "code")
    assert outcome == Unclear(words="Ring did not answer in time")


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, b'{"status":"awaiting"}', Done),
        (200, b'{"data":{"attributes":{"status":"awaiting"}}}', Done),
        (201, b"<html>not json", Done),
        (400, b'{"errors":[{"title":"Invalid Nonce"}]}', Refused),
        (401, b"", Unauthorised),
        (404, b"{}", Refused),
        (429, b"", NotSent),
        (500, b"", Unclear),
        (503, b"", Unclear),
    ],
)
async def test_what_an_answer_to_the_post_means(status: int, body: bytes, expected: type) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body)

    async with ring(answer) as api:
        assert isinstance(await api.claim("token", "nonce", "u***r@example.com"), expected)


@pytest.mark.parametrize("body", [b'{"status":"completed"}', b'{"data":{"attributes":{"status":"completed"}}}', b"<html>", b""])
async def test_a_2xx_completes_whatever_its_body_holds(body: bytes) -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body)

    async with ring(answer) as api:
        assert isinstance(await api.complete("token"), Done)


async def test_a_token_answer_that_cannot_be_read_is_unclear() -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"<html>")

    async with ring(answer) as api:
        assert isinstance(await api.exchange("first", "code"), Unclear)
        assert isinstance(await api.identify("token"), Unclear)


async def test_an_endless_answer_is_cut() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(64):
            await response.write(b" " * 65_536)
        return response

    async with ring(answer) as api:
        assert isinstance(await api.complete("token"), Done)


@pytest.mark.parametrize("url", ["http://api.example.com", "ftp://127.0.0.1", "http://10.0.0.1"])
async def test_urls_that_are_neither_https_nor_loopback_are_refused(url: str) -> None:
    with pytest.raises(Misconfigured):
        async with connect(api_url=url, oauth_url="https://oauth.example.com", apps=APPS):
            pass


async def test_an_app_without_credentials_sends_nothing_and_ends_nothing() -> None:
    url = "http://127.0.0.1:9"
    async with connect(api_url=url, oauth_url=url, apps={"first": APPS["first"]}) as api:
        for outcome in (await api.exchange("next", "code"), await api.refresh("next", "token")):
            assert isinstance(outcome, NotSent)
            assert outcome.stray
            assert "the app with the id next" in outcome.words


async def test_what_ring_says_of_its_limit_is_heard_with_every_answer() -> None:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=503, headers={"X-RateLimit-Limit": "100", "X-RateLimit-Remaining": "0"})

    heard: list[Limit] = []
    async with serving(answer) as url, connect(api_url=url, oauth_url=url, apps=APPS, heard=heard.append) as api:
        await api.complete("token")
        await api.refresh("first", "token")
    assert heard == [Limit(100, 0), Limit(100, 0)]


ODD = (
    "1.²",
    "1.5.5",
    "²",
    "٣",
    "-1",
    "1e999",
    "nan",
    "",
    ";",
    "=;;;",
    "9" * 4_000,
    "a=b; expires=?",
    "http://[::",
    "<http://[>; rel=next",
)
NAMES = (
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "Retry-After",
    "Set-Cookie",
    "Content-Type",
    "Location",
    "Link",
    "WWW-Authenticate",
    "Date",
)


async def test_no_odd_header_keeps_tokens_from_us() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        form = await request.post()
        body = b'{"access_token": "access", "refresh_token": "refresh", "expires_in": 14400}'
        return web.Response(body=body, headers=dict.fromkeys(NAMES, ODD[int(str(form["code"]))]))

    async with serving(answer) as url, connect(api_url=url, oauth_url=url, apps=APPS, heard=Budget(Alone(), 10).heard) as api:
        answers = [await api.exchange("first", str(number)) for number in range(len(ODD))]
    assert {type(answer) for answer in answers} == {Tokens}


def test_credentials_do_not_show_themselves() -> None:
    assert "canary" not in repr(APPS)


SECRETS = {
    "code": "short",
    "refresh": "R3fresh/+ token",
    "access": "an-access-token",
    "nonce": "n0n/ce",
    "identifier": "u***r@example.com",
}


@pytest.mark.parametrize("spelt", [str, lambda secret: quote(secret, safe=""), quote_plus])
@pytest.mark.parametrize("shape", ["detail", "error_description"])
async def test_a_ring_that_repeats_what_it_was_asked_with_is_quoted_without_it(spelt: Callable[[str], str], shape: str) -> None:
    app = APPS["first"]
    secrets = [*SECRETS.values(), app.client_secret.reveal()]

    async def echo(_request: web.Request) -> web.Response:
        words = "no good: " + ", ".join(map(spelt, secrets)) + " and canary0" + "x" * 300
        listed = {"errors": [{"title": "Bad", "detail": words}]}
        return web.json_response(listed if shape == "detail" else {"error": "odd", "error_description": words}, status=400)

    async with ring(echo) as api:
        outcomes = [
            await api.exchange("first", SECRETS["code"]),
            await api.refresh("first", SECRETS["refresh"]),
            await api.identify(SECRETS["access"]),
            await api.claim(SECRETS["access"], SECRETS["nonce"], SECRETS["identifier"]),
            await api.complete(SECRETS["access"]),
        ]
    carried = [
        (SECRETS["code"], secrets[-1]),
        (SECRETS["refresh"], secrets[-1]),
        (SECRETS["access"],),
        (SECRETS["access"], SECRETS["nonce"], SECRETS["identifier"]),
        (SECRETS["access"],),
    ]
    for outcome, hidden in zip(outcomes, carried, strict=True):
        assert isinstance(outcome, Refused | NotSent | Unclear)
        assert "no good" in outcome.words
        assert not [secret for secret in (*hidden, "canary0") if secret in outcome.words or spelt(secret) in outcome.words]
