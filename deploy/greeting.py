"""The first words of `ringhook up`, once they are true."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from workers.bus.contract import Stop


@dataclass(frozen=True)
class Greeting:
    """A worker that speaks when both listeners are open, and then waits for the end."""

    listening: asyncio.Future[int]  # the public one's port
    inside: asyncio.Event  # the internal one is open
    say: Callable[[str], None]
    words: Callable[[int], str]  # takes the port
    name: str = "greeting"

    async def run(self, stop: Stop) -> None:
        """Return soon after `stop`, in silence where a listener never opened."""
        ending, opened = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(self._opened())
        try:
            await asyncio.wait((opened, ending), return_when=asyncio.FIRST_COMPLETED)
            if opened.done():
                self.say(self.words(opened.result()))
            await ending
        finally:
            ending.cancel()
            opened.cancel()

    async def _opened(self) -> int:
        await self.inside.wait()
        return await asyncio.shield(self.listening)
