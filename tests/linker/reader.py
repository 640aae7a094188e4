"""Reads a topic as an outsider would, from its beginning."""

import asyncio
from typing import TypeVar
from uuid import uuid4

import msgspec

from workers.bus.contract import Bus, Lane, Stop

T = TypeVar("T")
PATIENCE = 60.0  # seconds; a group's join takes a loaded broker long


async def told(bus: Bus, topic: str, kind: type[T], wanted: int) -> list[T]:
    """Return what a new reader of the topic sees, once there are so many."""
    stop, found = asyncio.Event(), list[T]()

    async def work(lane: Lane, over: Stop) -> None:
        await lane.open()
        while not over.is_set() and not stop.is_set():
            found.extend(msgspec.json.decode(held.value, type=kind) for held in await lane.fetch(100, 0.05))
            if len(found) >= wanted:
                stop.set()

    async with asyncio.timeout(PATIENCE):
        await bus.consume([topic], f"reader-{uuid4().hex[:8]}", work, stop, atomic=False)
    return found
