"""How many requests a second a destination gets: the bucket by itself, and what a service sees of it."""

import asyncio
import time
from collections import defaultdict
from datetime import timedelta
from itertools import pairwise
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.deliver.support import Sink, delivering, destination, event, until
from workers.bus.contract import Bus
from workers.deliver import session
from workers.deliver.pace import Pace
from workers.deliver.policy import Standard

RATES = st.sampled_from([0.3, 1.0, 2.5, 7.0, 50.0]) | st.floats(0.01, 200.0)


def taken(pace: Pace, wishes: list[float]) -> list[float]:
    """Return when each wish was granted: as it came, or as soon as there was a token."""
    at, granted = 0.0, list[float]()
    for pause in wishes:
        at += pause
        while wait := pace.due(at):
            at += wait
        pace.take(at)
        granted.append(at)
    return granted


@given(RATES, st.lists(st.floats(0, 3), max_size=120))
def test_no_second_has_more_than_the_rate_and_the_rate_is_reached(rate: float, wishes: list[float]) -> None:
    granted, size = taken(Pace(rate), wishes), ceil(rate)
    for first, beyond in zip(granted, granted[size:], strict=False):
        assert beyond - first >= size / rate - 1e-6
    greedy = taken(Pace(rate), [0.0] * (3 * size))
    assert greedy[-1] <= 3 * size / rate
    assert greedy[size - 1] == 0  # a second's worth at once


def test_what_follows_a_burst_is_even_and_a_rest_allows_another() -> None:
    pace = Pace(10)
    granted = taken(pace, [0.0] * 30)
    gaps = [later - sooner for sooner, later in pairwise(granted[10:])]
    assert gaps == [pytest.approx(0.1)] * 19
    assert taken(pace, [granted[-1] + 3, *[0.0] * 9])[-1] == granted[-1] + 3


def test_without_a_rate_nothing_waits() -> None:
    assert taken(Pace(None), [0.0] * 100_000)[-1] == 0


class Clock:
    """A sink's answers, and when each was asked for."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.at: list[float] = []

    def answer(self, _id: str, _number: int) -> int:
        self.at.append(time.monotonic())
        return self.status


async def test_a_service_never_gets_more_than_its_rate_in_a_second_and_each_device_in_order(bus: Bus, sink: Sink) -> None:
    clock = Clock()
    sink.answer = clock.answer
    await bus.publish([event(f"{device}-{turn:02}", device=device) for turn in range(20) for device in ("a", "b")])
    async with delivering(bus, destination(sink.url, rate=20)):
        await until(lambda: len(sink.ids) == 40)
    assert all(later - sooner > 0.9 for sooner, later in zip(clock.at, clock.at[20:], strict=False))  # the way there shakes them
    assert 1.8 < clock.at[-1] - clock.at[0] < 4  # of what lasts two seconds a second's worth went at once
    order = defaultdict(list)
    for identity in sink.ids:
        order[identity[0]].append(identity)
    assert all(ids == sorted(ids) for ids in order.values())


async def test_requests_are_as_even_as_the_rate_though_lanes_look_only_ten_times_a_second(bus: Bus, sink: Sink) -> None:
    clock = Clock()
    sink.answer = clock.answer
    await bus.publish([event(f"e{number}", device=f"d{number}") for number in range(90)])
    async with delivering(bus, destination(sink.url, rate=50)):
        await until(lambda: len(sink.ids) == 90)
    gaps = sorted(later - sooner for sooner, later in pairwise(clock.at[50:]))
    assert 0.01 < gaps[len(gaps) // 2] < 0.04


async def test_retries_and_probes_count_too(bus: Bus, sink: Sink) -> None:
    clock = Clock(500)
    sink.answer = clock.answer
    await bus.publish([event(f"e{number}", device=f"d{number}") for number in range(8)])
    async with delivering(bus, destination(sink.url, rate=2), policy=Standard(schedule=(0.01,) * 100)) as worker:
        await until(lambda: worker.flight and worker.flight.health.failing)
        await asyncio.sleep(1.5)
    assert len(clock.at) >= 6  # five that failed, and a probe
    assert all(later - sooner > 0.9 for sooner, later in zip(clock.at, clock.at[2:], strict=False))


async def test_while_live_events_wait_keys_in_rows_get_no_more_than_a_part_of_the_rate(
    bus: Bus, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "PARK_AFTER", timedelta(seconds=0.1))
    bad, seen = True, 0
    sink.answer = lambda name, _number: 500 if name.startswith("bad") and bad else 200
    await bus.publish([event(f"bad{number:03}", device=f"bad{number % 4}", account=f"b{number % 4}") for number in range(160)])
    async with delivering(bus, destination(sink.url, rate=40), policy=Standard(schedule=(0.2,) * 400)) as worker:
        await until(lambda: worker.flight and worker.flight.waiting() == 160)
        await bus.publish([event(f"live{number}", device=f"d{number}") for number in range(60)])
        await until(lambda: "live0" in sink.ids)
        bad, seen, began = False, len(sink.ids), time.monotonic()
        await until(lambda: sum(name.startswith("live") for name in sink.ids) == 60)
        beside, took = [name for name in sink.ids[seen:] if name.startswith("bad")], time.monotonic() - began
    assert len(beside) <= 10 * (1 + took) + 1, "a quarter of the rate, and a second's worth at once"


async def test_keys_that_wait_in_rows_get_all_of_the_rate_that_nothing_live_wants(
    bus: Bus, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "PARK_AFTER", timedelta(seconds=0.1))
    bad = True
    sink.answer = lambda name, _number: 500 if name.startswith("bad") and bad else 200
    await bus.publish([event(f"bad{number:03}", device=f"bad{number % 4}", account=f"b{number % 4}") for number in range(120)])
    async with delivering(bus, destination(sink.url, rate=40), policy=Standard(schedule=(0.2,) * 400)) as worker:
        await bus.publish([event("live")])
        await until(lambda: worker.flight and worker.flight.waiting() == 120)
        bad, began = False, time.monotonic()
        await until(lambda: worker.flight and worker.flight.waiting() == 0)
    assert time.monotonic() - began < 8, "three seconds, and eleven by a quarter"
