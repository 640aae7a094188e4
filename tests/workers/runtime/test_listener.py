import asyncio
import gzip
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from deploy.local import ports
from schemas.errors import Misconfigured
from workers.runtime.listener import Listener, internal_app


@pytest.fixture
async def inside() -> AsyncIterator[aiohttp.ClientSession]:
    async def broken(_request: web.Request) -> web.Response:
        raise RuntimeError("a canary of ours")

    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    application, (port,), stop = internal_app(), ports.free(1), asyncio.Event()
    application.router.add_get("/broken/{account}", broken)
    application.router.add_post("/echo", echo)
    listener = Listener(application, "127.0.0.1", port)
    running = asyncio.create_task(listener.run(stop))
    await asyncio.wait_for(listener.opened.wait(), 30)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        yield client
    stop.set()
    await asyncio.wait_for(running, 30)


async def test_a_bug_of_ours_is_503_in_json_and_a_line_in_the_log(inside: aiohttp.ClientSession) -> None:
    with capture_logs() as logged:
        async with inside.get("/broken/account-7") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
            assert (await answer.json())["error"] == {"code": "unavailable", "message": "Something of ours broke."}
    assert [(line["event"], line["route"]) for line in logged] == [("request.crashed", "/broken/{account}")]
    assert "account-7" not in str(logged)


async def test_what_is_not_there_is_404_and_no_answer_tells_versions(inside: aiohttp.ClientSession) -> None:
    for path, status in (("/nowhere", 404), ("/broken/x", 503)):
        async with inside.get(path) as answer:
            assert (answer.status, answer.headers["Server"]) == (status, "ringhook")


async def said(client: aiohttp.ClientSession, sent: bytes) -> bytes:
    """Send bytes, and return all that comes back until the listener closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client._base_url.port)  # type: ignore[union-attr]
    async with asyncio.timeout(10):
        writer.write(sent)
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /echo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer CANARY\x00\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer CANARY" + b"a" * 9_000 + b"\r\n\r\n",
        b"GET /echo HTTP/1.1\r\nAuthorization: Bearer CANARY\r\n\r\n",  # no Host
        b"CANARY\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 CANARY\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: CANARY\r\n\r\n",
        b"GET /echo HTTP/0.9\r\nHost: x\r\nAuthorization: Bearer CANARY\r\n\r\n",
        b"GET /echo HTTP/2.0\r\nHost: x\r\nAuthorization: Bearer CANARY\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_a_short_400_and_neither_answer_nor_log_quotes_it(
    inside: aiohttp.ClientSession, sent: bytes, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    answer = await said(inside, sent)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
    assert (body, b"Server: ringhook" in head) == (b"Not HTTP as we read it.\n", True)
    assert not caplog.records
    written = "".join(capsys.readouterr())
    assert not [word for word in ("CANARY", "Traceback") if word in written]


async def test_a_body_is_read_as_it_came_and_never_decompressed(inside: aiohttp.ClientSession) -> None:
    headers = {"Content-Encoding": "gzip"}
    for body in (gzip.compress(b"0" * 1_000_000), b"no gzip at all"):
        async with inside.post("/echo", data=body, headers=headers) as answer:
            assert (answer.status, await answer.read()) == (200, body)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("127.0.0.1", "it is in use, perhaps by another ringhook. RINGHOOK_INTERNAL_LISTEN chooses another address"),
        ("no-such.example.com", "there is no such name. RINGHOOK_INTERNAL_LISTEN chooses another address"),
    ],
)
async def test_an_address_that_cannot_be_had_is_a_sentence(host: str, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Misconfigured) as raised:
            await Listener(internal_app(), host, port).run(asyncio.Event())
    assert str(raised.value) == f"cannot listen on {host}:{port}: {words}"
