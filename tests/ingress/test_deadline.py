import asyncio

import pytest

from ingress.deadline import MOST, TICK_S, Deadline


async def forever(_: object) -> None:
    await asyncio.Event().wait()


async def test_a_call_that_takes_too_long_is_a_timeout_and_one_that_does_not_returns() -> None:
    deadline = Deadline(0.05)

    async def quick(value: int) -> int:
        await asyncio.sleep(0)
        return value

    assert await deadline.call(quick, 7) == 7
    with pytest.raises(TimeoutError):
        await deadline.call(forever, None)
    assert await deadline.call(quick, 8) == 8


async def test_thousands_that_end_at_once_leave_turns_to_the_others() -> None:
    deadline, ended = Deadline(TICK_S), 0

    async def one() -> None:
        nonlocal ended
        with pytest.raises(TimeoutError):
            await deadline.call(forever, None)
        ended += 1

    calls = [asyncio.create_task(one()) for _ in range(40 * MOST)]
    seen, most = 0, 0
    async with asyncio.timeout(20):
        while ended < len(calls):
            await asyncio.sleep(0)
            most, seen = max(most, ended - seen), ended
    assert most == MOST


async def test_who_cancels_a_call_is_obeyed() -> None:
    call = asyncio.create_task(Deadline(10).call(forever, None))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
