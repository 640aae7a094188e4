"""A resumed destination: what waits in rows is tried at once, in order, once, within its bounds, and at nobody's expense."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from sqlalchemy import select

from tests.workers.deliver import support
from tests.workers.deliver.support import Sink, attempts, delivering, destination, event, until
from tests.workers.deliver.test_parked import nothing_left, rows, waits, waits_beside
from workers.bus.contract import Bus
from workers.deliver import session
from workers.deliver.policy import Standard, Tries
from workers.deliver.standing import Destinations, Standing
from workers.deliver.tables import tries
from workers.runtime.database import Database, connect

HOUR = 3600.0
RARE = Standard(schedule=(0.2, HOUR, HOUR))


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PARK_AFTER", timedelta(seconds=0.3))


def answering(broken: Callable[[], int]) -> Callable[[str, int], int]:
    """Answer what is `broken` to all events of bad keys."""
    return lambda identity, _number: broken() if identity.startswith("bad") else 200


async def resume(store: Database) -> None:
    await Destinations(store, ["alerts"]).resume("alerts", datetime.now(UTC))


async def standing(store: Database) -> Standing:
    (seen,) = await Destinations(store, ["alerts"]).standing(datetime.now(UTC))
    return seen


async def kept(store: Database) -> list[tuple[float, Tries]]:
    """Return when the first of each line is due, and what it went through, as the store has it."""
    async with store.read() as connection:
        found = await connection.execute(select(tries.c.due_at, tries.c.tries))
        return [(row.due_at, msgspec.msgpack.decode(row.tries, type=Tries)) for row in found]


async def waits_for_an_hour(bus: Bus, sink: Sink, store: Database, keys: int = 1, each: int = 3) -> None:
    """Publish events of keys that fail, beside one that lives, until all of theirs wait for an attempt an hour hence."""
    for key in range(keys):
        alive = sink.seen("alive")
        await bus.publish([event("alive", device="good")])
        await until(lambda alive=alive: sink.seen("alive") > alive)  # type: ignore[misc]
        await bus.publish([event(f"bad{key}-{turn}", device=f"bad{key}") for turn in range(each)])
        await until(lambda key=key: sink.seen(f"bad{key}-0"))  # type: ignore[misc]
    await waits_beside(bus, store, keys * each)
    async with asyncio.timeout(20):
        while [told.spent for _, told in await kept(store)] != [2] * keys:  # noqa: ASYNC110 -- the store has no event to set
            await asyncio.sleep(0.02)


async def test_who_resumes_it_has_what_waits_tried_at_once_in_order_and_each_once(bus: Bus, sink: Sink, store: Database) -> None:
    status = 500
    sink.answer = answering(lambda: status)
    async with delivering(bus, destination(sink.url), policy=RARE) as worker:
        await waits_for_an_hour(bus, sink, store)
        tried, status = len(sink.ids), 200
        await resume(store)
        await waits(store, 0)
        await nothing_left(bus, worker.name)
    assert sink.ids[tried:] == ["bad0-0", "bad0-1", "bad0-2"]


async def test_the_same_on_postgresql(bus: Bus, sink: Sink, postgres_url: str) -> None:
    status = 500
    sink.answer = answering(lambda: status)
    async with connect(postgres_url) as store:
        await store.create_all()
        support.STORES.append(store)
        async with delivering(bus, destination(sink.url), policy=RARE):
            await waits_for_an_hour(bus, sink, store)
            tried, status = len(sink.ids), 200
            await resume(store)
            await waits(store, 0)
        support.STORES.remove(store)
    assert sink.ids[tried:] == ["bad0-0", "bad0-1", "bad0-2"]


@pytest.mark.parametrize("status", [500, 422])
async def test_however_often_it_is_resumed_too_early_no_attempt_is_spent_and_nothing_buried(
    bus: Bus, sink: Sink, store: Database, status: int
) -> None:
    sink.answer = answering(lambda: status)
    policy = Standard(schedule=RARE.schedule, refused_limit=3)
    async with delivering(bus, destination(sink.url), policy=policy):
        await waits_for_an_hour(bus, sink, store)
        before = await kept(store)
        for made in range(before[0][1].made + 1, before[0][1].made + 5):
            await resume(store)
            await until(lambda made=made: sink.seen("bad0-0") == made)  # type: ignore[misc]
            async with asyncio.timeout(20):
                while (await kept(store))[0][1].made < made:  # noqa: ASYNC110 -- the store has no event to set
                    await asyncio.sleep(0.02)
        ((due, told),) = await kept(store)
        assert (told.spent, told.refused, due) == (before[0][1].spent, before[0][1].refused, before[0][0])
        assert await rows(store) == 3, "none was buried"
        assert (await standing(store)).dead == 0
    told_attempts = [one for one in await attempts(bus, 6) if one["event"] == "bad0-0"]
    assert [one["number"] for one in told_attempts] == [*range(1, len(told_attempts) + 1)]


async def test_who_was_away_when_it_was_resumed_tries_what_it_finds_at_its_start_and_once(
    bus: Bus, sink: Sink, store: Database
) -> None:
    status = 500
    sink.answer = answering(lambda: status)
    async with delivering(bus, destination(sink.url), policy=RARE):
        await waits_for_an_hour(bus, sink, store)
    tried = sink.seen("bad0-0")
    await resume(store)
    async with delivering(bus, destination(sink.url), policy=RARE):
        await until(lambda: sink.seen("bad0-0") == tried + 1)
    async with delivering(bus, destination(sink.url), policy=RARE) as worker:
        await bus.publish([event("alive2", device="good")])
        await until(lambda: "alive2" in sink.ids and worker.flight and worker.flight.waiting() == 3)
        await asyncio.sleep(0.2)
        assert sink.seen("bad0-0") == tried + 1, "it was tried since"
        status = 200
        await resume(store)
        await waits(store, 0)
    assert [one for one in sink.unique if one.startswith("bad")] == ["bad0-0", "bad0-1", "bad0-2"]


async def test_one_that_was_paused_gets_what_waits_when_it_is_resumed_never_more_at_a_time_than_it_takes(
    bus: Bus, sink: Sink, store: Database
) -> None:
    status = 500

    async def answers(identity: str, _number: int) -> int:
        await asyncio.sleep(0.01)
        return status if identity.startswith("bad") else 200

    sink.answer = answers
    async with delivering(bus, destination(sink.url, concurrency=8), policy=RARE) as worker:
        await waits_for_an_hour(bus, sink, store, keys=30, each=2)
        await bus.publish([event("lives", device="good")])
        await until(lambda: "lives" in sink.ids)  # so that what fails again says nothing of the destination
        await Destinations(store, ["alerts"]).pause("alerts", "ada", datetime.now(UTC))
        await until(lambda: worker.flight and worker.flight.closed and not worker.flight.health.flying)
        sink.most, tried = 0, [sink.seen(f"bad{key}-0") for key in range(30)]
        await resume(store)
        await until(lambda: [sink.seen(f"bad{key}-0") - 1 for key in range(30)] == tried)
        assert sink.most <= 8 // 4, "what failed before keeps to its share"
        status = 200
        await resume(store)
        await waits(store, 0)
    assert sink.most <= 8
    assert all(sink.ids.index(f"bad{key}-0") < sink.ids.index(f"bad{key}-1") for key in range(30))
    assert all(sink.seen(f"bad{key}-1") == 1 for key in range(30))


async def test_its_standing_says_when_the_next_of_those_that_wait_is_tried(bus: Bus, sink: Sink, store: Database) -> None:
    sink.answer = answering(lambda: 500)
    async with delivering(bus, destination(sink.url), policy=RARE) as worker:
        assert (await standing(store)).next_at is None
        await waits_for_an_hour(bus, sink, store)
        async with asyncio.timeout(20):
            while not (seen := await standing(store)).next_at:  # noqa: ASYNC110 -- the store has no event to set
                await asyncio.sleep(0.1)
        ((due, _),) = await kept(store)
        assert (seen.waiting, seen.next_at and round(seen.next_at)) == (3, round(due))
        assert worker.flight
        assert worker.flight.next_at() == seen.next_at
