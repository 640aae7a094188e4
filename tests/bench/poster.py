"""Posts signed webhooks over raw connections. Usage: poster.py PORT FILE CONNECTIONS RATE.

FILE holds a signature, a tab and a body per line. RATE 0: a closed loop, each connection posts as soon as it is answered;
else an open loop of so many events a second, whatever the answers do. Prints JSON: first, last, posted, refused, waits.
"""

import asyncio
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import uvloop


class Client(asyncio.Protocol):
    """One keep-alive connection; one request under way at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._answered: asyncio.Future[bytes] | None = None

    def data_received(self, data: bytes) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(data[9:12])

    def connection_lost(self, _error: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(b"cut")

    async def post(self, request: bytes) -> bytes:
        self._answered = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answered


def requests(path: Path) -> list[bytes]:
    def one(line: bytes) -> bytes:
        signature, body = line.split(b"\t", 1)
        head = b"POST /ring/webhook HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nX-Signature: %b\r\n" % signature
        return head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)

    return [one(line) for line in path.read_bytes().splitlines()]


class Loop:
    """What was posted and how it went."""

    def __init__(self, clients: list[Client]) -> None:
        self.clients = clients
        self.refused = 0
        self.waits: list[float] = []

    async def post(self, client: Client, request: bytes) -> None:
        """Post until it is answered 200, as Ring would, though sooner; a cut connection ends the run."""
        began = time.perf_counter()
        while (answer := await client.post(request)) == b"503":
            self.refused += 1
            await asyncio.sleep(0.1)
        if answer != b"200":
            raise ConnectionError(f"answered {answer!r}")
        self.waits.append(time.perf_counter() - began)

    async def closed(self, work: Iterator[bytes]) -> None:
        async def one(client: Client) -> None:
            for request in work:
                await self.post(client, request)

        await asyncio.gather(*(one(client) for client in self.clients))

    async def opened(self, work: list[bytes], rate: float) -> None:
        free = asyncio.Queue[Client]()
        for client in self.clients:
            free.put_nowait(client)
        began = time.perf_counter()

        async def one(place: int, request: bytes) -> None:
            await asyncio.sleep(began + place / rate - time.perf_counter())
            client = await free.get()
            await self.post(client, request)
            free.put_nowait(client)

        await asyncio.gather(*(one(place, request) for place, request in enumerate(work)))


async def main(port: int, path: Path, connections: int, rate: float) -> None:
    loop, work = asyncio.get_running_loop(), requests(path)
    made = [await loop.create_connection(Client, "127.0.0.1", port) for _ in range(connections)]
    posting, first = Loop([client for _, client in made]), time.time()
    await (posting.opened(work, rate) if rate else posting.closed(iter(work)))
    waits = sorted(posting.waits)
    told = {"first": first, "last": time.time(), "posted": len(work), "refused": posting.refused}
    told |= {"p50": waits[len(waits) // 2], "p99": waits[len(waits) * 99 // 100]}
    print(orjson.dumps(told).decode(), flush=True)  # noqa: T201 - the result


uvloop.run(main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])))
