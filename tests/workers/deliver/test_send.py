"""One attempt against services that misbehave, and addresses that must not be reached."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from tests.workers.deliver.support import Sink, destination
from workers.deliver import send
from workers.deliver.answer import Answer
from workers.deliver.send import Sender
from workers.runtime.secrets import Secret

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def speaking(talk: Talk) -> AsyncIterator[tuple[str, list[int]]]:
    """Serve raw TCP on loopback; gives the URL and a list with one entry per connection."""
    connections: list[int] = []

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(met, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/ring", connections
    finally:
        server.close()


async def attempt(url: str, *, resolver: AbstractResolver | None = None, **changes: object) -> Answer:
    async with Sender(destination(url, **{"timeout_s": 0.5, **changes}), resolver=resolver) as sender:
        return await sender.post(b"{}", {"webhook-id": "e1"})


def saying(data: bytes, *, forever: bytes = b"", hang: bool = False, reset: bool = False) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()
        while forever:
            writer.write(forever)
            await writer.drain()
        if hang:
            await reader.read()
        if reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()

    return talk


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("talk", "status", "failures"),
    [
        (saying(b"", hang=True), None, {"timeout"}),
        (saying(b"", reset=True), None, {"connect"}),
        (saying(b""), None, {"protocol", "connect"}),
        (saying(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), None, {"protocol"}),
        (saying(b"\0\xff" * 3000), None, {"protocol"}),
        (saying(OK + b"A: " + b"b" * 100_000), None, {"protocol"}),
        (saying(OK, forever=b"A: b\r\n" * 1000), None, {"protocol", "timeout", "connect"}),
        (saying(b"", forever=b"HTTP/1.1 103 Early Hints\r\n\r\n"), None, {"protocol", "timeout", "connect"}),
        (saying(OK + b"Content-Length: -1\r\n\r\n"), None, {"protocol"}),
        (saying(b"HTTP/1.1 99999 What\r\n\r\n"), None, {"protocol"}),
        (saying(OK + b"Content-Length: 5\r\n\r\nab"), 200, {None}),
        (saying(OK + b"\r\n", forever=b"x" * 65536), 200, {None}),
        (saying(OK + b"Content-Length: 9\r\n\r\n", hang=True), 200, {None}),
        (saying(OK + b"Transfer-Encoding: chunked\r\n\r\nZZZ\r\n"), None, {"protocol", None}),
        (saying(OK + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"), 200, {None}),
        (saying(b"HTTP/1.1 307 Over there\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"), 307, {None}),
    ],
)
async def test_whatever_a_service_does_is_bounded_and_classed(talk: Talk, status: int | None, failures: set[str | None]) -> None:
    async with speaking(talk) as (url, _connections):
        began = time.monotonic()
        answer = await attempt(url)
        assert time.monotonic() - began < 20
    assert answer.failure in failures
    assert answer.status == status or (answer.failure is None and answer.status == 200)


async def test_refused_connections_names_that_do_not_exist_and_no_tls_are_told_apart(sink: Sink) -> None:
    assert (await attempt("http://127.0.0.1:1/")).failure == "connect"
    assert (await attempt("http://nowhere.invalid/", timeout_s=5.0)).failure == "dns"
    assert (await attempt(sink.url.replace("http:", "https:"))).failure == "tls"


async def test_a_connection_serves_again_and_again(sink: Sink) -> None:
    peers = set()

    async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n{}"):
            peers.add(writer.get_extra_info("peername"))
            writer.write(OK + b"Content-Length: 900\r\n\r\n" + b"x" * 900)

    async with speaking(met) as (url, _), Sender(destination(url)) as sender:
        for _ in range(5):
            assert (await sender.post(b"{}", {})).status == 200
    assert len(peers) == 1
    assert sink.ids == []


async def test_retry_after_is_read() -> None:
    async with speaking(saying(b"HTTP/1.1 503 No\r\nRetry-After: 17\r\nContent-Length: 0\r\n\r\n")) as (url, _):
        answer = await attempt(url)
    assert (answer.status, answer.asked, answer.took) == (503, 17.0, pytest.approx(0, abs=0.5))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "127.1",
        "2130706433",
        "0177.0.0.1",
        "0x7f.1",
        "0x7f000001",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[::127.0.0.1]",
    ],
)
async def test_no_notation_of_loopback_is_reached(host: str) -> None:
    async with speaking(saying(OK + b"\r\n")) as (url, connections):
        port = url.split(":")[2].split("/")[0]
        answer = await attempt(f"http://{host}:{port}/", allow_networks=[], timeout_s=5.0)
        assert (answer.failure, answer.status) == ("guard", None)
        assert not connections


class Flipping(AbstractResolver):
    """A name that is public when asked first, and private afterwards."""

    def __init__(self) -> None:
        self.answers = ["127.0.0.1", "127.0.0.2", "127.0.0.2"]

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        address = self.answers.pop(0)
        return [ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)]

    async def close(self) -> None:
        pass


async def test_a_name_that_flips_to_a_private_address_is_not_followed() -> None:
    resolver = Flipping()
    async with speaking(saying(OK + b"Content-Length: 0\r\nConnection: close\r\n\r\n")) as (url, connections):
        named = url.replace("127.0.0.1", "alerts.example.com")
        first = await attempt(named, resolver=resolver, allow_networks=["127.0.0.1/32"])  # stands for a public address
        second = await attempt(named, resolver=resolver, allow_networks=["127.0.0.1/32"])
        assert (first.status, second.failure, len(connections)) == (200, "guard", 1)


async def test_a_proxy_of_the_environment_is_not_used(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    async with speaking(saying(OK + b"\r\n")) as (proxy, connections):
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy)
        assert (await attempt(sink.url)).status == 200
        assert not connections


async def test_plain_http_needs_permission(sink: Sink) -> None:
    assert (await attempt(sink.url, allow_http=False)).failure == "guard"
    assert not sink.ids


async def test_a_redirect_is_not_followed_with_the_body(sink: Sink) -> None:
    there = f"HTTP/1.1 307 Moved\r\nLocation: {sink.url}\r\nContent-Length: 0\r\n\r\n".encode()
    async with speaking(saying(there)) as (url, _):
        assert (await attempt(url)).status == 307
    assert not sink.ids


@pytest.mark.parametrize(
    ("talk", "said"),
    [
        (saying(b"HTTP/1.1 500 No\r\nContent-Length: 5\r\n\r\nwhy\xff!"), b"why\xff!"),
        (saying(b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nhalf", hang=True), b"half"),
        (saying(b"HTTP/1.1 500 No\r\n\r\n", forever=b"x" * 65_536), b"x" * 1_024),
        (saying(b"HTTP/1.1 302 There\r\nContent-Length: 0\r\n\r\n"), b""),
        (saying(OK + b"Content-Length: 5\r\n\r\nthank"), None),
        (saying(b"", reset=True), None),
    ],
)
async def test_how_an_answer_begins_is_kept_where_it_does_not_accept(talk: Talk, said: bytes | None) -> None:
    async with speaking(talk) as (url, _):
        assert (await attempt(url)).said == said


@pytest.mark.parametrize("padding", [0, 998])
async def test_what_a_service_repeats_of_secret_headers_and_our_signature_is_not_kept(padding: int) -> None:
    """Also where the cut goes through one."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got = await reader.readuntil(b"\r\n\r\n")
        told = b"." * padding + b"".join(line + b"\n" for line in got.split(b"\r\n") if b"CANARY" in line)
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: %d\r\n\r\n%b" % (len(told), told))
        await writer.drain()

    async with speaking(talk) as (url, _):
        secret = {"Authorization": Secret("Bearer CANARY-1")}
        async with Sender(destination(url), headers=secret) as sender:
            answer = await sender.post(b"{}", {"webhook-id": "e1", "webhook-signature": "v1,CANARY-2= v1,CANARY-3="})
    assert answer.status == 500
    assert b"CAN" not in (answer.said or b"")
    assert answer.said


async def test_of_answers_that_escape_something_one_is_masked_a_turn_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take a moment each to read, and others want the loop, however many came at once."""
    turn, masked = 0, list[int]()

    async def turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    def noted(said: bytes, _secrets: Iterable[bytes]) -> bytes:
        masked.append(turn)
        return said

    monkeypatch.setattr(send, "redacted", noted)
    sender, ticking = Sender(destination("http://127.0.0.1:9/ring")), asyncio.create_task(turns())
    await asyncio.gather(*(sender._masked(b"&amp;", ()) for _ in range(8)))
    ticking.cancel()
    assert len({*masked}) == len(masked) == 8
