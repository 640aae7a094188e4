"""`Expect: 100-continue`: the go-ahead is given only for a body that will be read; any other expectation is passed over.

aiohttp's own handler asks for bodies of any size and answers 417, which Ring would take for a permanent failure.
"""

from collections.abc import Awaitable, Callable

from aiohttp import HttpVersion11, web


def expecting(most: int) -> Callable[[web.Request], Awaitable[web.StreamResponse | None]]:
    """Return an expect handler for a route that reads bodies of at most `most` bytes."""

    async def expect(request: web.Request) -> None:
        wanted = request.headers.get("Expect", "").lower() == "100-continue" and request.version == HttpVersion11
        if wanted and (request.content_length or 0) <= most:
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # the answer itself has not begun

    return expect
