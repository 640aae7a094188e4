"""Every destination dead and 1,000,000 records waiting: the size of deliver, and how long its event loop is held up."""

import asyncio
import sys
import time
from itertools import cycle, islice
from typing import Final, NamedTuple

from deploy.demo.installation import Installation
from schemas.topics import PARTITIONS
from tests.bench import graveyard, ground, webhooks
from tests.bench.figures import Figure
from tests.bench.ground import HERE, Ground
from workers.bus.contract import Bus

BACKLOG, KINDS, MOST_MB, MOST_MS = 1_000_000, 1_200, 130, 50
OTHERS: Final = 3  # dead destinations beside the first, each in a way of its own
WATCH_S, WATCHES = 15.0, 3
LOT: Final = 200 * PARTITIONS  # as many as dispatch's steps bring at once: larger batches on the broker are larger in memory
WHY: Final = (
    "Each destination reads the log by itself, and keeps what its twelve lanes have read: some 10 MB, however long it is dead. "
    "Lanes that hold 64 records ready instead of 256 took 5 MB from each."
)


class Pulse(NamedTuple):
    """How long deliver took to answer, in ms, and how late who asked was woken."""

    longest: float
    usual: float
    waker: float


async def measure(on: Ground, _rounds: int) -> list[Figure]:
    """Return the largest size of all and the longest hold-ups."""
    async with graveyard.standing() as dead:
        made = await on.house(None, graveyard.names(OTHERS))
        toml = made.directory / "ringhook.toml"
        toml.write_text(toml.read_text() + graveyard.entries(OTHERS, dead[1:]))
        async with made.running("deliver"), ground.bus_of(made) as bus:
            await asyncio.sleep(3)  # a new destination begins at the end of the log: let it have been here
            calm, empty = await _pulse(made, 1), ground.peak(made.roles["deliver"].process)
            took = await _fill(bus)
            await graveyard.buried(made, OTHERS + 1)
            size = ground.peak(made.roles["deliver"].process)
        async with made.running("deliver"):
            behind, size = await _pulse(made, WATCHES), max(size, ground.peak(made.roles["deliver"].process))
    said = f"{BACKLOG:,} records put there in {took:.0f} s, {OTHERS + 1} dead destinations"
    return [
        Figure(
            "deliver with all of that dead",
            "MB",
            [size],
            MOST_MB,
            sense="at most",
            note=f"{said}; {empty:.0f} MB before",
            why=WHY,
        ),
        Figure(
            "longest that its event loop is held up",
            "ms",
            [each.longest for each in behind],
            MOST_MS,
            sense="at most",
            note=_words(behind, calm),
        ),
    ]


async def _fill(bus: Bus) -> float:
    """Put the backlog on the bus; return how long that took. Records of so many kinds, over and over: none is ever accepted."""
    some = [webhooks.recorded(raw) for raw in webhooks.bodies(KINDS)]
    records, began = islice(cycle(some), BACKLOG), time.monotonic()
    await webhooks.publish(bus, records, LOT)
    return time.monotonic() - began


async def _pulse(made: Installation, watches: int) -> list[Pulse]:
    port = made.roles["deliver"].internal.rpartition(":")[2]
    return [Pulse(*await ground.result(sys.executable, HERE / "pulse.py", port, WATCH_S)) for _ in range(watches)]


def _words(behind: list[Pulse], calm: list[Pulse]) -> str:
    usual = f"{WATCHES} times {WATCH_S:.0f} s; p99.9 {max(each.usual for each in behind):.0f} ms"
    beside = f"with nothing to do the longest is {calm[0].longest:.0f} and p99.9 {calm[0].usual:.0f} ms"
    return f"{usual}, {beside}; who asks woke up to {max(each.waker for each in behind):.0f} ms late"
