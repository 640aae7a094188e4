"""How much a destination is sent: how many at a time, whose Retry-After stops all of it, and whose only one event."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.workers.deliver.support import Sink, delivering, destination, event, until
from workers.bus.contract import Bus
from workers.deliver.answer import RETRY_AFTER_CAP_S, Verdict
from workers.deliver.health import FAILING_AT, PROBE_LONGEST_S, SILENT_AT, SILENT_LAPSES_S, SILENT_S, Health

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


def answered(health: Health, verdict: Verdict, count: int = 1, *, at: float = 0.0) -> Health:
    """Return the health after so many requests, one after the other, each with a new event."""
    for number in range(count):
        health = health.began(1).after(verdict, (0, number), after(at))
    return health


def test_what_came_up_is_sent_one_then_twice_as_many_with_each_round_up_to_its_concurrency() -> None:
    health = answered(answered(Health(concurrency=20), Verdict.FAILED, FAILING_AT), Verdict.ACCEPTED)
    rounds = []
    while len(rounds) < 7:
        rounds.append(room := health.room(T0))
        health = health.began(room)
        for number in range(room):
            health = health.after(Verdict.ACCEPTED, (0, number), T0)
    assert rounds == [1, 2, 4, 8, 16, 20, 20]


def test_of_few_those_that_hang_give_up_their_place_up_to_the_concurrency_but_not_a_probes() -> None:
    down = answered(Health(concurrency=4), Verdict.FAILED, FAILING_AT)
    assert (down.room(after(60.0), late=3), down.began(1).room(after(60.0), late=1)) == (1, 0)
    health = answered(down, Verdict.ACCEPTED).began(1)
    assert [health.room(T0, late) for late in range(6)] == [0, 1, 2, 3, 3, 3]


def test_what_is_refused_as_too_much_gets_half_and_a_burst_of_refusals_is_one() -> None:
    health = Health(concurrency=32, life=T0).began(32).after(Verdict.ACCEPTED, (0, 0), T0)
    for number in range(FAILING_AT - 1):
        health = health.after(Verdict.THROTTLED, (0, number), T0)
    assert health.allowed == 16


def test_what_was_refused_as_too_much_gets_one_more_with_each_round_and_only_where_it_takes_all_that_it_may_get() -> None:
    health = answered(answered(Health(concurrency=32, life=T0), Verdict.THROTTLED, 3), Verdict.ACCEPTED, 100)
    rounds = []
    while health.allowed < 32:
        rounds.append(room := health.room(T0))
        health = health.began(room)
        for number in range(room):
            health = health.after(Verdict.ACCEPTED, (0, number), T0)
    assert rounds == [*range(4, 32)]


def test_whom_an_operator_resumes_gets_all_that_it_may_at_once() -> None:
    health = answered(Health(concurrency=32, life=T0), Verdict.THROTTLED, 2)
    assert (health.allowed, health.resumed().allowed) == (8, 32)


def test_events_that_fail_slow_no_others_down() -> None:
    health = Health(concurrency=32, life=T0)
    for _ in range(50):
        health = answered(answered(health, Verdict.FAILED, FAILING_AT - 1), Verdict.ACCEPTED)
        assert health.room(T0) == 32


def silent(count: int = SILENT_AT, *, concurrency: int = 32) -> Health:
    """Return the health after one event brought nothing so often, over as long as it takes."""
    health = Health(concurrency=concurrency, life=after(-1.0))
    for number in range(count):
        health = health.began(1).after(Verdict.FAILED, (0, 1), after(number * SILENT_S / (SILENT_AT - 1)))
    return health


def test_a_destination_that_lets_three_attempts_of_one_event_go_unanswered_for_half_a_minute_is_failing() -> None:
    assert not silent(SILENT_AT - 1).failing
    health = silent()
    assert (health.failing, health.state(after(SILENT_S)), health.room(after(SILENT_S))) == (True, "failing", 0)
    assert health.room(after(SILENT_S + 1.0)) == 1, "a probe"
    quick = Health(concurrency=4)
    for number in range(20):
        quick = quick.began(1).after(Verdict.FAILED, (0, 1), after(number))
    assert not quick.failing, "a restart takes no longer"


@pytest.mark.parametrize("verdict", [Verdict.FAILED, Verdict.THROTTLED])
def test_what_only_says_that_the_destination_is_at_fault_is_silence(verdict: Verdict) -> None:
    health = Health(concurrency=4)
    for number in range(SILENT_AT):
        health = health.began(1).after(verdict, (0, 1), after(number * SILENT_S))
    assert health.failing


def test_an_event_that_is_answered_with_an_error_is_no_silence_and_ends_one() -> None:
    health = Health(concurrency=4)
    for number in range(20):
        health = health.began(1).after(Verdict.FAILED, (0, 1), after(number * SILENT_S), answered=True)
    assert not health.failing
    health = silent().began(1).after(Verdict.FAILED, (0, 1), after(300.0), answered=True)
    assert (health.failing, health.room(after(300.0))) == (False, 32)


def test_what_was_never_sent_does_not_wait_for_the_probe_of_one_that_is_only_silent() -> None:
    now, health = after(SILENT_S), silent()
    assert (health.room(now), health.fresh(now)) == (0, FAILING_AT)
    assert (health.began(2).fresh(now), silent(concurrency=2).began(1).fresh(now)) == (FAILING_AT - 2, 1)
    assert WELL.fresh(now) == 0, "then there is room"
    for number in range(2, 1 + FAILING_AT):
        health = health.began(1).after(Verdict.FAILED, (0, number), now)
        assert health.probes == 1, "it is none"
    assert health.fresh(now) == 0, "five different events failed"
    later = silent(concurrency=2).began(1).after(Verdict.THROTTLED, (0, 1), now, asked=60.0)
    assert (later.fresh(now), later.fresh(after(SILENT_S + 60.0))) == (0, 1), "it has asked for rest, and for half"


def test_one_that_was_only_silent_gets_all_that_it_may_at_once() -> None:
    assert silent().began(1).after(Verdict.ACCEPTED, (0, 1), after(300.0)).room(after(300.0)) == 32


@pytest.mark.parametrize("attempts", [SILENT_AT - 1, SILENT_AT])
def test_what_was_silent_days_ago_is_not_called_failing_for_one_attempt_that_is_not_answered_today(attempts: int) -> None:
    health, day = silent(attempts), 86_400.0
    for number in range(SILENT_AT - 1):
        health = health.began(1).after(Verdict.FAILED, (0, 2), after(day + number * SILENT_S))
        assert (health.failing, health.probes) == (False, 0)
    assert health.began(1).after(Verdict.FAILED, (0, 2), after(day + SILENT_AT * SILENT_S)).failing, "it is silent anew"


def test_the_longest_that_anything_waits_for_is_no_reason_to_forget_a_silence() -> None:
    health = Health(concurrency=4)
    for number in range(SILENT_AT):
        at = after(number * (RETRY_AFTER_CAP_S + PROBE_LONGEST_S))
        health = health.began(1).after(Verdict.THROTTLED, (0, 1), at, asked=RETRY_AFTER_CAP_S)
    assert health.failing


def test_whom_an_operator_resumes_is_not_held_a_silence_against_from_before() -> None:
    for attempts in (SILENT_AT - 1, SILENT_AT):
        health = silent(attempts).resumed()
        assert (health.failing, health.room(after(SILENT_S))) == (False, 32)
        assert not health.began(1).after(Verdict.FAILED, (0, 1), after(SILENT_S)).failing


KINDS = {  # what came of an attempt, and whether that may be about the event
    "silence": (Verdict.FAILED, False),
    "throttled": (Verdict.THROTTLED, False),
    "error": (Verdict.FAILED, True),
    "refused": (Verdict.REFUSED, True),
    "accepted": (Verdict.ACCEPTED, False),
}
PAUSES = st.integers(0, 25) | st.sampled_from([0, SILENT_LAPSES_S - 1.0, SILENT_LAPSES_S, 86_400.0])  # to the next attempt
TRIES = st.lists(st.tuples(st.sampled_from([*KINDS, "silence", "silence"]), st.integers(0, 6), PAUSES), max_size=40)


@dataclass
class Witness:
    """Whether a destination fails, by the words of the decision: from notes on all attempts since it last showed life."""

    life: float | None = None
    notes: list[tuple[str, int, float, bool]] = field(default_factory=list)  # the last: it says something new

    def sees(self, kind: str, event: int, at: float, tried: float | None) -> None:
        if kind in {"refused", "accepted"}:
            self.life, self.notes = at, []
            return
        new = self.life is None or tried is None or tried > self.life or self.fails
        self.notes.append((kind, event, at, new))

    @property
    def fails(self) -> bool:
        failed = {event for _, event, _, new in self.notes if new}
        silences = [at for _, _, at, new in self.notes[self._answered :] if new]
        row = silences[self._lapsed(silences) :]
        return len(failed) >= FAILING_AT or (len(row) >= SILENT_AT and row[-1] - row[0] >= SILENT_S)

    @staticmethod
    def _lapsed(silences: list[float]) -> int:
        """Return how many of them were so long before the one that came next that they are forgotten."""
        gaps = (later - earlier for earlier, later in pairwise(silences))
        return max((number + 1 for number, gap in enumerate(gaps) if gap > SILENT_LAPSES_S), default=0)

    @property
    def _answered(self) -> int:
        return max((number + 1 for number, (kind, *_) in enumerate(self.notes) if kind == "error"), default=0)


@given(TRIES)
def test_whether_it_fails_is_as_one_who_notes_each_attempt_has_it(attempts: list[tuple[str, int, float]]) -> None:
    health, witness, now, latest = Health(concurrency=4), Witness(), 0.0, dict[int, float]()
    for kind, number, pause in attempts:
        now += pause + 0.5
        verdict, answered = KINDS[kind]
        tried = latest.get(number)
        witness.sees(kind, number, now, tried)
        began = None if tried is None else after(tried)
        health = health.began(1).after(verdict, (0, number), after(now), tried=began, answered=answered)
        assert health.failing == witness.fails
        latest[number] = now


ENDS = st.sampled_from([Verdict.ACCEPTED, Verdict.ACCEPTED, Verdict.REFUSED, Verdict.THROTTLED, Verdict.FAILED])
# How many begin, as far as they may; then how many end, and how.
STEPS = st.lists(st.tuples(st.integers(0, 8), ENDS, st.integers(1, 8)), min_size=5, max_size=60)


@dataclass
class Request:
    """One under way, as an observer would note it."""

    halvings: int  # before it began
    full: bool = False  # all that may be without live events were under way with it: three quarters of those allowed


@dataclass
class Observer:
    """How many are allowed, by the words of the decision: no counters, but a note on every request."""

    concurrency: int
    allowed: int
    threshold: int
    halvings: int = 0
    gained: int = 0
    flying: list[Request] = field(default_factory=list)  # in the order of their beginning

    def begins(self, count: int) -> None:
        self.flying += [Request(self.halvings) for _ in range(count)]
        if len(self.flying) >= self.allowed - self.allowed // 4:
            for request in self.flying:
                request.full = True

    def ends(self, verdict: Verdict, *, failing: bool) -> None:
        request = self.flying.pop(0)
        if failing and verdict in {Verdict.ACCEPTED, Verdict.REFUSED}:
            self.restarts(1, self.concurrency)
        elif verdict in {Verdict.ACCEPTED, Verdict.REFUSED} and request.full and self.allowed < self.concurrency:
            self.gained += 1
            if self.allowed < self.threshold or self.gained == self.allowed:
                self.allowed, self.gained = self.allowed + 1, 0
        elif verdict is Verdict.THROTTLED and (request.halvings == self.halvings or self.allowed == self.concurrency):
            half = max((1 if failing else self.allowed) // 2, 1)
            self.restarts(half, half)
            self.halvings += 1

    def restarts(self, allowed: int, threshold: int) -> None:
        self.allowed, self.threshold, self.gained = allowed, threshold, 0
        for request in self.flying:
            request.full = False


@example(  # refused before it failed and came up again, by requests that are under way still
    8, [(8, Verdict.THROTTLED, 1), (0, Verdict.THROTTLED, 4), *[(0, Verdict.ACCEPTED, 1)] * 2, (0, Verdict.THROTTLED, 1)]
)
@given(st.integers(1, 8), STEPS)
def test_how_many_are_allowed_is_as_one_who_notes_each_request_has_it(
    concurrency: int, steps: list[tuple[int, Verdict, int]]
) -> None:
    health, now = Health(concurrency=concurrency), T0
    observer = Observer(concurrency, concurrency, concurrency)
    for number, (begin, verdict, end) in enumerate(steps):
        now += timedelta(seconds=2 * PROBE_LONGEST_S)
        count = min(begin, health.room(now))
        observer.begins(count)
        health = health.began(count)
        for each in range(min(end, len(observer.flying))):
            observer.ends(verdict, failing=health.many_failed)
            health = health.after(verdict, (number, each), now)
            assert health.allowed == (1 if health.failing else observer.allowed)
            assert health.room(now + timedelta(seconds=PROBE_LONGEST_S)) == max(health.allowed - len(observer.flying), 0)


async def test_a_service_that_has_just_come_up_gets_ever_more_at_a_time(bus: Bus, sink: Sink) -> None:
    up, took, more = False, 0, list[int]()

    async def comes_up(_id: str, _number: int) -> int:
        nonlocal took
        if not up:
            return 500
        more.append(sink.flying - took)
        await asyncio.sleep(0.02)
        took += 1
        return 200

    sink.answer = comes_up
    await bus.publish([event(f"e{number}", device=f"d{number}") for number in range(60)])
    async with delivering(bus, destination(sink.url, concurrency=8)) as worker:
        await until(lambda: worker.flight and worker.flight.health.failing and not worker.flight.health.flying)
        up = True
        await until(lambda: took == 60)
    assert max(more) <= 1, "one, and one more with each that it took"
    assert sink.most == 8


async def test_a_service_that_takes_few_at_a_time_is_asked_for_little_more(bus: Bus, sink: Sink) -> None:
    refused = 0

    async def takes_four(_id: str, _number: int) -> int:
        nonlocal refused
        if sink.flying > 4:
            refused += 1
            return 429
        await asyncio.sleep(0.005)
        return 200

    sink.answer = takes_four
    await bus.publish([event(f"e{number}", device=f"d{number}") for number in range(300)])
    async with delivering(bus, destination(sink.url, concurrency=32)):
        await until(lambda: len(sink.ids) - refused == 300)
    assert refused < 150
