"""What is kept of an issuer's documents when our clock is set back: a moment that is still to come hides nothing newer."""

from datetime import UTC, datetime, timedelta

import pytest

from ingress.link.signin.kept import Kept
from schemas.errors import Unavailable

HOUR = timedelta(hours=1)


class World:
    """An issuer that is there or away, and a clock."""

    def __init__(self) -> None:
        self.now, self.away, self.loads = datetime(2026, 1, 1, 13, tzinfo=UTC), False, 0

    async def load(self) -> int:
        self.loads += 1
        if self.away:
            raise Unavailable
        return self.loads

    def kept(self) -> Kept[int]:
        return Kept(self.load, lambda: self.now)


async def test_a_failure_noted_by_a_clock_that_was_ahead_keeps_nobody_away() -> None:
    world = World()
    kept, world.away = world.kept(), True
    with pytest.raises(Unavailable):
        await kept.get()
    world.now, world.away = world.now - HOUR, False
    assert await kept.get() == 2


async def test_what_was_fetched_by_a_clock_that_was_ahead_is_fetched_anew_where_somebody_needs_it() -> None:
    world = World()
    kept = world.kept()
    assert await kept.get() == 1
    world.now -= HOUR
    assert await kept.renewed() == 2
    assert await kept.get() == 2


async def test_where_no_newer_can_be_had_it_serves_though_the_clock_was_set_back() -> None:
    world = World()
    kept = world.kept()
    assert await kept.get() == 1
    world.now, world.away = world.now - HOUR, True
    assert await kept.get() == 1
