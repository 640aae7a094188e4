"""What is heard on one connection: one answer to each request. What else a destination sends ends the connection.

aiohttp's own protocol parses whatever comes and queues it without bound: informational answers without end, and whole answers
that nobody asked for; the next request would take one of these for its own. A body that nobody reads is held back by aiohttp
itself, but not what stands around its bytes.
"""

import asyncio
from typing import Any, Final

from aiohttp import ClientPayloadError, StreamReader
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError

INFORMATIONAL: Final = 10  # answers 1xx before the one that counts (RFC 9110, 15.2: any number); more are a flood
HEARD: Final = 262_144  # bytes of one answer that are parsed: its head and more of its body than anyone reads
_PIECE: Final = 2_048  # bytes that are parsed before what they were is looked at: some seventy of the shortest answers


class Wire(ResponseHandler):
    """Hears one answer to each request; a byte more, an eleventh informational answer, or one without end, ends the connection.

    An answer whose head was heard stands. The attempt fails where none was.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._answer: StreamReader | None = None  # the body of the one that counts
        self._informed = self._heard = 0
        self._excess = False
        self._held = b""  # what waits until a reader has taken what came before it

    def set_response_params(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on as they come
        """Begin to listen: a request goes now."""
        self._answer, self._informed, self._heard = None, 0, 0
        super().set_response_params(*args, **kwargs)

    def data_received(self, data: bytes) -> None:
        """Parse no more at a time than what can be stopped soon."""
        if len(data) <= _PIECE and not self._held:
            self._hear(data)
        else:
            self._hear_by_pieces(data)

    def _hear_by_pieces(self, data: bytes) -> None:
        coming, at = self._held + data, 0
        self._held = b""
        while at < len(coming) and not self._reading_paused and self.transport is not None:
            self._hear(coming[at : at + _PIECE])
            at += _PIECE
        if self.transport is not None:
            self._held = coming[at:]

    def _hear(self, data: bytes) -> None:
        self._heard += len(data)
        self._excess |= self._heard > HEARD or (bool(data) and self._answer is not None and self._answer.is_eof())
        if not self._excess:
            super().data_received(data)
        if self._excess:
            self._hang_up()

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Queue an answer where one is awaited."""
        message, body = data
        informs = 100 <= message.code < 200 and message.code != 101  # noqa: PLR2004 - 101 is the last that is said in HTTP
        self._informed += informs
        self._excess |= self._answer is not None or self._informed > INFORMATIONAL
        if self._excess:
            return
        self._answer = None if informs else body
        super().feed_data(data, size)

    def _hang_up(self) -> None:
        self.force_close()
        self.abort()
        if self._answer is None:
            self.set_exception(HttpProcessingError(message="no answer, and much else"))
        elif not self._answer.is_eof():
            self._answer.set_exception(ClientPayloadError("an answer without end"))
