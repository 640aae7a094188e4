import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from schemas.errors import Unavailable
from workers.runtime import sweep


class Due:
    name = "due"

    def __init__(self, *answers: timedelta | Exception) -> None:
        self.answers, self.calls = list(answers), 0
        self.called = asyncio.Event()

    async def __call__(self, now: datetime) -> timedelta:
        assert now.tzinfo is UTC
        self.calls += 1
        self.called.set()
        answer = self.answers.pop(0) if self.answers else timedelta(hours=1)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def seen(due: Due, calls: int) -> None:
    async with asyncio.timeout(30):
        while due.calls < calls:
            due.called.clear()
            await due.called.wait()


async def test_a_sweep_is_called_again_after_the_pause_it_asked_for_and_earlier_when_woken() -> None:
    stop, wake, due = asyncio.Event(), asyncio.Event(), Due(timedelta(milliseconds=1))
    running = asyncio.create_task(sweep.run(due, stop, wake=wake))
    await seen(due, 2)
    wake.set()
    await seen(due, 3)
    stop.set()
    await asyncio.wait_for(running, 30)


async def test_what_is_away_is_asked_again() -> None:
    stop, due = asyncio.Event(), Due(Unavailable("store"), Unavailable("store"))
    running = asyncio.create_task(sweep.run(due, stop))
    await seen(due, 3)
    stop.set()
    await asyncio.wait_for(running, 30)


async def test_a_bug_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        await sweep.run(Due(ZeroDivisionError()), asyncio.Event())
