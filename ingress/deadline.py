"""A deadline for every request at a tenth of the price of a timer for each: equal deadlines end in the order they began."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

R = TypeVar("R")
A = TypeVar("A")
TICK_S: Final = 0.05  # how late a deadline may be noticed
MOST: Final = 50  # requests that end in one turn of the loop: thousands that came together would keep all others waiting


class _Entry:
    """One request under way; `task` is None once it has ended."""

    __slots__ = ("at", "expired", "task")

    def __init__(self, at: float, task: "asyncio.Task[object] | None") -> None:
        self.at = at
        self.task = task
        self.expired = False


class Deadline:
    """Calls handlers that must end within `seconds`; one timer runs while any is under way."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._entries: deque[_Entry] = deque()
        self._timer: asyncio.Handle | None = None

    async def call(self, handler: Callable[[A], Awaitable[R]], argument: A) -> R:
        """Return what the handler returns, or cancel it and raise TimeoutError."""
        loop = asyncio.get_running_loop()
        entry = _Entry(loop.time() + self._seconds, asyncio.current_task())
        self._entries.append(entry)
        if self._timer is None:
            self._timer = loop.call_later(TICK_S, self._tick, loop)
        try:
            return await handler(argument)
        except asyncio.CancelledError:
            if entry.expired and entry.task is not None and entry.task.uncancel() == 0:
                raise TimeoutError from None
            raise
        finally:
            entry.task = None

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel what is due and forget what has ended; both stand at the front. What is left for the next turn comes then."""
        entries, now, left = self._entries, loop.time(), MOST
        while left and entries and (entries[0].task is None or entries[0].at <= now):
            entry = entries.popleft()
            if entry.task is not None:
                entry.expired = True
                entry.task.cancel()
                left -= 1
        if not entries:
            self._timer = None
        else:
            self._timer = loop.call_later(TICK_S, self._tick, loop) if left else loop.call_soon(self._tick, loop)
