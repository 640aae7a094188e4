"""One stranger's connection: that of every listener, with the timeout for headers that aiohttp 3 lacks."""

from ingress.link.words import TOO_LONG
from ingress.metrics import REQUESTS
from workers.runtime.connection import QuietConnection

_ROUTE = "none"  # the request never reached one
LATE_S = 1.0  # seconds in which the headers of a request come that was on its way at the stop


class Connection(QuietConnection):
    """Knows since when it has been waiting for the rest of a request's headers."""

    __slots__ = ("headers_since",)

    too_long = TOO_LONG

    headers_since: float | None  # the loop's clock; None: nothing is half said

    def connection_made(self, transport: object) -> None:
        """Start the clock: a new connection that says nothing has no request to be kept for."""
        super().connection_made(transport)  # type: ignore[arg-type] # asyncio's own type
        self.headers_since = self._loop.time()

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and note whether a request's headers began without coming to their end."""
        seen = self._request_count
        super().data_received(data)
        if self._request_count != seen:
            self.headers_since = None
        elif self.headers_since is None and self._waiter is not None:
            self.headers_since = self._loop.time()

    def finish(self) -> bool:
        """Close once nothing is asked for that has not come whole; say whether a request, or an answer, must still be waited for.

        aiohttp reads nothing more from a connection that it has begun to close: a body on its way would never arrive. Whoever
        has just connected has a request on its way, too.
        """
        request, waiter = self._current_request, self._waiter
        late = self.headers_since is not None and self._loop.time() - self.headers_since < LATE_S
        idle = waiter is not None and not waiter.done() and not late
        if idle or (request is not None and request.content.is_eof()):
            self.close()
        return not self._close

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's signature
        """Resume only what was paused: aiohttp asks for it after each read, and parses nothing once more each time."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def refused(self, status: int) -> None:
        """Count an answer that no route gave."""
        REQUESTS.labels(route=_ROUTE, answer=str(status)).inc()
