"""The internal port as a worker: probes, metrics and, where the role has them, /v1 and pages."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import structlog
from aiohttp import web, web_response

from schemas.errors import Misconfigured
from schemas.findings.reach import unbound
from workers.bus.contract import Stop
from workers.runtime.connection import RETRY_AFTER, QuietConnection
from workers.runtime.supervise import Fatal

log = structlog.get_logger()
BROKEN: Final = {"error": {"code": "unavailable", "message": "Something of ours broke."}}
GRACE: Final = 5.0  # seconds for what is being answered when the end is asked for


@web.middleware
async def unbroken(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """Answer 503 and log a bug where a handler raises what nobody expected; aiohttp would answer 500."""
    try:
        return await handler(request)
    except web.HTTPException:
        raise
    except Exception:
        resource = request.match_info.route.resource  # not the path: it may hold an account id
        log.exception("request.crashed", route=resource.canonical if resource else "none", method=request.method)
        return web.json_response(BROKEN, status=503, headers=RETRY_AFTER)


def internal_app() -> web.Application:
    """Return an application for the internal port, still without routes."""
    return web.Application(middlewares=[unbroken])


def tell_no_versions() -> None:
    """Let answers name us in `Server`, not the versions of library and Python; aiohttp has no setting for it."""
    web_response.SERVER_SOFTWARE = "ringhook"  # type: ignore[attr-defined] # imported there, and looked up at each answer


def server_of(runner: web.AppRunner) -> web.Server:
    """Return what keeps the connections of a runner that is set up."""
    if runner.server is None:
        raise Fatal("aiohttp's runner has no server after its setup")
    return runner.server


@dataclass
class Listener:
    """Serves an application on an address of this machine until `stop`."""

    application: web.Application
    host: str
    port: int
    name: str = "internal"
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, stop: Stop) -> None:
        """Return soon after `stop`. Raises Misconfigured where the address cannot be bound."""
        tell_no_versions()
        runner = web.AppRunner(self.application, shutdown_timeout=GRACE)
        await runner.setup()
        try:
            await self._serve(server_of(runner), stop)
        finally:
            await runner.cleanup()

    async def _serve(self, server: web.Server, stop: Stop) -> None:
        listener = await self._bind(server)
        try:
            log.info("server.started", server=self.name, host=self.host, port=listener.sockets[0].getsockname()[1])
            self.opened.set()
            await stop.wait()
        finally:
            listener.close()

    async def _bind(self, server: web.Server) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        connect = partial(QuietConnection, server, loop=loop, auto_decompress=False, access_log=None)  # type: ignore[arg-type] # None: off
        try:
            return await loop.create_server(connect, self.host, self.port)
        except OSError as error:
            raise Misconfigured(
                f"cannot listen on {self.host}:{self.port}: {unbound(error)}. RINGHOOK_INTERNAL_LISTEN chooses another address"
            ) from error
