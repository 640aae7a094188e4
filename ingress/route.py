"""The thin wrapper around every handler: one deadline, one table of errors, one count, one sampled line for a refusal."""

from collections.abc import Awaitable, Callable
from math import ceil
from typing import Final

import structlog
from aiohttp import web

from ingress.bounds import Full
from ingress.deadline import Deadline
from ingress.errors import CRASHED, Answer, Later, TooOften, answer
from ingress.metrics import CRASHES, REFUSED_BY_BOUND, REQUESTS
from ingress.proxies import Proxies
from schemas.errors import Rejected
from workers.runtime.connection import RETRY_AFTER
from workers.runtime.sampling import Sampler

log = structlog.get_logger()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Render = Callable[[Answer, BaseException], web.Response]
_sampler: Final = Sampler()
DIRECT: Final = Proxies()


def plain(refused: Answer, _error: BaseException) -> web.Response:
    """Return the refusal as a line of text: what Ring's and other machines get."""
    return web.Response(status=refused.status, text=refused.words + "\n")


def guarded(name: str, handler: Handler, *, deadline_s: float, render: Render = plain, proxies: Proxies = DIRECT) -> Handler:
    """Return the handler as it stands on a route: within `deadline_s` from the headers on, and never an answer off the table."""
    deadline = Deadline(deadline_s)
    held = REQUESTS.labels(route=name, answer="200")

    async def route(request: web.Request) -> web.StreamResponse:
        try:
            response = await deadline.call(handler, request)
        except Exception as error:  # noqa: BLE001 - the table knows what is ours; anything else is 503 and a logged bug
            _note(name, proxies.caller(request), request, error)
            return _refuse(name, error, render)
        if response.status == 200:  # noqa: PLR2004 - the hot answer's child is ready-made
            held.inc()
        else:
            REQUESTS.labels(route=name, answer=str(response.status)).inc()
        return response

    return route


def _refuse(name: str, error: Exception, render: Render) -> web.Response:
    refused = answer(error) or CRASHED
    if isinstance(error, Full):
        REFUSED_BY_BOUND.labels(route=name).inc()
    REQUESTS.labels(route=name, answer=str(refused.status)).inc()
    return _finish(render(refused, error), refused, error)


def _finish(response: web.Response, refused: Answer, error: Exception) -> web.Response:
    """Add what every refusal carries."""
    if isinstance(error, Later | TooOften):
        response.headers["Retry-After"] = str(max(1, ceil(error.retry_after)))
    elif refused.status == 503:  # noqa: PLR2004 - try again
        response.headers.update(RETRY_AFTER)
    if refused.close:
        response.force_close()
    return response


def _note(name: str, caller: str, request: web.Request, error: Exception) -> None:
    """Write one wide line for the many equal refusals of a second; never the path, which may hold a secret."""
    refused = answer(error)
    if refused is None:
        CRASHES.labels(route=name).inc()
        if (others := _sampler.take((name, "crashed"))) is not None:
            log.error("request.crashed", route=name, method=request.method, others=others, exc_info=error)
        return
    if (others := _sampler.take((name, refused.status))) is None:
        return
    why = error.reason if isinstance(error, Rejected) else type(error).__name__
    log.info(
        "request.refused",
        route=name,
        answer=refused.status,
        why=why,
        others=others,
        remote=caller,
        length=request.content_length,
        user_agent=request.headers.get("User-Agent", "")[:100],
    )
