"""Those who ask at one time are answered together; what is wrong with one of them is told to that one alone."""

import asyncio
from collections.abc import Sequence

import pytest

from schemas.errors import Rejected, Unavailable
from workers.runtime.group import LARGEST, Group
from workers.runtime.storefault import OutcomeUnknown


class Writes:
    """Doubles numbers as slowly as it is let; negative ones are refused by themselves, and 13 breaks whatever it is in."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.turns = asyncio.Semaphore(0)
        self.away = False

    def let(self, *, all_of: int = 1) -> None:
        """Let so many writes go on."""
        for _ in range(all_of + 1):
            self.turns.release()

    async def __call__(self, group: Sequence[int]) -> Sequence[int | BaseException]:
        self.groups.append([*group])
        await self.turns.acquire()
        if self.away:
            raise Unavailable("away")
        if 13 in group:
            raise ValueError("13")
        return [one * 2 if one >= 0 else Rejected() for one in group]


async def asked(writes: Writes, *numbers: int) -> list[int | BaseException]:
    """Ask for all at once, the first alone in its group, and let them be written."""
    group = Group[int, int](writes)
    tasks = [asyncio.create_task(group(number)) for number in numbers]
    await asyncio.sleep(0)
    writes.let(all_of=len(numbers))
    return await asyncio.gather(*tasks, return_exceptions=True)


async def test_all_who_wait_write_together_and_each_has_its_own_answer() -> None:
    writes = Writes()
    assert await asked(writes, 1, 2, 3, 4) == [2, 4, 6, 8]
    assert writes.groups == [[1], [2, 3, 4]]


async def test_all_have_their_answer_at_once_and_the_next_are_asked_for_at_once() -> None:
    writes = Writes()
    group = Group[int, int](writes)
    tasks = [asyncio.create_task(group(number)) for number in range(14, 74)]
    await asyncio.sleep(0)
    writes.turns.release()
    await asyncio.sleep(0)
    late = asyncio.create_task(group(99))
    await settled()
    assert [len(each) for each in writes.groups] == [1, 59]
    writes.turns.release()
    await settled()
    assert all(task.done() for task in tasks)
    assert writes.groups[2:] == [[99]]
    writes.turns.release()
    assert await late == 198


async def settled() -> None:
    """Let the event loop turn a few times, however many wait."""
    for _ in range(4):
        await asyncio.sleep(0)


async def test_who_is_ended_just_when_it_is_called_to_lead_lets_the_next_one_lead() -> None:
    groups, waiting = list[list[int]](), list[asyncio.Task[int]]()

    async def write(group: Sequence[int]) -> Sequence[int]:
        groups.append([*group])
        await asyncio.sleep(0)
        if group == [1]:
            asyncio.get_running_loop().call_soon(waiting[0].cancel)  # comes after the call, and before it is heard
        return group

    group = Group[int, int](write)
    first = asyncio.create_task(group(1))
    waiting += [asyncio.create_task(group(number)) for number in (2, 3)]
    async with asyncio.timeout(5):
        assert (await first, await waiting[1]) == (1, 3)
    assert waiting[0].cancelled()
    assert groups == [[1], [3]]


async def test_a_group_is_bounded() -> None:
    writes, numbers = Writes(), range(14, 14 + 3 * LARGEST)
    assert await asked(writes, *numbers) == [one * 2 for one in numbers]
    assert max(len(group) for group in writes.groups) == LARGEST


async def test_what_is_refused_to_one_is_refused_to_no_other() -> None:
    found = await asked(Writes(), 1, -2, 3)
    assert (found[0], type(found[1]), found[2]) == (2, Rejected, 6)


async def test_what_nobody_knows_the_fault_of_is_written_one_by_one() -> None:
    found = await asked(Writes(), 1, 2, 13, 4)
    assert (found[0], found[1], type(found[2]), found[3]) == (2, 4, ValueError, 8)


async def test_a_store_that_is_away_is_away_for_all() -> None:
    writes = Writes()
    writes.away = True
    assert [type(one) for one in await asked(writes, 1, 2, 3)] == [Unavailable] * 3
    assert sum(map(len, writes.groups)) == 3, "nobody hurries a store that is away"


async def test_who_was_ended_before_the_turn_came_writes_nothing() -> None:
    writes = Writes()
    group = Group[int, int](writes)
    leads, ended, waits = (asyncio.create_task(group(number)) for number in (1, 2, 3))
    await asyncio.sleep(0)
    ended.cancel()
    await asyncio.sleep(0)
    writes.let()
    assert (await leads, await waits) == (2, 6)
    assert writes.groups == [[1], [3]]


async def test_those_whose_leader_dies_in_the_write_do_not_know_what_stands() -> None:
    writes = Writes()
    group = Group[int, int](writes)
    first, leads, follows = (asyncio.create_task(group(number)) for number in (1, 2, 3))
    await asyncio.sleep(0)
    writes.turns.release()
    await first
    while len(writes.groups) < 2:  # noqa: ASYNC110 - until it leads
        await asyncio.sleep(0)
    leads.cancel()
    with pytest.raises(OutcomeUnknown):
        await follows
    assert writes.groups == [[1], [2, 3]]
