"""A destination that is closed, by an operator or by its own 410: nothing is sent, nothing lost, and whoever asks sees it."""

import asyncio
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from tests.workers.deliver.support import STORES, Sink, delivering, destination, event, until
from workers.bus.contract import Bus, Lag
from workers.deliver import closed, copies
from workers.deliver.closed import Closed
from workers.deliver.copies import Copy
from workers.deliver.standing import Destinations, Standing


async def close(why: closed.Why = "paused", name: str = "alerts") -> bool:
    async with STORES[-1].begin() as connection:
        return await closed.close(connection, name, why, "ada", datetime.now(UTC))


async def reopen(name: str = "alerts") -> bool:
    async with STORES[-1].begin() as connection:
        return await closed.reopen(connection, name)


async def read() -> dict[str, Closed]:
    async with STORES[-1].read() as connection:
        return dict(await closed.read(connection))


async def live() -> list[Copy]:
    async with STORES[-1].read() as connection:
        return await copies.live(connection, datetime.now(UTC))


async def test_nothing_is_sent_to_one_that_was_paused_before_it_ran_and_all_once_it_is_resumed(bus: Bus, sink: Sink) -> None:
    assert await close()
    assert not await close("gone"), "who closed it first stays"
    assert (await read())["alerts"].by == "ada"
    await bus.publish([event(f"e{number}") for number in range(5)])
    async with delivering(bus, destination(sink.url)) as worker:
        await until(lambda: worker.flight and worker.flight.lanes)
        await asyncio.sleep(0.3)
        assert (sink.ids, worker.flight and worker.flight.state(worker.flight.now())) == ([], "paused")
        assert await reopen()
        await until(lambda: len(sink.ids) == 5)
    assert sink.ids == [f"e{number}" for number in range(5)]
    assert not await reopen()


async def test_a_pause_in_full_flight_takes_hold_and_what_is_under_way_ends_well(bus: Bus, sink: Sink) -> None:
    async def slowly(_id: str, _number: int) -> int:
        await asyncio.sleep(0.02)
        return 200

    sink.answer = slowly
    await bus.publish([event(f"e{number:03}", device=f"d{number % 7}") for number in range(400)])
    async with delivering(bus, destination(sink.url, concurrency=4)) as worker:
        await until(lambda: len(sink.ids) > 20)
        await close()
        await until(lambda: worker.flight and worker.flight.closed)
        seen = len(sink.ids)
        await until(lambda: worker.flight and not worker.flight.health.flying)
        assert len(sink.ids) <= seen + 4, "what was under way, and no more"
        seen = len(sink.ids)
        await asyncio.sleep(0.3)
        assert seen == len(sink.ids) < 400
        await reopen()
        await until(lambda: len(sink.unique) == 400)
    assert len(sink.ids) == 400


async def test_who_answered_410_stays_closed_over_restarts_until_it_is_resumed(bus: Bus, sink: Sink) -> None:
    sink.answer = lambda _id, _number: 410
    await bus.publish([event("e1")])
    async with delivering(bus, destination(sink.url)) as worker:
        await until(lambda: worker.flight and worker.flight.closed)
        assert worker.flight
        assert worker.flight.state(worker.flight.now()) == "gone"
    tried = len(sink.ids)
    sink.answer = lambda _id, _number: 200
    async with delivering(bus, destination(sink.url)) as worker:
        await until(lambda: worker.flight and worker.flight.lanes)
        await asyncio.sleep(0.3)
        assert len(sink.ids) == tried
        assert (await read())["alerts"].why == "gone"
        await reopen()
        await until(lambda: len(sink.ids) == tried + 1)


async def test_each_copy_tells_how_the_destination_fares_and_leaves_nothing_behind(bus: Bus, sink: Sink) -> None:
    sink.answer = lambda identity, number: 503 if identity == "e0" and number < 3 else 200
    await bus.publish([event("e0")])
    async with delivering(bus, destination(sink.url)) as worker:
        worker.behind(Lag(records=3, oldest=datetime(2026, 2, 13, tzinfo=UTC)))
        await until(lambda: sink.seen("e0") == 3)
        async with asyncio.timeout(20):
            while not (seen := await live()) or not seen[0].lived_at:  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0.1)
    (copy,) = seen
    assert (copy.destination, copy.state, copy.flying, copy.waiting, copy.behind) == ("alerts", "well", 0, 0, 3)
    assert copy.failure == "503"
    assert copy.behind_since == datetime(2026, 2, 13, tzinfo=UTC).timestamp()
    assert await live() == []


async def test_one_that_refuses_everything_has_accepted_nothing_and_its_dead_letters_are_counted(bus: Bus, sink: Sink) -> None:
    sink.answer = lambda identity, _number: 200 if identity == "good" else 422
    await bus.publish([event("e0"), event("e1", device="d2")])
    async with delivering(bus, destination(sink.url)):
        async with asyncio.timeout(20):
            while (seen := await standing()).dead < 2:  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0.1)
        assert (seen.state, seen.dead, seen.accepted_at, seen.failure) == ("well", 2, None, "422")
        assert seen.dead_at
        assert seen.failed_at
        assert seen.dead_at >= seen.failed_at
        await bus.publish([event("good", device="d3")])
        async with asyncio.timeout(20):
            while not (seen := await standing()).accepted_at:  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0.1)
        assert seen.dead == 2


async def standing() -> Standing:
    (seen,) = await Destinations(STORES[-1], ["alerts"]).standing(datetime.now(UTC))
    return seen


async def stands(state: str) -> Standing:
    async with asyncio.timeout(20):
        while (seen := await standing()).state != state or seen.obey < seen.copies:  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.1)
    return seen


async def test_one_that_asked_for_rest_says_until_when_and_is_sent_to_at_once_when_it_is_resumed(bus: Bus, sink: Sink) -> None:
    sink.answer = lambda _id, number: 503 if number == 1 else 200
    sink.asks["e0"] = "600"
    await bus.publish([event("e0")])
    async with delivering(bus, destination(sink.url)):
        seen = await stands("throttled")
        await bus.publish([event("e1", device="other")])
        assert seen.quiet_until_at
        assert 500 < seen.quiet_until_at - datetime.now(UTC).timestamp() <= 600
        for _ in range(2):
            await Destinations(STORES[-1], ["alerts"]).resume("alerts", datetime.now(UTC))
            seen = await stands("well")
        assert seen.quiet_until_at is None
        await until(lambda: {"e0", "e1"} <= {*sink.ids} and sink.seen("e0") == 2, 10)


async def test_one_that_is_probed_later_is_probed_at_once_when_it_is_resumed(bus: Bus, sink: Sink) -> None:
    sink.answer = lambda _id, _number: 500
    await bus.publish([event(f"e{number}", device=f"d{number}") for number in range(6)])
    async with delivering(bus, destination(sink.url)) as worker:
        await until(lambda: worker.flight and worker.flight.health.failing and not worker.flight.health.flying)
        assert worker.flight
        worker.flight.health = replace(worker.flight.health, probe_at=worker.flight.now() + timedelta(hours=1))
        sink.answer = lambda _id, _number: 200
        await Destinations(STORES[-1], ["alerts"]).resume("alerts", datetime.now(UTC))
        await until(lambda: worker.flight and not worker.flight.health.failing, 10)
