"""Services that take nothing. Usage: nobody.py SILENT FAILING THROTTLING: three ports; one never answers, two say 500 and 503."""

import asyncio
import sys
from functools import partial

import httptools
import uvloop

ANSWER = b"HTTP/1.1 %b\r\nContent-Length: 0\r\n\r\n"
WORDS = (b"", b"500 Internal Server Error", b"503 Service Unavailable")  # empty: none


class Nobody(asyncio.Protocol):
    """One connection, on which each request gets the same words."""

    def __init__(self, words: bytes) -> None:
        self._words, self._parser = words, httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        if self._words:
            self._transport.write(ANSWER % self._words)


async def main(ports: list[int]) -> None:
    for port, words in zip(ports, WORDS, strict=True):
        await asyncio.get_running_loop().create_server(partial(Nobody, words), "127.0.0.1", port)
    print("ready", flush=True)  # noqa: T201 - who started it waits for this word
    await asyncio.Event().wait()


uvloop.run(main([*map(int, sys.argv[1:])]))
