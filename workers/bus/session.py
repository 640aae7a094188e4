"""Sessions of the buses that live inside this process (memory, SQLite): the works of all lanes, their stop and their end."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from workers.bus.contract import BusBroken, BusUnavailable, Lane, Revoked, Stop, Work
from workers.bus.metrics import SESSIONS_ENDED

CUT: Final = 5.0  # seconds in which what was cancelled ends
SETTLED: Final = 10.0  # seconds after which a session counts as one that worked
PAUSE: Final = 0.02, 5.0  # seconds before the next session: at first, at most


class Session:
    """One life of all lanes of a member, and the Stop that each of their works is given."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._ended = asyncio.Event()
        self._sleepers: list[asyncio.Event] = []
        self.reason = ""
        self.failure: Exception | None = None

    def is_set(self) -> bool:
        """Say whether the works shall end."""
        return self._stop.is_set()

    async def wait(self) -> object:
        """Return once the works shall end."""
        return await self._stop.wait()

    def ask(self) -> None:
        """Ask the works to end; their calls still hold, and nobody waits for news any longer."""
        self._stop.set()
        self._wake()

    def end(self, reason: str, failure: Exception | None = None) -> None:
        """End the session: from now on every call of its lanes raises Revoked, sleeping ones too; the first reason stands."""
        self.reason = self.reason or reason
        self.failure = self.failure or failure
        self._stop.set()
        self._ended.set()
        self._wake()

    def check(self) -> None:
        """Raise Revoked once the session has ended."""
        if self._ended.is_set():
            raise Revoked

    def wakes(self, sleeper: asyncio.Event) -> None:
        """Have `sleeper` set when the works shall end, and when the session does."""
        self._sleepers.append(sleeper)

    def _wake(self) -> None:
        for sleeper in self._sleepers:
            sleeper.set()

    async def ended(self) -> None:
        """Return once the session has ended."""
        await self._ended.wait()


Begin = Callable[[], Awaitable[tuple[Session, Sequence[Lane]]]]


async def serve(begin: Begin, work: Work, stop: Stop, grace: float) -> None:
    """Run session after session until `stop` is set; raise what a work raised, unless it was Revoked."""
    clock = asyncio.get_running_loop().time
    failed = 0
    while not stop.is_set():
        began = clock()
        try:
            session, lanes = await begin()
        except BusBroken:
            raise
        except BusUnavailable:
            pass  # the same as a session that ended at once
        else:
            await run(session, lanes, work, stop, grace)
        failed = 0 if clock() - began > SETTLED else failed + 1
        await rest(stop, pause(failed, random.random()))  # noqa: S311  (spreads load, hides nothing)


def pause(failed: int, dice: float) -> float:
    """Return the seconds to wait after so many short sessions in a row; `dice` in [0, 1)."""
    first, most = PAUSE
    return min(most, first * 2.0 ** min(failed, 16)) * (0.5 + dice / 2)


async def rest(stop: Stop, seconds: float) -> None:
    """Sleep, but not longer than until `stop`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stop.wait()


async def run(session: Session, lanes: Sequence[Lane], work: Work, stop: Stop, grace: float) -> None:
    """Run one work per lane until the session ends or `stop` is set; then wait `grace` seconds, cut, and raise the failure."""
    # No TaskGroup here: its first failure cancels the others at once, and a work must be allowed to end what it has begun.
    works = [asyncio.create_task(_guarded(work, lane, session), name=f"lane {lane.index}") for lane in lanes]
    asked = asyncio.create_task(stop.wait(), name="lanes' stop")
    ended = asyncio.create_task(session.ended(), name="session's end")
    try:
        await asyncio.wait((asked, ended), return_when=asyncio.FIRST_COMPLETED)
        session.ask()
        await asyncio.wait(works, timeout=grace)
    finally:
        session.end("stop")
        SESSIONS_ENDED.labels(session.reason).inc(len(lanes))
        await _cut([asked, ended, *works])
    if session.failure is not None:
        raise session.failure


async def _guarded(work: Work, lane: Lane, session: Session) -> None:
    try:
        await work(lane, session)
    except Revoked:
        session.end("revoked")
    except Exception as failure:  # noqa: BLE001  (whatever it is leaves `consume`)
        session.end("failed", failure)
    except asyncio.CancelledError:
        if stray():
            session.end("broken")
        raise


def stray() -> bool:
    """Say whether a CancelledError in this task is one that nobody asked for: libraries let theirs escape now and then."""
    task = asyncio.current_task()
    return task is not None and not task.cancelling()


async def _cut(tasks: Sequence["asyncio.Task[object]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=CUT)
