"""Devices whose events fail for ever, one in each lane of `event.recorded`: they wait in rows, and all that follow them."""

import asyncio
from collections.abc import Iterator
from itertools import count
from typing import Final

import aiohttp

from deploy.demo.installation import Installation
from schemas.topics import PARTITIONS
from tests.bench import webhooks
from workers.bus.contract import Publisher, Record
from workers.bus.partition import partition

PARKED_S: Final = 60.0
ACCOUNTS: Final = [
    next(name for n in count() if partition((name := f"ava1.ring.account.{n:072x}").encode(), PARTITIONS) == lane)
    for lane in range(PARTITIONS)
]


def records(each: int, device: str = "broken-1") -> Iterator[Record]:
    """Give so many events of the broken device of each lane, in turn; none of them is ever accepted."""
    of = [webhooks.recorded(webhooks.one(f"{device:>012}-{lane:08d}", name, device)) for lane, name in enumerate(ACCOUNTS)]
    return (record for _ in range(each) for record in of)


async def park(made: Installation, bus: Publisher) -> None:
    """Return once the first event of each broken device waits in a row; others get through meanwhile, as proof of life."""
    await webhooks.publish(bus, records(1))
    async with asyncio.timeout(PARKED_S):
        while await waiting(made) < PARTITIONS:
            await webhooks.publish(bus, (webhooks.recorded(raw) for raw in webhooks.bodies(30)))
            await asyncio.sleep(0.5)


async def stored(made: Installation, rows: int, *, within: float) -> None:
    """Return once so many events wait in rows."""
    async with asyncio.timeout(within):
        while await waiting(made) < rows:  # noqa: ASYNC110 - another process writes them
            await asyncio.sleep(0.25)


async def waiting(made: Installation) -> int:
    """Return how many events wait in rows."""
    return await gauge(made, "waiting_events")


async def gauge(made: Installation, name: str) -> int:
    """Return a gauge of deliver's, over all destinations."""
    async with aiohttp.ClientSession() as client, client.get(f"{made.roles['deliver'].internal}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith(f"ringhook_delivery_{name}{{")))
