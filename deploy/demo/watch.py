"""What is watched while the demo runs: that ringhook lives, and what reaches the partner's services."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

import aiohttp

from deploy.demo.partner import Service
from deploy.demo.walk import DemoFailed
from deploy.local.process import Process
from workers.bus.contract import Stop

T = TypeVar("T")
LOOK_S: Final = 0.1
FAILURES: Final = (DemoFailed, aiohttp.ClientError, TimeoutError, OSError)


async def alive(process: Process, work: Coroutine[Any, Any, T], stop: Stop) -> T | None:
    """Return what the work returns, None where `stop` came first; DemoFailed where it fails or the process ends before."""
    working = asyncio.create_task(work, name="demo")
    others = [asyncio.create_task(stop.wait(), name="stop"), asyncio.create_task(_ended(process), name="watch ringhook")]
    try:
        await asyncio.wait((working, *others), return_when=asyncio.FIRST_COMPLETED)
        if others[0].done():
            return None
        return await _outcome(working, process)
    finally:
        for task in (working, *others):
            task.cancel()
        await asyncio.gather(working, *others, return_exceptions=True)


async def _outcome(working: asyncio.Task[T], process: Process) -> T:
    """Return what the work returned; whatever it failed by, the end of the process is the better reason."""
    try:
        if working.done():
            return working.result()
    except FAILURES as error:
        await asyncio.sleep(2 * LOOK_S)  # a connection breaks a moment before the process is seen to be gone
        if process.pid is not None:
            raise DemoFailed(str(error) or type(error).__name__) from error
    raise DemoFailed(f"`ringhook {process.name}` {_how(process.code)}")


async def _ended(process: Process) -> None:
    while process.pid is not None:  # noqa: ASYNC110 - a process tells nobody when it ends
        await asyncio.sleep(LOOK_S)


def _how(code: int | None) -> str:
    return f"was ended by signal {-code}" if code is not None and code < 0 else f"ended by itself with exit code {code}"


async def arrivals(services: dict[str, Service], say: Callable[[str], None]) -> None:
    """Tell each event that a service gets from now on, until cancelled."""
    told = {name: len(service.events) for name, service in services.items()}
    while True:
        for name, service in services.items():
            for event in service.events[told[name] :]:
                told[name] += 1
                user = event.get("partneruserid", "nobody yet")
                say(f"the partner's {name} service got {event['type']} of {user}, {event['id']}")
        await asyncio.sleep(LOOK_S)
