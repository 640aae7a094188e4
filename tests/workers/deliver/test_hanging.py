"""Keys of which a destination says nothing until the timeout do not stop those that it takes."""

import asyncio

import pytest

from tests.workers.deliver.support import Sink, delivering, destination, event, until
from workers.bus.contract import Bus
from workers.deliver.policy import Standard

HANGING, CONCURRENCY, TIMEOUT_S = 24, 8, 1.0


async def hangs_for_some(identity: str, _number: int) -> int:
    if identity.startswith("hangs"):
        await asyncio.sleep(60)
    return 200


@pytest.mark.parametrize("bus", ["memory"], indirect=True)
async def test_living_keys_get_through_though_more_hang_than_requests_may_be_in_flight(bus: Bus, sink: Sink) -> None:
    sink.answer = hangs_for_some
    living = [event(f"e{number}", device=f"d{number % 50}") for number in range(400)]
    async with delivering(bus, destination(sink.url, concurrency=CONCURRENCY, timeout_s=TIMEOUT_S), policy=Standard()):
        await bus.publish(living[:100])
        await until(lambda: len(sink.ids) == 100)
        await bus.publish([event(f"hangs{number}", device=f"h{number}") for number in range(HANGING)])
        await bus.publish(living[100:])
        await until(lambda: sum(name.startswith("e") for name in sink.unique) == len(living), 60)
