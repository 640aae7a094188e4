"""The public listener as a worker: bounded connections, headers in time, and an end that finishes what is in flight.

A process that is leaving serves on and says with each answer that its connection closes: who asks again, asks another copy.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog
from aiohttp import web

from ingress.app import HOT
from ingress.connection import Connection
from ingress.descriptors import room_for
from ingress.metrics import CONNECTIONS, CONNECTIONS_CUT, REQUESTS
from ingress.ring.held import last
from ingress.route import Handler
from ingress.settings import Limits
from schemas.errors import Misconfigured
from schemas.findings.reach import unbound
from workers.bus.contract import Stop
from workers.runtime.listener import server_of, tell_no_versions
from workers.runtime.supervise import wait_or_stop

log = structlog.get_logger()
SWEEP_S: Final = 0.5  # how often slow headers are looked for
FINISH_S: Final = 0.02  # how often, at the stop, it is looked whether bodies have come
KEPT_S: Final = 0.25  # seconds that kept connections stay open at the stop
BACKLOG: Final = 1024
READ_CHUNK: Final = 16 * 1024  # bytes a connection buffers before its body is read: twice this at most


@dataclass
class Server:
    """Serves an application until `stop`: `name`, `run(stop)`, `ready()`."""

    application: web.Application
    host: str
    port: int
    limits: Limits = field(default_factory=Limits)
    name: str = "public"
    listening: asyncio.Future[int] | None = None  # resolves to the port, which 0 leaves to the system
    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    _open: bool = False

    def ready(self) -> str | None:
        """Return why no traffic should come (a readiness probe), or None."""
        if self.leaving.is_set():
            return "the process was told to end"
        return None if self._open else f"the {self.name} listener is not open"

    async def run(self, stop: Stop) -> None:
        """Serve until `stop`; then accept no more, finish what is in flight within the grace, and return.

        Raises Misconfigured where the address cannot be bound.
        """
        tell_no_versions()
        runner = web.AppRunner(self.application, handle_signals=False, shutdown_timeout=self.limits.grace_s)
        await runner.setup()
        try:
            await self._serve(server_of(runner), stop)
        finally:
            self._open = False
            await runner.cleanup()
        log.info("server.stopped", server=self.name)

    async def _serve(self, server: web.Server, stop: Stop) -> None:
        answers = dispatch(server.request_handler, self.application.get(HOT, {}))
        server.request_handler = closing(answers, self.leaving)  # type: ignore[assignment]
        CONNECTIONS.labels(server=self.name).set_function(lambda: len(server.connections))
        connect = self._factory(server)
        listener = await self._listen(connect)
        try:
            await self._watch(server, stop)
        finally:
            self._open = False
            late = closed(listener)
        for taken in late:
            await asyncio.get_running_loop().connect_accepted_socket(connect, taken)
        await self._finish(server)

    async def _listen(self, connect: Callable[[], asyncio.Protocol]) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        try:
            listener = await loop.create_server(connect, self.host, self.port, backlog=BACKLOG)
        except OSError as error:
            raise Misconfigured(
                f"cannot listen on {self.host}:{self.port}: {unbound(error)}. RINGHOOK_PUBLIC_LISTEN chooses another address"
            ) from error
        port = listener.sockets[0].getsockname()[1]
        self._open = True
        if self.listening is not None and not self.listening.done():
            self.listening.set_result(port)
        log.info("server.started", server=self.name, host=self.host, port=port)
        return listener

    def _factory(self, server: web.Server) -> Callable[[], asyncio.Protocol]:
        loop, limits = asyncio.get_running_loop(), self.limits
        most = room_for(limits.connections)

        def connect() -> asyncio.Protocol:
            if len(server._connections) >= most:  # noqa: SLF001 - `connections` copies the list each time
                CONNECTIONS_CUT.labels(why="too_many").inc()
                return Refused()
            return Connection(
                server,
                loop=loop,
                keepalive_timeout=limits.keep_alive_s,
                lingering_time=limits.linger_s,
                read_bufsize=READ_CHUNK,
                auto_decompress=False,
                access_log=None,  # type: ignore[arg-type] # None switches it off
            )

        return connect

    async def _watch(self, server: web.Server, stop: Stop) -> None:
        """Close connections whose headers do not come to an end, until `stop`."""
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            await wait_or_stop(stop, SWEEP_S)
            for connection in overdue(server, loop.time() - self.limits.headers_s):
                CONNECTIONS_CUT.labels(why="slow_headers").inc()
                connection.force_close()

    async def _finish(self, server: web.Server) -> None:
        """Return once all that is asked for has come whole (a body's own deadline runs on), or after the grace.

        Who asks again and again on one connection has asked just now, too, and is told with the answer that it closes.
        """
        if connections(server):
            await asyncio.sleep(KEPT_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.limits.grace_s):
                while sum(connection.finish() for connection in connections(server)):  # noqa: ASYNC110 - bytes set no event
                    await asyncio.sleep(FINISH_S)


class Refused(asyncio.Protocol):
    """A connection over the bound: closed as it comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Close it."""
        transport.close()


def closed(listener: asyncio.Server) -> Collection[socket.socket]:
    """Close the door; return who came in before it and was not met yet: the system would cut them off with it."""
    doors = [socket.socket(fileno=os.dup(each.fileno())) for each in listener.sockets]
    listener.close()
    return [taken for door in doors for taken in _last(door)]


def _last(door: socket.socket) -> Collection[socket.socket]:
    found: list[socket.socket] = []
    door.setblocking(False)  # noqa: FBT003 - its own signature
    with door, suppress(OSError):  # nobody is left, or the system has no room for more
        while len(found) < BACKLOG:
            found.append(door.accept()[0])
            found[-1].setblocking(False)  # noqa: FBT003 - as above
    return found


def overdue(server: web.Server, before: float) -> list[Connection]:
    """Return the connections that have been in the middle of a request's headers since before that moment."""
    return [
        connection
        for connection in connections(server)
        if connection.headers_since is not None and connection.headers_since < before
    ]


def connections(server: web.Server) -> list[Connection]:
    """Return the open connections."""
    return [connection for connection in server.connections if isinstance(connection, Connection)]


def closing(answers: Handler, leaving: asyncio.Event) -> Handler:
    """Return a handler whose answers close their connection once the process is leaving."""

    async def goodbye(request: web.Request) -> web.StreamResponse:
        try:
            return last(await answers(request))
        except web.HTTPException as error:
            error.force_close()
            raise

    return lambda request: goodbye(request) if leaving.is_set() else answers(request)


def dispatch(application: Callable[[web.Request], Awaitable[web.StreamResponse]], hot: Mapping[str, Handler]) -> Handler:
    """Return a handler that calls the hot POST routes at once and leaves everything else to the application's router."""

    def route(request: web.Request) -> Awaitable[web.StreamResponse]:
        if request.method == "POST" and (handler := hot.get(request.rel_url.raw_path)) and "Expect" not in request.headers:
            return handler(request)
        return routed(request)

    async def routed(request: web.Request) -> web.StreamResponse:
        try:
            return await application(request)
        except web.HTTPException as error:  # no such path, or no such method on it
            REQUESTS.labels(route="none", answer=str(error.status)).inc()
            raise

    return route
