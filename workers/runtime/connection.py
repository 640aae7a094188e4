"""One HTTP client's connection, as every listener of ours keeps it: aiohttp's own protocol, without its manners.

aiohttp 3 logs a traceback for every malformed request and quotes the input in it and in the answer, tokens too; it answers
a crash with 500, and a request of HTTP/0.9 or HTTP/2.0 in that version.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

import structlog
from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError, LineTooLong

from workers.runtime.sampling import Sampler

log = structlog.get_logger()
RETRY_AFTER: Final = {"Retry-After": "2"}  # seconds
SPOKEN: Final = {HttpVersion10, HttpVersion11}
_sampler = Sampler()


class QuietConnection(web.RequestHandler):
    """Answers what is no HTTP with a short 400, and keeps what was sent out of answers and logs."""

    __slots__ = ()

    too_long = "This address is too long."  # what is said to whoever asks with one

    def refused(self, status: int) -> None:
        """Take note of an answer that no route gave."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - aiohttp's signature; it quotes the input
    ) -> web.StreamResponse:
        """Answer 400 where the bytes are no HTTP, 414 for an address without end, and 503 for everything else: never 500.

        Nothing of the input is echoed.
        """
        ours = not isinstance(exc, HttpProcessingError)
        if (others := _sampler.take(status)) is not None:
            log.info("request.unreadable", why=type(exc).__name__, others=others, exc_info=exc if ours else None)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun already") from exc
        endless = isinstance(exc, LineTooLong) and bytes(exc.args[0]).startswith(b"/")  # an address, as no header's name can
        status, words = (503, "Try again.") if ours else (414, self.too_long) if endless else (400, "Not HTTP as we read it.")
        self.refused(status)
        response = web.Response(status=status, text=words + "\n")
        response.headers.update(RETRY_AFTER if ours else {})
        response.force_close()
        return response

    def log_exception(self, *args: object, **_more: object) -> None:
        """Write a line instead of the standard library's traceback."""
        if (others := _sampler.take("exception")) is not None:
            log.info("connection.failed", why=str(args[0]) if args else "", others=others)

    def _handle_request(
        self,
        request: web.BaseRequest,
        start_time: float | None,
        request_handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
    ) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """Refuse a version that is not spoken here as what is no HTTP is refused: aiohttp's parser lets some through."""
        if request._version not in SPOKEN:  # noqa: SLF001 - `version` is kept once it is asked for
            request._version = HttpVersion11  # noqa: SLF001 - in which it is answered
            request_handler = _unspoken
        return super()._handle_request(request, start_time, request_handler)


async def _unspoken(_request: web.BaseRequest) -> web.StreamResponse:
    raise BadHttpMessage("neither HTTP/1.0 nor HTTP/1.1")
