"""Deliver to one fast sink against a bare aiohttp client with as many in flight to the same sink."""

import asyncio
import sys

from tests.bench import ground, webhooks
from tests.bench.figures import Figure
from tests.bench.ground import BASELINES, Ground, Sink
from workers.deliver.destinations import Destination

COUNT, WITHIN_S = 15_000, 60.0
IN_FLIGHT = next(field.default for field in __import__("msgspec").structs.fields(Destination) if field.name == "concurrency")


async def measure(on: Ground, rounds: int) -> list[Figure]:
    """Return the ratio; each round sends as many from both, in turn."""
    bare, ours = list[float](), list[float]()
    async with ground.sink() as sink:
        made = await on.house(sink)
        async with made.running("deliver"):  # a new destination begins at the end of the log: let it have been here
            await asyncio.sleep(3)
        async with ground.bus_of(made) as bus:
            for _ in range(rounds):
                bare.append(float(await ground.result(sys.executable, BASELINES / "bare_deliver.py", sink.url, COUNT, IN_FLIGHT)))
                await webhooks.publish(bus, (webhooks.recorded(raw) for raw in webhooks.bodies(COUNT)))
                await sink.forget()
                async with made.running("deliver"):
                    ours.append(await _rate(sink))
    note = f"{COUNT:,} events a round, {IN_FLIGHT} in flight"
    return [Figure("deliver / bare aiohttp client with as many in flight", "events/s", ours, 0.5, bare, note=note)]


async def _rate(sink: Sink) -> float:
    told = await sink.complete(COUNT, within=WITHIN_S)
    return told["ids"] / (told["last"] - told["first"]) if told["ids"] else 0.0
