"""Reading topics backwards: the newest first, bounded, whatever lies where."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingress.admin import backward
from ingress.admin.backward import Allowance, Tail, newest, tails
from schemas.topics import DAY, Topic
from workers.bus import memory
from workers.bus.contract import Browser, Held, Record
from workers.bus.partition import partition

NOW = datetime(2026, 2, 13, tzinfo=UTC)
COUNT = 3
TOPIC = Topic(name="alpha", key="test", retention=DAY, writers=("deliver",), readers=("admin",), partitions=COUNT)
KEYS = [next(key for n in range(1_000) if partition(key := b"%d" % n, COUNT) == index) for index in range(COUNT)]


def value(held: Held) -> int | None:
    return int(held.value)


async def found(
    browser: Browser,
    keep: backward.Keep[int] = value,
    allowance: Allowance | None = None,
    *,
    together: bool = False,
    first: int = 0,
) -> list[int]:
    indexes: list[Tail[int]] = await tails(browser, "alpha")
    for tail in indexes if first else ():
        tail.length = first
    return [one async for one in newest(browser, indexes, keep, allowance or Allowance(), together=together)]


@settings(deadline=None)  # a loaded machine takes its time
@given(st.lists(st.tuples(st.integers(0, COUNT - 1), st.integers(0, 2)), max_size=60), st.integers(1, 8), st.integers(2, 5))
async def test_everything_comes_once_and_the_newest_first(moves: list[tuple[int, int]], first: int, every: int) -> None:
    clock = [NOW]
    topics, time = [TOPIC], lambda: clock[0]
    async with memory.connect("memory:", namespace="t", topics=topics, clock=time) as bus, bus.browse() as browser:
        for number, (index, step) in enumerate(moves):
            clock[0] += timedelta(seconds=step)
            await bus.publish([Record(topic="alpha", key=KEYS[index], value=b"%d" % number)])
        seen = await found(browser, first=first)
        some = await found(browser, lambda held: value(held) if int(held.value) % every == 0 else None, first=first)
    times = [sum(step for _, step in moves[: number + 1]) for number in range(len(moves))]
    assert sorted(seen) == [*range(len(moves))]
    assert [times[number] for number in seen] == sorted(times, reverse=True)
    assert sorted(some) == [*range(0, len(moves), every)]


@pytest.fixture
async def browser():  # noqa: ANN201
    clock = [NOW]
    async with memory.connect("memory:", namespace="t", topics=[TOPIC], clock=lambda: clock[0]) as bus, bus.browse() as made:
        for number in range(900):
            clock[0] += timedelta(seconds=1)
            await bus.publish([Record(topic="alpha", key=KEYS[number % COUNT], value=b"%d" % number)])
        yield made


async def test_it_ends_where_its_allowance_does_and_says_so(browser: Browser) -> None:
    allowance = Allowance(records=200)
    seen = await found(browser, lambda _: None, allowance)
    assert (seen, allowance.ended) == ([], True)
    assert 200 <= allowance.used < 200 + backward.LONGEST
    late = Allowance(until=0.0)
    assert (await found(browser, value, late), late.ended, late.used) == ([], True, 0)
    whole = Allowance()
    assert (len(await found(browser, value, whole)), whole.ended, whole.used) == (900, False, 900)


async def test_few_are_found_without_reading_much(browser: Browser) -> None:
    allowance = Allowance()
    indexes: list[Tail[int]] = await tails(browser, "alpha")
    some = newest(browser, indexes, value, allowance)
    assert [await anext(some) for _ in range(5)] == [899, 898, 897, 896, 895]
    await some.aclose()
    assert allowance.used == COUNT * backward.FIRST


async def test_what_lies_together_is_sought_in_its_index_alone_once_that_is_known(browser: Browser) -> None:
    allowance = Allowance()
    assert await found(browser, lambda held: 7 if int(held.value) in {897, 3} else None, allowance, together=True) == [7, 7]
    assert allowance.used < 300 + COUNT * backward.FIRST


async def test_it_goes_no_further_back_than_a_time(browser: Browser) -> None:
    allowance = Allowance()
    indexes: list[Tail[int]] = await tails(browser, "alpha", NOW + timedelta(seconds=891))
    assert [one async for one in newest(browser, indexes, value, allowance)] == [*range(899, 889, -1)]
    assert allowance.used == 10
