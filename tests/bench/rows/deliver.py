"""Deliver to one fast sink against a bare aiohttp client with as many in flight to the same sink."""

import asyncio
import sys

import msgspec

from tests.bench import ground, webhooks
from tests.bench.figures import Figure, Run, versus
from tests.bench.ground import BASELINES, Ground, Sink
from workers.deliver.destinations import Destination

COUNT, WITHIN_S = 15_000, 60.0
IN_FLIGHT = next(field.default for field in msgspec.structs.fields(Destination) if field.name == "concurrency")

WHY = (
    "As much CPU as the baseline takes is aiohttp's client; the rest is spread over reading from Kafka, the window, signing, "
    "judging, metrics, attempt records and commits, a few µs each. Reading headers in one pass, splicing the body, one clock a "
    "batch and rarer attempt records brought it from 174 to 138 µs an event; committing less often, and quick calls without a "
    "thread hop in the stores, gained nothing that could be told from noise."
)


async def measure(on: Ground, rounds: int) -> list[Figure]:
    """Return the ratio; each round sends as many from both, in turn."""
    bare, ours = list[Run](), list[Run]()
    async with ground.sink() as sink:
        made = await on.house(sink)
        async with made.running("deliver"):  # a new destination begins at the end of the log: let it have been here
            await asyncio.sleep(3)
        async with ground.bus_of(made) as bus:
            for _ in range(rounds):
                bare.append(Run(*await ground.result(sys.executable, BASELINES / "bare_deliver.py", sink.url, COUNT, IN_FLIGHT)))
                await webhooks.publish(bus, (webhooks.recorded(raw) for raw in webhooks.bodies(COUNT)))
                await sink.forget()
                async with made.running("deliver"):
                    before = ground.spent(made.roles["deliver"].process)
                    told = await rate(sink, COUNT)
                    ours.append(Run(told, (ground.spent(made.roles["deliver"].process) - before) / COUNT))
    return [
        versus(
            "deliver / bare aiohttp client with as many in flight",
            0.65,
            ours,
            bare,
            f"{COUNT:,} events a round, {IN_FLIGHT} in flight",
            why=WHY,
        )
    ]


async def rate(sink: Sink, count: int) -> float:
    """Return the events a second that a sink got, once it has all of them."""
    told = await sink.complete(count, within=WITHIN_S)
    return told["ids"] / (told["last"] - told["first"]) if told["ids"] else 0.0
