import asyncio

import pytest

from workers.bus.contract import Stop
from workers.runtime.supervise import Fatal, supervise


class Flaky:
    name = "flaky"

    def __init__(self, error: Exception, times: int) -> None:
        self.error, self.times, self.runs = error, times, 0
        self.well = asyncio.Event()

    async def run(self, stop: Stop) -> None:
        self.runs += 1
        if self.runs <= self.times:
            raise self.error
        self.well.set()
        await stop.wait()


async def test_a_crashing_worker_is_restarted_alone() -> None:
    stop, crashing, healthy = asyncio.Event(), Flaky(RuntimeError("bug"), 2), Flaky(RuntimeError("never"), 0)
    running = asyncio.create_task(supervise([crashing, healthy], stop))
    async with asyncio.timeout(10):
        await crashing.well.wait()
        assert (crashing.runs, healthy.runs) == (3, 1)
        stop.set()
        await running


async def test_a_worker_that_must_not_go_on_ends_all_of_them() -> None:
    stop, broken, healthy = asyncio.Event(), Flaky(Fatal("disk"), 1), Flaky(RuntimeError("never"), 0)
    with pytest.raises(Fatal, match="disk"):
        await asyncio.wait_for(supervise([healthy, broken], stop), 10)
    assert stop.is_set()
    assert healthy.well.is_set()
