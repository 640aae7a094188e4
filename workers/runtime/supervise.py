"""Keep workers running: one that crashes is restarted alone, with growing pauses; one that must end the process does."""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

import structlog

from schemas.errors import Misconfigured
from workers.bus.contract import BusBroken, Stop
from workers.runtime.backoff import Backoff
from workers.runtime.metrics import WORKER_RESTARTS

log = structlog.get_logger()
HEALTHY_AFTER: Final = 60.0  # seconds a worker must have run for its next crash to count as the first


class Fatal(Exception):
    """Going on would risk a lie (a broken disk, a front door that cannot be bound): the process ends."""


FATAL: Final = (Fatal, Misconfigured, BusBroken)  # after these no other worker may go on either


class Worker(Protocol):
    """Anything that runs until it is told to stop: an HTTP server, a job on its lanes, a sweep."""

    @property
    def name(self) -> str:
        """As logs and metrics call it; from a closed set."""
        ...

    async def run(self, stop: Stop) -> None:
        """Return soon after `stop` is set."""
        ...


async def supervise(workers: Sequence[Worker], stop: asyncio.Event) -> None:
    """Run all workers until `stop` is set; a FATAL error of one sets it and is raised once all have ended."""
    try:
        async with asyncio.TaskGroup() as tasks:
            for worker in workers:
                tasks.create_task(_keep(worker, stop), name=worker.name)
    except* FATAL as failed:
        raise failed.exceptions[0] from None


async def _keep(worker: Worker, stop: asyncio.Event) -> None:
    """Restart one worker for as long as it ends by itself and nobody asked for the end."""
    loop, backoff = asyncio.get_running_loop(), Backoff(first=0.2, longest=30.0)
    while not stop.is_set():
        since = loop.time()
        crash = await _crash(worker, stop)
        if fatal := _fatal(crash):
            stop.set()
            raise fatal
        if stop.is_set() and crash is None:
            return
        if loop.time() - since > HEALTHY_AFTER:
            backoff.reset()
        pause = backoff.next()
        WORKER_RESTARTS.labels(worker=worker.name).inc()
        log.error("worker.crashed", worker=worker.name, crashes=backoff.failures, restart_in_s=round(pause, 2), exc_info=crash)
        await wait_or_stop(stop, pause)


async def _crash(worker: Worker, stop: asyncio.Event) -> BaseException | None:
    """Run a worker to its end; return what it raised. A cancellation that nobody asked for (a library's own) is a crash too."""
    try:
        await worker.run(stop)
    except asyncio.CancelledError as error:
        if (task := asyncio.current_task()) is None or task.cancelling():
            raise
        return error
    except Exception as error:  # noqa: BLE001 - whether it is more than this worker's own, the caller decides
        return error
    return None


def _fatal(error: BaseException | None) -> BaseException | None:
    """Return what forbids to go on: the error itself, or one that a task group has wrapped."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for each in error.exceptions if (found := _fatal(each))), None)
    return error if isinstance(error, FATAL) else None


async def wait_or_stop(stop: Stop, seconds: float) -> None:
    """Sleep, but not past the stop."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
