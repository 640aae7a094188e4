"""The answer to nearly every request, as ready bytes: aiohttp's own way of writing it costs a fifth of the hot path."""

import time
from email.utils import formatdate
from typing import Final

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter


class _Held(web.StreamResponse):
    """A 200 without a body on an HTTP/1.1 connection that stays open; one for all requests, since it has no state of theirs."""

    __slots__ = ("_bytes", "_second")

    def __init__(self) -> None:
        super().__init__()
        self._second = 0
        self._bytes = b""

    @property
    def keep_alive(self) -> bool:
        """Stay open."""
        return True

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write the answer; raise ConnectionResetError where nobody is there to read it."""
        if request.transport is None:
            raise ConnectionResetError("the sender has gone")
        request.transport.write(self._answer(int(time.time())))
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Do nothing: all has been written."""

    def _answer(self, second: int) -> bytes:
        """Return the bytes, with the Date that RFC 9110 demands, made once a second."""
        if second != self._second:
            self._second = second
            self._bytes = f"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: {formatdate(second, usegmt=True)}\r\n\r\n".encode()
        return self._bytes


_HELD: Final = _Held()


def held(request: web.Request) -> web.StreamResponse:
    """Return the 200 for a request."""
    return _HELD if request.version == HttpVersion11 and request.keep_alive else web.Response()


def last(answer: web.StreamResponse) -> web.StreamResponse:
    """Return an answer that is the last one on its connection."""
    own = web.Response() if answer is _HELD else answer
    own.force_close()
    return own
