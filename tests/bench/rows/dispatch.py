"""Dispatch on Kafka and PostgreSQL against a bare loop that consumes, claims and writes in transactions."""

import asyncio
import sys
import time

from deploy.demo.installation import Installation
from schemas.topics import EVENT_RECORDED, WEBHOOK_RECEIVED, physical
from tests.bench import accounts, ground, webhooks
from tests.bench.figures import Figure, Run, versus
from tests.bench.ground import BASELINES, Ground
from workers.bus.contract import Bus, BusUnavailable

COUNT, LOOK_S, WITHIN_S = 20_000, 0.1, 60.0


async def measure(on: Ground, rounds: int) -> list[Figure]:
    """Return the ratio; each round takes both through the same new records, in turn."""
    made, store = await on.house(), await on.database()
    await accounts.link(made, "dispatch")
    bare, ours = list[Run](), list[Run]()
    async with ground.bus_of(made) as bus:
        for _ in range(rounds):
            await webhooks.publish(bus, (webhooks.received(raw) for raw in webhooks.bodies(COUNT)))
            bare.append(await _bare(on, made, store))
            ours.append(await _ours(made, bus))
    return [versus("dispatch / bare consume, claim, write", 0.4, ours, bare, f"{COUNT:,} records a round")]


async def _bare(on: Ground, made: Installation, store: str) -> Run:
    namespace = made.environment["RINGHOOK_NAMESPACE"]
    source, target = physical(namespace, WEBHOOK_RECEIVED.name), physical(namespace, EVENT_RECORDED.name)
    script = BASELINES / "bare_dispatch.py"
    return Run(*await ground.result(sys.executable, script, on.kafka.bootstrap, source, target, store, COUNT))


async def _ours(made: Installation, bus: Bus) -> Run:
    """Return the rate between the group's first commit and the one that leaves nothing."""
    looking = asyncio.create_task(_drained(bus))
    try:
        async with made.running("dispatch"):
            before = ground.spent(made.roles["dispatch"].process)
            rate = await looking
            return Run(rate, (ground.spent(made.roles["dispatch"].process) - before) / COUNT)
    finally:
        looking.cancel()


async def _drained(bus: Bus) -> float:
    began = since = time.perf_counter()
    waiting = left = await _left(bus)
    while left and time.perf_counter() < began + WITHIN_S:
        if left == waiting:
            since = time.perf_counter()
        await asyncio.sleep(LOOK_S)
        left = await _left(bus)
    return (waiting - left) / (time.perf_counter() - since)


async def _left(bus: Bus) -> int:
    """Return what the group has not committed; a broker that has no coordinator for it yet is asked again."""
    while True:
        try:
            return (await bus.lag("dispatch", [WEBHOOK_RECEIVED.name])).records
        except BusUnavailable:
            await asyncio.sleep(LOOK_S)
