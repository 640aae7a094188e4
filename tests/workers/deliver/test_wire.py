"""One answer a request: what else a destination sends, and however much of it, ends its connection and nothing more."""

import asyncio
import functools
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

import aiohttp
import pytest
import uvloop
from aiohttp import StreamReader
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage

from tests.workers.deliver.support import destination
from workers.deliver.answer import Answer
from workers.deliver.send import Sender
from workers.deliver.watch import Connector
from workers.deliver.wire import INFORMATIONAL, Wire

HINT = b"HTTP/1.1 103 Early Hints\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FLOOD = 4 << 20  # bytes: a second or more of parsing, and far more than sockets hold unread
BRIEF_S = 0.5


@dataclass
class Service:
    """A service in a thread of its own: it floods as fast as it is read, whatever our loop does."""

    first: bytes  # the answer to each request
    then: bytes = b""  # what is said again and again behind the first answer of each connection
    flood: int = FLOOD
    url: str = ""
    connections: int = 0
    sent: int = 0
    answered: threading.Event = field(default_factory=threading.Event)  # set by a test that has its answer
    ended: threading.Event = field(default_factory=threading.Event)  # all was said, or nobody would hear it

    def serve(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.connections += 1
                threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
            while b"\r\n\r\n{}" in connection.recv(1 << 16):
                connection.sendall(self.first)
                if self.then:
                    self._flood(connection)

    def _flood(self, connection: socket.socket) -> None:
        self.answered.wait(0.5)  # what was said first is read by itself; or it is no answer yet
        piece = self.then * (min(65_536, self.flood) // len(self.then) or 1)
        try:
            while self.sent < self.flood:
                connection.sendall(piece)
                self.sent += len(piece)
        finally:
            self.ended.set()


@contextmanager
def serving(service: Service) -> Iterator[Service]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        service.url = f"http://127.0.0.1:{listener.getsockname()[1]}/ring"
        threading.Thread(target=service.serve, args=(listener,), daemon=True).start()
        yield service
        listener.shutdown(socket.SHUT_RDWR)


@asynccontextmanager
async def ticking() -> AsyncIterator[list[float]]:
    """Give how much CPU the loop's thread took in one go, at most: a noisy machine does not count."""
    longest = [0.0]

    async def tick() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            longest[0] = max(longest[0], time.thread_time() - before)
            await asyncio.sleep(0.001)

    ticker = asyncio.create_task(tick())
    yield longest
    ticker.cancel()


async def flooded(service: Service) -> tuple[Answer, float]:
    """Return what came of an attempt at a service that floods, and how long the loop did nothing else at most."""
    async with ticking() as longest, Sender(destination(service.url, timeout_s=5.0)) as sender:
        answer = await sender.post(b"{}", {})
        service.answered.set()
        assert await asyncio.to_thread(service.ended.wait, 60)
    return answer, longest[0]


@pytest.mark.parametrize(
    ("first", "then", "status", "failure"),
    [
        (b"", HINT, None, "protocol"),
        (OK, OK, 200, None),
        (CHUNKED + b"1;", b"x" * 65_536, 200, None),
        (b"HTTP/1.1 500 No\r\n\r\n", b"x" * 65_536, 500, None),
    ],
    ids=["informational", "unasked", "extension", "body"],
)
def test_a_flood_is_cut_off_on_the_loop_that_every_role_runs_on(
    first: bytes, then: bytes, status: int | None, failure: str | None
) -> None:
    with serving(Service(first, then)) as service:
        answer, longest = uvloop.run(flooded(service))
    assert (answer.status, answer.failure) == (status, failure)
    assert answer.said == (b"x" * 1_024 if status == 500 else None)
    assert service.sent < FLOOD  # little was read, so little was kept
    assert longest < BRIEF_S


@pytest.mark.parametrize("late", [b"HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 4"], ids=["whole", "begun"])
async def test_what_was_said_between_two_requests_is_no_answer_to_the_second(late: bytes) -> None:
    with serving(Service(OK, late, flood=1)) as service:
        async with Sender(destination(service.url)) as sender:
            assert (await sender.post(b"{}", {})).status == 200
            service.answered.set()
            assert await asyncio.to_thread(service.ended.wait, 30)
            await asyncio.sleep(0.05)
            assert (await sender.post(b"{}", {})).status == 200
    assert service.connections == 2


@pytest.mark.parametrize("behind", [OK, HINT, HINT * 10_000], ids=["answer", "informational", "flood"])
async def test_an_answer_stands_whatever_comes_behind_it_and_its_connection_serves_no_more(behind: bytes) -> None:
    with serving(Service(OK + behind)) as service:
        async with Sender(destination(service.url)) as sender:
            assert [(await sender.post(b"{}", {})).status for _ in range(2)] == [200, 200]
    assert service.connections == 2


@pytest.mark.parametrize(("hints", "status", "failure"), [(10, 200, None), (11, None, "protocol")])
async def test_a_few_informational_answers_are_passed_over(hints: int, status: int | None, failure: str | None) -> None:
    with serving(Service(HINT * hints + OK)) as service:
        async with Sender(destination(service.url)) as sender:
            answers = [await sender.post(b"{}", {}) for _ in range(2)]
    assert [(answer.status, answer.failure) for answer in answers] == [(status, failure)] * 2
    assert service.connections == (1 if status else 2)


@asynccontextmanager
async def reading(url: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """Give an answer of which so much has come that it is held back until it is read."""
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession(connector=Connector(), read_bufsize=1_024) as session,
        session.post(url, data=b"{}") as response,
    ):
        await asyncio.sleep(0.05)
        yield response


async def test_an_answer_longer_than_a_read_is_whole_when_its_reader_comes() -> None:
    body = bytes(range(256)) * 960  # and a head, of 256 KiB
    with serving(Service(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)) as service:
        async with reading(service.url) as response:
            assert await response.read() == body


async def test_a_reader_is_told_of_an_answer_without_end() -> None:
    with serving(Service(CHUNKED + b"1;", b"x" * 65_536)) as service:
        async with reading(service.url) as response:
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()


async def test_aiohttp_makes_its_protocols_where_ours_take_their_place() -> None:
    async with aiohttp.TCPConnector() as theirs, Connector() as ours:
        assert isinstance(theirs._factory, functools.partial)
        assert theirs._factory.func is ResponseHandler
        assert ours._factory.func is not ResponseHandler
        assert ours._factory.keywords.keys() == theirs._factory.keywords.keys()


class Counted(Wire):
    """Counts what is parsed."""

    parsed = 0

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        self.parsed += 1
        super().feed_data(data, size)


@pytest.mark.parametrize(("said", "kept"), [(HINT, INFORMATIONAL), (OK, 1)], ids=["informational", "answers"])
async def test_of_one_read_no_more_is_parsed_than_is_soon_stopped_and_one_answer_is_kept(said: bytes, kept: int) -> None:
    wire = Counted(asyncio.get_running_loop())
    wire.connection_made(asyncio.Transport())
    with suppress(NotImplementedError):  # what it does to its transport is not looked at here
        wire.set_response_params()
        wire.data_received(said * 5_000)
    assert wire.parsed <= 100
    assert len(wire._buffer) == kept
