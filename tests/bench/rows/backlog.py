"""Every destination dead and 1,000,000 records waiting: the size of deliver, and how long its event loop is held up."""

import asyncio
import sys
import time
from itertools import cycle, islice
from typing import Final, NamedTuple

from deploy.demo.installation import Installation
from tests.bench import graveyard, ground, webhooks
from tests.bench.figures import Figure
from tests.bench.ground import HERE, Ground
from workers.bus.contract import Bus

BACKLOG, KINDS, MOST_MB, MOST_MS = 1_000_000, 1_200, 130, 50
OTHERS: Final = 3  # dead destinations beside the first, each in a way of its own
WATCH_S: Final = 30.0
LANES: Final = 8  # publishers, in turn


class Pulse(NamedTuple):
    """How long deliver took to answer, in ms, and how late who asked was woken."""

    longest: float
    usual: float
    waker: float


async def measure(on: Ground, _rounds: int) -> list[Figure]:
    """Return the largest size and the longest hold-up; once, since a largest of all has no noise to average."""
    async with graveyard.standing() as dead:
        made = await on.house(None, graveyard.names(OTHERS))
        toml = made.directory / "ringhook.toml"
        toml.write_text(toml.read_text() + graveyard.entries(OTHERS, dead[1:]))
        async with made.running("deliver"), ground.bus_of(made) as bus:
            await asyncio.sleep(3)  # a new destination begins at the end of the log: let it have been here
            calm, empty = await _pulse(made), ground.peak(made.roles["deliver"].process)
            took = await _fill(bus)
            await graveyard.buried(made, OTHERS + 1)
            size = ground.peak(made.roles["deliver"].process)
        async with made.running("deliver"):
            behind, size = await _pulse(made), max(size, ground.peak(made.roles["deliver"].process))
    said = f"{BACKLOG:,} records put there in {took:.0f} s, {OTHERS + 1} dead destinations"
    return [
        Figure("deliver with all of that dead", "MB", [size], MOST_MB, sense="at most", note=f"{said}; {empty:.0f} MB before"),
        Figure(
            "longest that its event loop is held up", "ms", [behind.longest], MOST_MS, sense="at most", note=_words(behind, calm)
        ),
    ]


async def _fill(bus: Bus) -> float:
    """Put the backlog on the bus; return how long that took. Records of so many kinds, over and over: none is ever accepted."""
    some = [webhooks.recorded(raw) for raw in webhooks.bodies(KINDS)]
    records, began = islice(cycle(some), BACKLOG), time.monotonic()
    await asyncio.gather(*(webhooks.publish(bus, records) for _ in range(LANES)))
    return time.monotonic() - began


async def _pulse(made: Installation) -> Pulse:
    port = made.roles["deliver"].internal.rpartition(":")[2]
    return Pulse(*await ground.result(sys.executable, HERE / "pulse.py", port, WATCH_S))


def _words(behind: Pulse, calm: Pulse) -> str:
    beside = f"p99.9 {behind.usual:.0f} ms; with nothing to do {calm.longest:.0f} and {calm.usual:.0f} ms"
    return f"{beside}; who asked was woken up to {behind.waker:.0f} ms late, with nothing to do {calm.waker:.0f} ms"
