import asyncio

import pytest

from workers.bus.contract import Stop
from workers.runtime.metrics import WORKER_RESTARTS
from workers.runtime.supervise import Fatal, supervise


class Flaky:
    name = "flaky"

    def __init__(self, error: BaseException | None, times: int) -> None:
        self.error, self.times, self.runs = error, times, 0
        self.well = asyncio.Event()

    async def run(self, stop: Stop) -> None:
        self.runs += 1
        if self.runs <= self.times:
            if self.error is None:
                return
            raise self.error
        self.well.set()
        await stop.wait()


@pytest.mark.parametrize("end", [RuntimeError("bug"), asyncio.CancelledError(), None])
async def test_a_worker_that_ends_unasked_is_restarted_alone_and_after_a_pause(end: BaseException | None) -> None:
    stop, crashing, healthy = asyncio.Event(), Flaky(end, 2), Flaky(RuntimeError("never"), 0)
    restarts = WORKER_RESTARTS.labels(worker="flaky")._value.get()
    running = asyncio.create_task(supervise([crashing, healthy], stop))
    async with asyncio.timeout(10):
        await crashing.well.wait()
        assert (crashing.runs, healthy.runs) == (3, 1)
        assert WORKER_RESTARTS.labels(worker="flaky")._value.get() - restarts == 2
        stop.set()
        await running


@pytest.mark.parametrize("end", [Fatal("disk"), ExceptionGroup("steps", [ValueError(), ExceptionGroup("", [Fatal("disk")])])])
async def test_a_worker_that_must_not_go_on_ends_all_of_them(end: Exception) -> None:
    stop, broken, healthy = asyncio.Event(), Flaky(end, 1), Flaky(RuntimeError("never"), 0)
    with pytest.raises(Fatal, match="disk"):
        await asyncio.wait_for(supervise([healthy, broken], stop), 40)
    assert stop.is_set()
    assert healthy.well.is_set()


async def test_a_worker_that_is_cancelled_from_outside_stays_so() -> None:
    worker = Flaky(RuntimeError("never"), 0)
    running = asyncio.create_task(supervise([worker], asyncio.Event()))
    await worker.well.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert worker.runs == 1
