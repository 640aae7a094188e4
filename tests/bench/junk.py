"""Posts codes that Ring never gave, on the path for strangers. Usage: junk.py PORT CONNECTIONS RATE SECONDS.

An open loop over raw connections, whatever the answers do. Prints JSON: how many were posted, and how many of each status came.
"""

import asyncio
import secrets
import sys
import time
from collections import Counter

import orjson
import uvloop


class Client(asyncio.Protocol):
    """One keep-alive connection; one request under way at a time."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._answered.done():
            self._answered.set_result(data[9:12])

    def connection_lost(self, _error: Exception | None) -> None:
        if not self._answered.done():
            self._answered.set_result(b"cut")

    async def post(self) -> bytes:
        self._answered = asyncio.get_running_loop().create_future()
        body = b"code=%b" % secrets.token_urlsafe(24).encode()
        head = b"POST /ring/token-exchange HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        self._transport.write(head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        return await self._answered


async def main(port: int, connections: int, rate: float, seconds: float) -> None:
    loop, free, statuses = asyncio.get_running_loop(), asyncio.Queue[Client](), Counter[str]()
    for _ in range(connections):
        free.put_nowait((await loop.create_connection(Client, "127.0.0.1", port))[1])
    began = time.perf_counter()

    async def one(place: int) -> None:
        await asyncio.sleep(began + place / rate - time.perf_counter())
        client = await free.get()
        statuses[(await client.post()).decode()] += 1
        free.put_nowait(client)

    await asyncio.gather(*(one(place) for place in range(int(rate * seconds))))
    print(orjson.dumps({"seconds": time.perf_counter() - began, "statuses": statuses}).decode(), flush=True)  # noqa: T201 - the result


uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
