"""The budget: never more than the rate, the urgent first, strangers last."""

import asyncio

from linker.budget import Bucket, Budget


def test_a_bucket_gives_its_rate_and_forgets_what_was_not_used() -> None:
    bucket = Bucket(rate=100, most=20, at=0.0)
    bucket.level(10.0)
    assert sum(bucket.take(10.0) for _ in range(1000)) == 20
    taken = sum(bucket.take(10.0 + tick / 1000) for tick in range(1000) for _ in range(3))
    assert 95 <= taken <= 101


def test_a_clock_that_steps_back_refills_nothing() -> None:
    bucket = Bucket(rate=100, most=20, at=0.0)
    while bucket.take(10.0):
        pass
    assert not bucket.take(3.0)
    assert not bucket.take(10.0)


def test_nothing_is_given_while_ring_rests() -> None:
    bucket = Bucket(rate=100, most=20, at=0.0)
    bucket.rest(7.0)
    assert not bucket.take(6.9)
    assert bucket.take(7.1)


async def test_the_urgent_go_first() -> None:
    budget, order = Budget(50), list[str]()
    while await budget.spend("link", 0.001):
        pass

    async def spend(kind: str) -> None:
        assert await budget.spend(kind, 5.0)  # type: ignore[arg-type] # from the list below
        order.append(kind)

    async with asyncio.TaskGroup() as group:
        for kind in ("reconcile", "stranger", "refresh", "broker", "link"):
            group.create_task(spend(kind))
    assert order == ["link", "broker", "refresh", "stranger", "reconcile"]


async def test_whoever_waits_too_long_is_told_so_and_takes_nothing() -> None:
    budget = Budget(5)
    assert await budget.spend("link", 0.0)
    async with asyncio.timeout(10):
        assert not await budget.spend("link", 0.05)
    assert await budget.spend("link", 10.0)


def test_strangers_get_ten_a_second_and_never_over_a_fifth() -> None:
    now = [0.0]
    for rate, most in ((100, 10), (20, 4)):
        now[0] = 0.0
        budget = Budget(rate, clock=lambda: now[0])
        given = 0
        for tick in range(10_000):
            now[0] = tick / 1000
            given += budget.strangers(5)
        assert most * 10 - 5 <= given <= most * 10 + 5
