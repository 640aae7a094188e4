"""Who looks into topics takes a turn, of which there are few: a console must never slow what Ring and users wait for."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from ingress.bounds import Bound, Full
from ingress.errors import TooOften

AGAIN_S: Final = 2.0  # seconds after which a turn may be free


class Turns:
    """Lets in `most` at a time, of whom `abreast` work and the others stand in line; who comes then is told so at once (429)."""

    def __init__(self, most: int, doing: str, *, abreast: int) -> None:
        self._bound, self._line = Bound(most), asyncio.Semaphore(abreast)
        self._words = f"{most} callers {doing} already, and no more may at a time: ask again in a moment."

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """Take one for as long as the block lasts, or raise TooOften."""
        try:
            self._bound.__enter__()
        except Full as error:
            raise TooOften(self._words, retry_after=AGAIN_S) from error
        try:
            async with self._line:
                yield
        finally:
            self._bound.__exit__(None, None, None)
