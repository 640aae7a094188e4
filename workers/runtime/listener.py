"""The internal port as a worker: probes, metrics and, where the role has them, /v1 and pages."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from schemas.errors import Misconfigured
from workers.bus.contract import Stop

GRACE: Final = 5.0  # seconds for what is being answered when the end is asked for


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
        runner = web.AppRunner(self.application, access_log=None, shutdown_timeout=GRACE)
        await runner.setup()
        try:
            await self._bind(runner)
            self.opened.set()
            await stop.wait()
        finally:
            await runner.cleanup()

    async def _bind(self, runner: web.AppRunner) -> None:
        try:
            await web.TCPSite(runner, self.host, self.port).start()
        except OSError as error:
            raise Misconfigured(
                f"the {self.name} address {self.host}:{self.port} cannot be used ({error.strerror}): "
                "is another ringhook running? RINGHOOK_INTERNAL_LISTEN chooses another"
            ) from error
