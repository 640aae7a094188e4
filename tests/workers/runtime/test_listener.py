import asyncio
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

    application, (port,), stop = internal_app(), ports.free(1), asyncio.Event()
    application.router.add_get("/broken/{account}", broken)
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
