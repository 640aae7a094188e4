"""Where Ring listens; it can be shut with everything under way cut off, and opened again at the same address."""

import socket
from collections.abc import Callable
from typing import Final

from aiohttp import web

CUT_S: Final = 0.01


class Door:
    """One address on loopback (`port` 0: a free one), and the application behind it, made anew at each opening."""

    def __init__(self, make: Callable[[], web.Application], port: int = 0) -> None:
        self._make = make
        self._socket: socket.socket | None = socket.create_server(("127.0.0.1", port))
        self._port = int(self._socket.getsockname()[1])
        self._runner: web.AppRunner | None = None
        self.url: Final = f"http://127.0.0.1:{self._port}"

    async def open(self) -> None:
        """Listen."""
        listening = self._socket or socket.create_server(("127.0.0.1", self._port))
        self._socket, self._runner = None, web.AppRunner(self._make(), access_log=None, shutdown_timeout=CUT_S)
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()

    async def shut(self) -> None:
        """Hear nothing any more, and cut off what is under way."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
