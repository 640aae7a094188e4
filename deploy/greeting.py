"""The first words of `ringhook up`, once they are true."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from workers.bus.contract import Stop


@dataclass(frozen=True)
class Greeting:
    """A worker that speaks when the public listener is open, and then waits for the end."""

    listening: asyncio.Future[int]
    say: Callable[[str], None]
    words: Callable[[int], str]  # takes the port
    name: str = "greeting"

    async def run(self, stop: Stop) -> None:
        """Return soon after `stop`, in silence where the listener never opened."""
        ending = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((self.listening, ending), return_when=asyncio.FIRST_COMPLETED)
            if self.listening.done():
                self.say(self.words(self.listening.result()))
            await ending
        finally:
            ending.cancel()
