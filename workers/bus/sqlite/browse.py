"""Looking into the file's topics without a group: short reads by a connection of their own."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from workers.bus.contract import Browser, Held, Span
from workers.bus.sqlite import reader
from workers.bus.sqlite.deeds import since
from workers.bus.sqlite.file import Layout
from workers.bus.sqlite.reader import Reader
from workers.bus.sqlite.times import micros


@asynccontextmanager
async def browser(layout: Layout, ends: Mapping[int, int], beside: Reader) -> AsyncIterator[Browser]:
    """Yield a browser; `ends` is where each slot ends, as of the last commit."""
    opened = await asyncio.to_thread(beside.beside, "bus-browser")
    try:
        yield SqliteBrowser(layout, ends, opened)
    finally:
        await opened.close()


class SqliteBrowser:
    """Browser (`workers.bus.contract`) of a SqliteBus."""

    def __init__(self, layout: Layout, ends: Mapping[int, int], opened: Reader) -> None:
        self._layout, self._ends, self._reader = layout, ends, opened

    async def spans(self, topic: str) -> Sequence[Span]:
        """Return what can be read of each index."""
        slots = self._layout.of(topic)
        firsts = await self._reader.run(lambda link: _firsts(link, slots))
        return [Span(index, firsts[slot], self._ends[slot]) for index, slot in enumerate(slots)]

    async def since(self, topic: str, at: datetime) -> Mapping[int, int]:
        """Return by index from where on every record was taken at `at` or later."""
        slots, time = self._layout.of(topic), micros(at)
        ends = {slot: self._ends[slot] for slot in slots}

        def found(link: sqlite3.Connection) -> dict[int, int]:
            firsts = _firsts(link, slots)
            return {index: since(link, slot, firsts[slot], ends[slot], time) for index, slot in enumerate(slots)}

        return await self._reader.run(found)

    async def read(self, topic: str, index: int, offset: int, limit: int) -> Sequence[Held]:
        """Return the records from an offset on, bounded."""
        slot = self._layout.of(topic)[index]
        span = reader.Span(topic, index, slot, offset, self._ends[slot])
        return await self._reader.run(lambda link: reader.read(link, [span], limit))


def _firsts(link: sqlite3.Connection, slots: Collection[int]) -> dict[int, int]:
    marks = ",".join("?" * len(slots))
    return dict(link.execute(f"select id, first from slot where id in ({marks})", tuple(slots)).fetchall())  # noqa: S608  (only question marks)
