"""One client's connection: aiohttp's own protocol, with the timeouts and the manners that it lacks.

aiohttp 3 has no timeout for headers, logs a traceback for every malformed request and answers a crash with 500.
"""

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from ingress.errors import CRASHED, RETRY_AFTER
from ingress.metrics import REQUESTS
from ingress.sampling import Sampler

log = structlog.get_logger()
_sampler = Sampler()
_ROUTE = "none"  # the request never reached one


class Connection(web.RequestHandler):
    """Knows since when it has been waiting for the rest of a request's headers."""

    __slots__ = ("headers_since",)

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
        """Close once nothing is asked for that has not come whole; say whether a body, or an answer, must still be waited for.

        aiohttp reads nothing more from a connection that it has begun to close: a body on its way would never arrive.
        """
        request, waiter = self._current_request, self._waiter
        idle = waiter is not None and not waiter.done()
        if idle or (request is not None and request.content.is_eof()):
            self.close()
        return not self._close

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's signature
        """Resume only what was paused: aiohttp asks for it after each read, and parses nothing once more each time."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's signature; it quotes the input
    ) -> web.StreamResponse:
        """Answer 400 where the bytes are no HTTP, and 503 for everything else: never 500, nothing of the input echoed."""
        ours = not isinstance(exc, HttpProcessingError)
        if (others := _sampler.take(status)) is not None:
            log.info("request.unreadable", why=type(exc).__name__, others=others, exc_info=exc if ours else None)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already") from exc
        status = CRASHED.status if ours else 400
        REQUESTS.labels(route=_ROUTE, answer=str(status)).inc()
        response = web.Response(status=status, text="Try again.\n" if ours else "Not HTTP as we read it.\n")
        response.headers.update(RETRY_AFTER if ours else {})
        response.force_close()
        return response

    def log_exception(self, *args: object, **_more: object) -> None:
        """Write a line instead of the standard library's traceback."""
        if (others := _sampler.take("exception")) is not None:
            log.info("connection.failed", why=str(args[0]) if args else "", others=others)
