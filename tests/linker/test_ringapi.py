"""What becomes of one call to Ring, on the wire."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from linker.outcomes import Done, NotSent, Refused, Unauthorised, Unclear
from linker.ringapi import RingApi, connect
from schemas.errors import Misconfigured
from tests.linker.rig import APPS

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
        assert isinstance(await api.exchange("first", "code"), NotSent)


async def test_an_answer_that_does_not_come_in_time_is_unclear() -> None:
    async def slow(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.Response()

    async with ring(slow, timeout=0.2) as api:
        outcome = await api.exchange("first", "code")
    assert isinstance(outcome, Unclear)


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
            assert "next app" in outcome.words


def test_credentials_do_not_show_themselves() -> None:
    assert "canary" not in repr(APPS)
