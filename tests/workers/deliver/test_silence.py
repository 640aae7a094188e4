"""A destination that says nothing is failing however few keys there are, and a key that meets silence holds up no other."""

from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from tests.workers.deliver.support import Sink, delivering, destination, event, until
from workers.bus.contract import Bus
from workers.deliver import session
from workers.deliver.flight import Flight
from workers.deliver.health import FAILING_AT, SILENT_AT, SILENT_LAPSES_S, SILENT_S
from workers.deliver.job import Deliver
from workers.deliver.window import LIMIT

pytestmark = pytest.mark.parametrize("bus", ["memory"], indirect=True)
CLOSED = "http://127.0.0.1:9/ring"


class Clock:
    """A flight's own, which goes as fast as a test needs it to."""

    def __init__(self, flight: Flight) -> None:
        self._runs, self.ahead = flight.now, 0.0
        flight.now = self

    def __call__(self) -> datetime:
        return self._runs() + timedelta(seconds=self.ahead)


async def flying(worker: Deliver) -> Flight:
    await until(lambda: worker.flight)
    assert worker.flight
    return worker.flight


async def silent(flight: Flight, clock: Clock) -> None:
    """Let attempts go by over as long as it takes to know that it is no event's fault."""
    await until(lambda: flight.health.silence)
    clock.ahead += SILENT_S + 1.0
    await until(lambda: flight.health.silent, 10)


async def probed(flight: Flight, clock: Clock, times: int) -> None:
    """Let so many probes go by."""
    while flight.health.probes < times:
        before, clock.ahead = flight.health.probes, clock.ahead + 90.0
        await until(lambda: flight.health.probes > before, 10)  # noqa: B023 - it is awaited here


async def test_three_cameras_of_a_service_that_is_away_are_enough_to_say_so(bus: Bus) -> None:
    async with delivering(bus, destination(CLOSED)) as worker:
        flight = await flying(worker)
        clock = Clock(flight)
        await bus.publish([event(f"e-{device}-{number}", device=f"d{device}") for number in range(20) for device in range(3)])
        await silent(flight, clock)
        assert (flight.state(flight.now()), len(flight.health.failed)) == ("failing", 3)


async def test_one_that_was_silent_long_ago_is_not_said_to_be_well_again_for_not_answering_once(bus: Bus) -> None:
    async with delivering(bus, destination(CLOSED)) as worker:
        flight = await flying(worker)
        clock = Clock(flight)
        await bus.publish([event("e0")])
        await silent(flight, clock)
        with capture_logs() as lines:
            clock.ahead += SILENT_LAPSES_S + 1.0
            await until(lambda: not flight.health.failing, 10)
            clock.ahead += SILENT_S + 1.0
            await until(lambda: flight.health.failing, 10)
    assert [line["event"] for line in lines if line["event"].startswith("destination.")] == ["destination.failing"]


async def test_what_was_never_sent_does_not_wait_for_the_probe_of_a_key_that_meets_silence(bus: Bus, sink: Sink) -> None:
    sink.answer = lambda identity, _number: 401 if identity.startswith("mute") else 200
    async with delivering(bus, destination(sink.url)) as worker:
        flight = await flying(worker)
        clock = Clock(flight)
        await bus.publish([event(f"mute{number}", device="mute") for number in range(3)])
        await silent(flight, clock)
        await probed(flight, clock, 7)
        assert flight.health.probe_at
        assert flight.health.probe_at > flight.now() + timedelta(seconds=30)
        await bus.publish([event(f"e{number}", device=f"d{number}") for number in range(20)])
        await until(lambda: sum(name.startswith("e") for name in sink.unique) == 20, 8)
        assert not flight.health.failing


async def test_a_few_new_keys_of_a_service_that_is_away_are_tried_and_then_all_wait_for_the_probe(bus: Bus, sink: Sink) -> None:
    sink.answer = lambda _id, _number: 503
    async with delivering(bus, destination(sink.url)) as worker:
        flight = await flying(worker)
        clock = Clock(flight)
        await bus.publish([event("first", device="first")])
        await silent(flight, clock)
        await probed(flight, clock, 7)
        await bus.publish([event(f"e{number}", device=f"d{number}") for number in range(20)])
        await until(lambda: flight.health.many_failed, 8)
        assert len(sink.unique) <= 2 * FAILING_AT


async def test_one_that_is_dead_keeps_few_events_in_memory_however_long_it_is_probed(
    bus: Bus, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "FAULT_WAIT_S", 0.01)
    sink.answer = lambda _id, _number: 500
    cameras = [(f"d{number}", f"a{number % 6}") for number in range(60)]
    for number in range(120):
        await bus.publish([event(f"{device}-{number}", device=device, account=account) for device, account in cameras])
    async with delivering(bus, destination(sink.url, concurrency=2)) as worker:
        flight = await flying(worker)
        clock = Clock(flight)
        await until(lambda: flight.health.failing and not flight.health.flying)
        most = LIMIT + len({account for _, account in cameras}) * (session.HELD + session.AHEAD)
        for number in range(1, 81):
            await probed(flight, clock, number)
            assert flight.in_hand() <= most, "what is unread is safe where it is"
        assert {device for device, _ in cameras} == {name.split("-")[0] for name in sink.ids}, "all keys were tried"


async def test_one_event_that_is_answered_with_an_error_is_no_silence(bus: Bus, sink: Sink) -> None:
    sink.answer = lambda _id, _number: 500
    async with delivering(bus, destination(sink.url)) as worker:
        flight = await flying(worker)
        clock = Clock(flight)
        await bus.publish([event("odd")])
        for number in range(1, SILENT_AT + 2):
            await until(lambda: len(sink.ids) > number, 10)  # noqa: B023 - it is awaited here
            clock.ahead += SILENT_S + 1.0
        assert (flight.health.failing, flight.health.silence) == (False, None)
