"""Where an attempt's time went: the marks that its connection sets on the way, and the split that they make.

Not aiohttp's traces: each request would pay for them, though nearly all go on kept connections, and they tell TCP and TLS as one.
"""

import socket
import ssl
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial
from time import perf_counter
from typing import Any, Final

import aiohttp
from aiohttp.client import ClientTimeout
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from workers.deliver.answer import Failure, Timing
from workers.deliver.wire import Wire
from workers.runtime.guard import Network
from workers.runtime.sockets import guarded

_LOOKING_UP: Final = ("dns", "timeout")  # how an attempt may end while nobody has said yet where the host is


class Watch:
    """The moments of one attempt; what its connection needs to do sets them, wherever the event loop does it."""

    __slots__ = ("began", "dialed", "greeted", "ready")

    def __init__(self) -> None:
        self.began = perf_counter()
        self.dialed: float | None = None  # the first of the host's addresses is tried
        self.greeted: float | None = None  # TCP stands, TLS begins
        self.ready: float | None = None  # the request can go

    def split(self, ended: float, failure: Failure | None, *, named: bool) -> Timing:
        """Return the seconds of each step that happened, the one that a failure cut short too; `named`: the host is a name."""
        dialed, greeted, ready = self.dialed, self.greeted, self.ready
        if dialed is None:
            lost = named and ready is None and failure in _LOOKING_UP
            return Timing(dns=ended - self.began if lost else None, wait=None if ready is None else ended - ready)
        sent = ended if ready is None else ready
        return Timing(
            dns=dialed - self.began if named else None,
            connect=(sent if greeted is None else greeted) - dialed,
            tls=None if greeted is None else sent - greeted,
            wait=None if ready is None else ended - ready,
        )


_WATCH: Final[ContextVar[Watch | None]] = ContextVar("watch", default=None)


def started() -> Watch:
    """Return a watch that runs for the attempt which the current task makes now."""
    watch = Watch()
    _WATCH.set(watch)
    return watch


class Connector(aiohttp.TCPConnector):
    """Makes connections to permitted addresses alone, and marks on the attempt's watch when it has one.

    On each connection one answer a request is heard.
    """

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - handed on as they come
        """Take what aiohttp's own takes."""
        super().__init__(**options)
        made: Callable[..., ResponseHandler] = Wire
        self._factory = partial(made, loop=self._loop)  # aiohttp has no public place for it

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109 - aiohttp's own shape
    ) -> Connection:
        """Return a connection, kept or new."""
        connection = await super().connect(req, traces, timeout)
        if watch := _WATCH.get():
            watch.ready = perf_counter()
        return connection


class Context(ssl.SSLContext):
    """Marks on the attempt's watch when TLS begins."""

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:  # noqa: ANN401 - handed on as they come
        """Begin TLS on a connection that stands."""
        if watch := _WATCH.get():
            watch.greeted = perf_counter()
        return super().wrap_bio(*args, **kwargs)


def sockets(allowed: Sequence[Network]) -> aiohttp.SocketFactoryType:
    """Return a socket factory as `guarded`, that marks on the attempt's watch when the first address is tried."""
    make = guarded(allowed)

    def made(info: aiohttp.AddrInfoType) -> socket.socket:
        made = make(info)
        if (watch := _WATCH.get()) and watch.dialed is None:
            watch.dialed = perf_counter()
        return made

    return made
