"""The listener as strangers meet it: raw sockets, half requests, floods, and the end."""

import asyncio
import gc
import io
import logging
import resource
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import structlog
import uvloop
from aiohttp import web

from deploy.roles import _calm_collector
from ingress.descriptors import room_for
from ingress.server import Server, closed
from ingress.settings import Limits
from schemas import topics
from schemas.errors import Misconfigured
from schemas.ring import nonce
from schemas.ring.signature import sign
from tests.ingress.conftest import KEY, Edge, Start, running, until
from workers.runtime import logs

BODY = b'{"meta":{"request_id":"r1","account_id":"a1"}}'
STARTED = f"/ring/account-link?nonce={nonce.make(KEY.encode(), '1771130906289', 'a1')}&time=1771130906289"
SIGNED = {"X-Signature": sign(KEY.encode(), BODY)}


def request(body: bytes = BODY, *, length: int | None = None, extra: str = "", path: str = "/ring/webhook") -> bytes:
    signature = sign(KEY.encode(), body)
    size = len(body) if length is None else length
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Signature: {signature}\r\n{extra}Content-Length: {size}\r\n\r\n".encode() + body


@asynccontextmanager
async def connected(edge: Edge) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def said(edge: Edge, sent: bytes, *, within: float = 10) -> bytes:
    """Send bytes, and return all that comes back until the server closes."""
    async with connected(edge) as (reader, writer), asyncio.timeout(within):
        writer.write(sent)
        await writer.drain()
        return await reader.read()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def head(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        return await reader.readuntil(b"\r\n\r\n")


async def test_headers_that_do_not_come_to_an_end_are_cut(serve: Start) -> None:
    async with serve(limits=Limits(headers_s=0.3)) as edge:
        begun = time.monotonic()
        assert await said(edge, b"POST /ring/webhook HTTP/1.1\r\nX-Slow: ") == b""
        assert await said(edge, b"") == b""
        assert time.monotonic() - begun < 200


async def test_a_kept_connection_is_not_cut_between_two_requests_but_in_the_middle_of_one(serve: Start) -> None:
    async with serve(limits=Limits(headers_s=0.3)) as edge, connected(edge) as (reader, writer):
        writer.write(request())
        assert status(await head(reader)) == 200
        await asyncio.sleep(1.2)  # longer than headers may take: nothing is half said
        writer.write(request())
        assert status(await head(reader)) == 200
        writer.write(b"POST /")
        async with asyncio.timeout(30):
            assert await reader.read() == b""


async def test_a_slow_body_is_cut_by_the_deadline_with_503_and_the_connection_ends(serve: Start) -> None:
    async with serve(limits=Limits(deadline_s=0.3, linger_s=0.2)) as edge:
        for part in (
            request(length=len(BODY) + 1),
            b"POST /ring/webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        ):
            begun = time.monotonic()
            answer = await said(edge, part)
            assert (status(answer), b"Retry-After: 2" in answer, b"Connection: close" in answer) == (503, True, True)
            assert time.monotonic() - begun < 20
        assert not edge.bus.of(topics.WEBHOOK_RECEIVED)


async def test_a_declared_length_over_the_cap_is_refused_unread(edge: Edge) -> None:
    for length in (topics.BODY_LIMIT + 1, 2 * 1024**3):
        begun = time.monotonic()
        assert status(await said(edge, request(length=length))) == 413
        assert time.monotonic() - begun < 20
    assert status(await said(edge, request(length=16 * 1024 + 1, path="/ring/token-exchange"))) == 413


async def test_expect_100_continue_is_obeyed_unless_the_body_is_too_large(edge: Edge) -> None:
    whole = request(extra="Expect: 100-continue\r\n")
    async with connected(edge) as (reader, writer):
        writer.write(whole[: -len(BODY)])
        assert status(await head(reader)) == 100
        writer.write(BODY)
        assert status(await head(reader)) == 200
    assert status(await said(edge, request(b"", length=topics.BODY_LIMIT + 1, extra="Expect: 100-continue\r\n"))) == 413


@pytest.mark.parametrize(
    "extra", ["Expect: miracles\r\n", "Connection: Upgrade\r\nUpgrade: h2c\r\n", "Content-Encoding: br\r\n", "Accept: x/y\r\n"]
)
async def test_no_odd_header_costs_a_signed_webhook_its_200(edge: Edge, extra: str) -> None:
    async with connected(edge) as (reader, writer):
        writer.write(request(extra=extra))
        assert status(await head(reader)) == 200
    assert edge.bus.of(topics.WEBHOOK_RECEIVED)[0].value == BODY


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no TLS here\r\n\r\n",
        b"POST /ring/webhook HTTP/9.9\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
        b"GET / HTTP/0.9\r\nHost: x\r\n\r\n",
        b"POST /ring/webhook HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /ring/webhook HTTP/1.1\r\nContent-Length: 1e3\r\n\r\n",
        b"POST /ring/webhook HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST /ring/webhook HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"POST /ring/webhook HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /ring/webhook HTTP/1.1\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
        b"POST /\x00 HTTP/1.1\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_400_from_the_parser_without_an_echo(
    edge: Edge, sent: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = await said(edge, sent)
    assert status(answer) == 400
    assert answer.startswith(b"HTTP/1.")
    assert answer.endswith(b"\r\n\r\nNot HTTP as we read it.\n") or b"framing is broken" in answer
    assert "Traceback" not in capsys.readouterr().out


def test_a_flood_of_drips_live_pages_and_gzip_bombs_keeps_no_signed_webhook_waiting() -> None:
    """On uvloop and with the collector calmed, as roles run; what strangers do is not the server's time, but a process's own.

    A machine that others keep busy may be slow once, a server that lets strangers in first is slow each time.
    """
    slowest = list[float]()
    while len(slowest) < 3 and min(slowest, default=1.0) >= 1:
        with calm_collector():
            slowest.append(max(uvloop.run(flooded(drips=5_000, pages=1_000))))
    assert min(slowest) < 1, slowest


@contextmanager
def calm_collector() -> Iterator[None]:
    """Spare the tests' own objects, of which a full collection takes most of a second on a busy machine."""
    usual = gc.get_threshold()
    _calm_collector()
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


async def flooded(*, drips: int, pages: int) -> list[float]:
    """Return how long each signed webhook took, from before the flood until its first bodies have met their deadline."""
    took = list[float]()
    async with running(limits=Limits(webhooks=50)) as edge:
        async with edge.client.get(STARTED, allow_redirects=False):
            (cookie,) = (morsel.value for morsel in edge.client.cookie_jar)
        async with flood(edge, drips, pages, cookie) as standing:
            until = time.monotonic() + 60
            while time.monotonic() < until:
                begun = time.monotonic()
                kept = {} if len(took) % 2 else {"Connection": "close"}  # some on a new connection, some on a kept one
                async with edge.client.post("/ring/webhook", data=BODY, headers=SIGNED | kept) as response:
                    assert response.status == 200
                took.append(time.monotonic() - begun)
                await asyncio.sleep(0.01)
                if standing.done():
                    assert standing.result() == b"standing\n"
                    until = min(until, time.monotonic() + 2.0)
    assert len(took) > 20
    return took


@asynccontextmanager
async def flood(edge: Edge, drips: int, pages: int, cookie: str) -> AsyncIterator[asyncio.Task[bytes]]:
    """Let strangers come from a process of their own; give what it says once they are all there."""
    words = (sys.executable, str(Path(__file__).with_name("flood.py")), str(edge.port), str(drips), str(pages), cookie)
    piped = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
    process = await asyncio.create_subprocess_exec(*words, **piped)
    assert process.stdin
    assert process.stdout
    standing = asyncio.create_task(process.stdout.readline())
    try:
        yield standing
    finally:
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 30)
        await standing


async def test_large_bodies_of_strangers_have_a_bound_that_small_ones_never_meet(serve: Start) -> None:
    async with serve(limits=Limits(buffered_bytes=100_000, deadline_s=2.0, linger_s=0.1)) as edge:
        large = request(b"y" * 90_000, extra="Connection: close\r\n")

        async def refused() -> bool:
            return status(await said(edge, large)) == 503

        async def accepted() -> bool:
            return not await refused()

        async with connected(edge) as (_, writer):
            writer.write(request(b"x" * 90_000, length=200_000))
            await until(refused)
            assert status(await said(edge, request(extra="Connection: close\r\n"))) == 200
        await until(accepted)


async def test_over_the_bound_of_connections_a_new_one_is_closed_at_once(serve: Start) -> None:
    async with serve(limits=Limits(connections=2)) as edge, connected(edge) as (first, writer):
        writer.write(request())
        await head(first)
        async with connected(edge) as (second, another):
            another.write(request())
            await head(second)
            assert await said(edge, b"") == b""
        writer.write(request())
        assert status(await head(first)) == 200


async def test_the_stop_finishes_what_is_in_flight_and_accepts_no_more(edge: Edge) -> None:
    edge.bus.gate.clear()
    async with connected(edge) as (reader, writer):
        writer.write(request())
        await edge.bus.until_waiting(1)
        edge.stop.set()

        async def closed() -> bool:
            return edge.server.ready() is not None

        await until(closed)
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", edge.port)
        done, _ = await asyncio.wait({edge.running}, timeout=0.2)
        assert not done
        edge.bus.gate.set()
        assert status(await head(reader)) == 200
    await asyncio.wait_for(edge.running, 30)
    assert edge.bus.of(topics.WEBHOOK_RECEIVED)[0].value == BODY


async def test_the_stop_waits_for_a_body_that_is_still_on_its_way(edge: Edge) -> None:
    whole = request(b"code=c0de", path="/ring/token-exchange")
    async with connected(edge) as (reader, writer):
        writer.write(whole[:-4])

        await asyncio.sleep(0.2)  # until its headers have been read
        edge.stop.set()
        await asyncio.sleep(0.4)  # as long as a slow sender takes
        assert not edge.running.done()
        writer.write(whole[-4:])
        assert status(await head(reader)) == 200
        async with asyncio.timeout(30):
            assert await reader.read() == b""
    await asyncio.wait_for(edge.running, 30)
    assert len(edge.bus.of(topics.CODE_RECEIVED)) == 1


async def test_after_the_stop_a_body_that_never_comes_ends_at_its_deadline_as_ever(serve: Start) -> None:
    async with serve(limits=Limits(deadline_s=0.5, linger_s=0.2)) as edge, connected(edge) as (reader, writer):
        writer.write(request(length=len(BODY) + 1))
        await asyncio.sleep(0.1)
        edge.stop.set()
        assert status(await head(reader)) == 503
        await asyncio.wait_for(edge.running, 5)


async def test_after_the_stop_whoever_had_just_connected_is_still_answered(edge: Edge) -> None:
    async with connected(edge) as (reader, writer):
        edge.server.leaving.set()
        edge.stop.set()
        await asyncio.sleep(0.2)  # as long as a packet is on its way
        writer.write(request())
        answer = await head(reader)
        assert (status(answer), b"connection: close" in answer.lower()) == (200, True)
    await asyncio.wait_for(edge.running, 30)


async def test_after_the_stop_who_asks_on_a_kept_connection_just_then_is_still_answered(edge: Edge) -> None:
    async with connected(edge) as (reader, writer):
        writer.write(request())
        assert status(await head(reader)) == 200
        edge.server.leaving.set()
        edge.stop.set()
        await asyncio.sleep(0.05)
        writer.write(request())
        answer = await head(reader)
        assert (status(answer), b"connection: close" in answer.lower()) == (200, True)
    await asyncio.wait_for(edge.running, 30)


async def test_a_door_that_closes_gives_back_who_came_in_and_was_not_met(edge: Edge) -> None:
    listener = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    with socket.create_connection(listener.sockets[0].getsockname()) as caller:  # the loop does not turn meanwhile
        (taken,) = closed(listener)
        with taken:
            caller.sendall(b"hello")
            taken.setblocking(True)  # noqa: FBT003 - its own signature
            assert taken.recv(5) == b"hello"
    assert edge.server.ready() is None


async def test_the_stop_closes_connections_that_ask_for_nothing(edge: Edge) -> None:
    async with connected(edge) as (reader, writer):
        writer.write(request())
        await head(reader)
        edge.stop.set()
        async with asyncio.timeout(30):
            assert await reader.read() == b""


@pytest.mark.parametrize(("path", "expected"), [("/ring/webhook", 200), ("/nothing", 404)])
async def test_who_is_leaving_serves_on_and_closes_each_connection_while_readiness_says_no(
    edge: Edge, path: str, expected: int
) -> None:
    async with connected(edge) as (reader, writer):
        writer.write(request())
        assert b"Connection: close" not in await head(reader)
        edge.server.leaving.set()
        assert edge.server.ready() == "the process was told to end"
        writer.write(request(path=path))
        answer = await head(reader)
        assert status(answer) == expected
        assert b"connection: close" in answer.lower()
        async with asyncio.timeout(30):
            assert await reader.read() in (b"", b"404: Not Found")


async def test_a_server_that_ended_can_be_started_again(edge: Edge) -> None:
    edge.stop.set()
    await edge.running
    again = Server(edge.server.application, "127.0.0.1", edge.port)
    stop = asyncio.Event()
    running = asyncio.create_task(again.run(stop))

    async def ready() -> bool:
        return again.ready() is None

    await until(ready)
    assert status(await said(edge, request(extra="Connection: close\r\n"))) == 200
    stop.set()
    await running


async def test_connections_leave_descriptors_for_the_rest_of_the_process() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert room_for(10) == 10
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
    assert room_for(10**9) <= max(soft, hard) - 128
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_chunks_that_break_after_the_headers_were_read_end_at_the_deadline(serve: Start) -> None:
    async with serve(limits=Limits(deadline_s=0.3)) as edge, connected(edge) as (reader, writer):
        writer.write(b"POST /ring/webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n")
        assert status(await head(reader)) == 100
        writer.write(b"zz\r\n")
        assert status(await head(reader)) == 503


async def test_a_sender_that_goes_away_in_the_middle_of_a_body_leaves_nothing_behind(edge: Edge) -> None:
    for _ in range(5):
        async with connected(edge) as (_, writer):
            writer.write(request(b"x" * 20_000, length=100_000))
            await writer.drain()
    async with edge.client.post("/ring/webhook", data=BODY, headers=SIGNED) as response:
        assert response.status == 200
    assert len(edge.bus.of(topics.WEBHOOK_RECEIVED)) == 1


async def test_no_answer_tells_the_versions_of_what_made_it(edge: Edge) -> None:
    junk = b"\x00\r\n\r\n"
    unsigned = request(extra="Connection: close\r\n").replace(b"sha256=", b"sha256=0")
    for sent in (request(extra="Connection: close\r\n"), unsigned, b"GET /nowhere HTTP/1.0\r\n\r\n", junk):
        answer = await said(edge, sent)
        assert answer.startswith(b"HTTP/1.")
        assert b"aiohttp" not in answer
        assert b"Python" not in answer
        assert b"Server: ringhook\r\n" in answer
    async with connected(edge) as (reader, writer):
        writer.write(request())
        assert b"Server:" not in await head(reader)


async def test_an_address_in_use_ends_the_process(edge: Edge) -> None:
    with pytest.raises(Misconfigured, match="in use, perhaps by another ringhook"):
        await Server(web.Application(), "127.0.0.1", edge.port).run(asyncio.Event())


@pytest.fixture
def written(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What is logged, in one of both formats."""
    root, out = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    logs.configure(json=request.param, stream=out)
    yield out
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.mark.parametrize("written", [True, False], indirect=True)
@pytest.mark.parametrize(
    ("path", "length", "refused"),
    [
        ("/ring/webhook", "Content-Length: 0", 401),
        ("/ring/webhook", "Content-Length: 9999999", 413),
        ("/ring/token-exchange", "Content-Length: 0", 400),
        ("/ring/token-exchange/nope", "Content-Length: 0", 404),
        ("/ring/account-link/confirm", "Content-Length: 0", 403),
    ],
)
async def test_a_header_that_is_no_text_changes_no_refusal_and_its_line_is_written(
    edge: Edge, written: io.StringIO, path: str, length: str, refused: int
) -> None:
    headers = f"Host: x\r\nUser-Agent: curl/ÿ\r\nConnection: close\r\n{length}"
    sent = f"POST {path} HTTP/1.1\r\n{headers}\r\n\r\n".encode("latin-1")

    async def told() -> bool:
        assert status(await said(edge, sent)) == refused
        return "curl/\\" in written.getvalue()  # one of many is written

    await until(told)
    assert "Traceback" not in written.getvalue()
    assert "request.crashed" not in written.getvalue()
