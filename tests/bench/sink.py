"""A fast HTTP service that counts what it gets. Usage: sink.py PORT.

POST / counts, DELETE / forgets, GET / tells, GET /late tells also how late each was. From PUT /hold until PUT /go no POST is
answered. What is of a device called broken-… is answered 500, always. It is httptools on a bare protocol, so that on two cores
the sink takes as little as it can from whom it measures.
"""

import asyncio
import sys
import time
from datetime import datetime

import httptools
import orjson
import uvloop

MARK = b'"received_at":"'
BROKEN = b'"broken-'
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
FAILED = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"


class Seen:
    """What came: how often each id, when the first and the last, and how long after its acceptance each."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.ids: dict[bytes, int] = {}
        self.late: list[float] = []
        self.first = self.last = 0.0
        self.failed = 0

    def take(self, name: bytes, body: bytes) -> None:
        if body.startswith(b"["):
            for one in orjson.loads(body):
                self.ids[one["id"].encode()] = self.ids.get(one["id"].encode(), 0) + 1
            self.last = now = time.time()
            self.first = self.first or now
            return
        self.last = now = time.time()
        self.first = self.first or now
        self.ids[name] = self.ids.get(name, 0) + 1
        if (begin := body.find(MARK)) >= 0:
            begin += len(MARK)
            received = datetime.fromisoformat(body[begin : body.index(b'"', begin)].decode())
            self.late.append(now - received.timestamp())

    def told(self, *, late: bool) -> bytes:
        facts = {
            "ids": len(self.ids),
            "requests": sum(self.ids.values()),
            "first": self.first,
            "last": self.last,
            "failed": self.failed,
        }
        return orjson.dumps(facts | ({"late": self.late} if late else {}))


SEEN = Seen()
HOLDS = asyncio.Event()
HELD: list[tuple["Service", bytes, bytes]] = []


class Service(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._path, self._name, self._body = b"", b"", bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._path = url

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"webhook-id":
            self._name = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        method, body = self._parser.get_method(), bytes(self._body)
        self._body.clear()
        if method == b"POST":
            self.answer(self._name, body)
            return
        if method == b"DELETE":
            SEEN.forget()
        elif method == b"PUT":
            _hold(holds=self._path == b"/hold")
        self._transport.write(_told(late=self._path == b"/late") if method == b"GET" else NO_CONTENT)

    def answer(self, name: bytes, body: bytes) -> None:
        if HOLDS.is_set():
            HELD.append((self, name, body))
        elif BROKEN in body:
            SEEN.failed += 1
            self._transport.write(FAILED)
        else:
            SEEN.take(name, body)
            self._transport.write(NO_CONTENT)

    def late(self, name: bytes, body: bytes) -> None:
        """Answer what was held; where nobody listens any more it came nevertheless."""
        if self._transport.is_closing():
            SEEN.take(name, body)
        else:
            self.answer(name, body)


def _hold(*, holds: bool) -> None:
    if holds:
        HOLDS.set()
        return
    HOLDS.clear()
    for service, name, body in HELD:
        service.late(name, body)
    HELD.clear()


def _told(*, late: bool) -> bytes:
    body = SEEN.told(late=late)
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def main(port: int) -> None:
    await asyncio.get_running_loop().create_server(Service, "127.0.0.1", port)
    print("ready", flush=True)  # noqa: T201 - who started it waits for this word
    await asyncio.Event().wait()


uvloop.run(main(int(sys.argv[1])))
