"""How much a destination is sent: whose Retry-After stops all of it, and whose only one event."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workers.deliver.support import Sink, delivering, destination, event, until
from workers.bus.contract import Bus
from workers.deliver.answer import RETRY_AFTER_CAP_S, Verdict
from workers.deliver.health import Health

T0 = datetime(2026, 1, 1, tzinfo=UTC)
WELL = Health(concurrency=4, life=T0)
ANSWERS = st.tuples(st.sampled_from(Verdict), st.integers(0, 900) | st.none(), st.integers(0, 300))


def after(number: float) -> datetime:
    return T0 + timedelta(seconds=number)


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.REFUSED])
def test_what_one_event_is_asked_to_wait_delays_no_other(verdict: Verdict) -> None:
    health = WELL.began(1).after(verdict, (0, 1), T0, asked=600.0)
    assert (health.room(T0), health.state(T0)) == (4, "well")


@given(st.lists(ANSWERS.filter(lambda answer: answer[0] is not Verdict.GONE), max_size=20))
def test_it_is_quiet_for_as_long_as_any_answer_that_throttles_has_asked(answers: list[tuple[Verdict, int | None, int]]) -> None:
    health, now, quiet = Health(concurrency=64), 0, 0.0
    for number, (verdict, asked, pause) in enumerate(answers):
        now += pause
        health = health.began(1).after(verdict, (0, number), after(now), asked=asked)
        if verdict is Verdict.THROTTLED and asked is not None:
            quiet = max(quiet, now + min(asked, RETRY_AFTER_CAP_S))
        assert (health.state(after(now)) == "throttled") == (not health.failing and now < quiet)
        assert now >= quiet or health.room(after(now)) == 0


async def test_one_event_that_is_to_come_later_stops_no_neighbour(bus: Bus, sink: Sink) -> None:
    sink.answer = lambda identity, _number: 500 if identity == "odd" else 200
    sink.asks["odd"] = "600"
    await bus.publish([event("odd", device="odd")])
    async with delivering(bus, destination(sink.url)) as worker:
        await until(lambda: worker.flight and worker.flight.trouble)
        await bus.publish([event(f"e{number}", device=f"d{number}") for number in range(5)])
        await until(lambda: len(sink.ids) == 6, 5)
    assert sink.seen("odd") == 1


async def test_a_later_answer_does_not_lift_what_the_destination_has_asked_for(bus: Bus, sink: Sink) -> None:
    sink.answer = lambda _id, _number: 503
    sink.asks |= {"e0": "600", "e1": "0"}
    await bus.publish([event(f"e{number}", device=f"d{number}") for number in range(2)])
    async with delivering(bus, destination(sink.url)) as worker:
        await until(lambda: worker.flight and len(worker.flight.health.failed) == 2)
        assert worker.flight
        now = worker.flight.now()
        assert (worker.flight.state(now), worker.flight.state(now + timedelta(seconds=590))) == ("throttled", "throttled")
    assert len(sink.ids) == 2
