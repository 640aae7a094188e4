"""Decisions as tables: every status, and what becomes of an event."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from workers.deliver.answer import RETRY_AFTER_CAP_S, Answer, Verdict, retry_after
from workers.deliver.health import FAILING_AT, PROBE_LONGEST_S, Health
from workers.deliver.policy import SCHEDULE_S, Again, Bury, Done, Standard, Tries, attempted

T0 = datetime(2026, 1, 1, tzinfo=UTC)
POLICY = Standard()
ALIVE = Health(concurrency=4, life=T0 + timedelta(hours=2))
UNPROVEN = Health(concurrency=4, life=T0 - timedelta(seconds=1))
LATER = T0 + timedelta(hours=2)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def tries(status: int | None, *, spent: int = 0, refused: int = 0, single: bool = False) -> Tries:
    answer = Answer(status=status, failure=None if status else "connect")
    return replace(attempted(None, POLICY.judge(answer), answer, T0, single=single), spent=spent, refused=refused, made=spent + 1)


OF_DESTINATION = (401, 403, 404, 405, 407, 408, 411, 415, 421, 425, 426)


@pytest.mark.parametrize("status", [None, *range(100, 600)])
def test_every_status_has_the_verdict_of_the_design(status: int | None) -> None:
    verdict = POLICY.judge(Answer(status=status))
    if status is not None and 200 <= status < 300:
        assert verdict is Verdict.ACCEPTED
    elif status in (429, 502, 503, 504):
        assert verdict is Verdict.THROTTLED
    elif status == 410:
        assert verdict is Verdict.GONE
    elif status is not None and 400 <= status < 500 and status not in OF_DESTINATION:
        assert verdict is Verdict.REFUSED
    else:
        assert verdict is Verdict.FAILED


@pytest.mark.parametrize(
    ("status", "told", "health", "expected"),
    [
        (200, {}, UNPROVEN, Done()),
        (500, {}, ALIVE, Again(LATER + seconds(1))),
        (500, {"spent": 3}, ALIVE, Again(LATER + seconds(120))),
        (500, {"spent": 7}, ALIVE, Again(LATER + seconds(1800))),
        (500, {"spent": 8}, ALIVE, Bury("exhausted")),
        (500, {"spent": 8}, UNPROVEN, Again(LATER + seconds(60), spent=False)),
        (None, {"spent": 8}, ALIVE, Bury("exhausted")),
        (None, {"spent": 8}, UNPROVEN, Again(LATER + seconds(60), spent=False)),
        (429, {"spent": 8}, ALIVE, Again(LATER + seconds(60), spent=False)),
        (503, {"spent": 8}, ALIVE, Bury("exhausted")),
        (422, {"refused": 1}, ALIVE, Again(LATER + seconds(1))),
        (422, {"refused": 3, "spent": 2}, ALIVE, Bury("refused")),
        (422, {"refused": 3}, UNPROVEN, Again(LATER + seconds(1), spent=False)),
        (500, {"single": True}, ALIVE, Bury("follower")),
        (422, {"single": True, "refused": 1}, ALIVE, Bury("follower")),
        (502, {"single": True}, ALIVE, Again(LATER + seconds(1))),
        (503, {"single": True, "spent": 8}, ALIVE, Bury("exhausted")),
        (404, {"single": True}, ALIVE, Again(LATER + seconds(1))),
        (None, {"single": True}, ALIVE, Again(LATER + seconds(1))),
        (500, {"single": True}, UNPROVEN, Again(LATER + seconds(1), spent=False)),
        (200, {"single": True}, UNPROVEN, Done()),
        (410, {"spent": 8}, replace(ALIVE, gone=True), Again(LATER + seconds(60), spent=False)),
    ],
)
def test_an_event_s_fate(status: int | None, told: dict[str, int], health: Health, expected: object) -> None:
    verdict = POLICY.judge(Answer(status=status))
    assert POLICY.decide(verdict, tries(status, **told), health, LATER, 0.5) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "told", "health", "expected"),
    [
        (200, {}, ALIVE, Done()),
        (500, {"spent": 8}, ALIVE, Again(LATER + seconds(600), spent=False)),
        (422, {"refused": 3}, ALIVE, Again(LATER + seconds(600), spent=False)),
        (500, {"single": True}, ALIVE, Again(LATER + seconds(600), spent=False)),
        (500, {"spent": 8}, UNPROVEN, Again(LATER + seconds(60), spent=False)),
    ],
)
def test_an_attempt_before_its_time_is_no_verdict_and_the_next_is_due_when_it_was_to_be(
    status: int, told: dict[str, int], health: Health, expected: object
) -> None:
    early = replace(tries(status, **told), early=LATER + seconds(600))  # type: ignore[arg-type]
    assert POLICY.decide(POLICY.judge(Answer(status=status)), early, health, LATER, 0.5) == expected


def test_an_early_attempt_counts_no_refusal_and_one_in_its_time_does() -> None:
    answer, before = Answer(status=422), tries(422, refused=1)
    early = attempted(before, Verdict.REFUSED, answer, LATER, single=False, due=LATER + seconds(1))
    assert (early.early, early.refused, early.made) == (LATER + seconds(1), 1, 2)
    timely = attempted(early, Verdict.REFUSED, answer, LATER + seconds(1), single=False, due=LATER + seconds(1))
    assert (timely.early, timely.refused, timely.made) == (None, 2, 3)


@given(
    st.sampled_from([None, *range(100, 600)]),
    st.integers(0, 20),
    st.integers(0, 20),
    st.booleans(),
    st.integers(-100, 100),
    st.floats(0, 0.999),
    st.integers(0, FAILING_AT),
)
def test_nothing_is_buried_without_life_since_its_first_attempt(  # noqa: PLR0917 -- one column of the table each
    status: int | None,
    spent: int,
    refused: int,
    single: bool,  # noqa: FBT001 -- drawn
    life: int,
    dice: float,
    failed: int,
) -> None:
    health = Health(concurrency=1, life=T0 + seconds(life), failed=frozenset((0, n) for n in range(failed)))
    verdict = POLICY.judge(Answer(status=status))
    fate = POLICY.decide(verdict, tries(status, spent=spent, refused=refused, single=single), health, LATER, dice)
    if isinstance(fate, Bury):
        assert life >= 0
        assert not health.failing
    if isinstance(fate, Again):
        assert LATER < fate.at <= LATER + seconds(max(SCHEDULE_S) * 1.2)


@given(st.sampled_from([None, *range(100, 600)]), st.integers(0, 20), st.integers(0, 20), st.booleans())
def test_an_attempt_in_company_is_no_verdict_on_one_event(status: int | None, spent: int, refused: int, single: bool) -> None:  # noqa: FBT001 -- drawn
    before = replace(tries(422), spent=spent, refused=refused)
    answer = Answer(status=status)
    verdict = POLICY.judge(answer)
    told = attempted(before, verdict, answer, LATER, single=single, events=7)
    assert (told.made, told.shared, told.refused, told.spent) == (before.made + 1, 1, refused, spent)
    fate = POLICY.decide(verdict, told, ALIVE, LATER, 0.5)
    assert isinstance(fate, Done if verdict is Verdict.ACCEPTED else Again)
    assert not isinstance(fate, Again) or not fate.spent


def test_silence_counts_only_where_life_was_seen_since_the_attempt_before() -> None:
    health = Health(concurrency=4, life=T0 + seconds(30))
    second = replace(tries(None, spent=8), previous=T0 + seconds(60))
    assert POLICY.decide(Verdict.FAILED, second, health, LATER, 0.5) == Again(LATER + seconds(60), spent=False)
    answered = replace(tries(500, spent=8), previous=T0 + seconds(60))
    assert POLICY.decide(Verdict.FAILED, answered, health, LATER, 0.5) == Bury("exhausted")


def test_retry_after_is_obeyed() -> None:
    told = attempted(None, Verdict.FAILED, Answer(status=500, asked=90.0), T0, single=False)
    assert POLICY.decide(Verdict.FAILED, told, ALIVE, LATER, 0.5) == Again(LATER + seconds(90))


def test_what_a_destination_asks_for_all_of_its_events_is_kept_by_it_and_lifted_for_all() -> None:
    told = attempted(None, Verdict.THROTTLED, Answer(status=503, asked=90.0), T0, single=False)
    assert POLICY.decide(Verdict.THROTTLED, told, ALIVE, LATER, 0.5) == Again(LATER + seconds(1))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        ("30", 30.0),
        (" 5 ", 5.0),
        ("-5", None),
        ("99999999999999999999", RETRY_AFTER_CAP_S),
        ("soon", None),
        ("٣", None),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
        ("Thu, 01 Jan 2099 00:00:00 GMT", RETRY_AFTER_CAP_S),
    ],
)
def test_retry_after_is_read_as_seconds_or_date_and_capped(text: str | None, expected: float | None) -> None:
    assert retry_after(text, T0) == expected


@given(st.text(max_size=60))
def test_no_retry_after_breaks_anything(text: str) -> None:
    found = retry_after(text, T0)
    assert found is None or 0 <= found <= RETRY_AFTER_CAP_S


def test_a_destination_fails_when_several_events_failed_and_one_event_never_proves_it() -> None:
    health = Health(concurrency=4)
    for _ in range(20):
        health = health.began(1).after(Verdict.FAILED, (0, 1), T0)
    assert not health.failing
    for offset in range(2, FAILING_AT + 1):
        health = health.began(1).after(Verdict.FAILED, (0, offset), T0)
    assert health.failing
    assert health.room(T0) == 0


def test_events_that_fail_again_while_others_get_through_do_not_make_their_destination_fail() -> None:
    alive = Health(concurrency=4, life=T0)
    for offset in range(2 * FAILING_AT):
        alive = alive.began(1).after(Verdict.FAILED, (0, offset), T0 + seconds(1), tried=T0 - seconds(1))
    assert not alive.failing
    for offset in range(FAILING_AT):  # nobody got through since
        alive = alive.began(1).after(Verdict.FAILED, (0, offset), T0 + seconds(3), tried=T0 + seconds(1))
    assert alive.failing


def test_a_failing_destination_is_probed_with_one_event_ever_more_rarely_and_life_opens_it() -> None:
    health, now, pauses = Health(concurrency=4), T0, []
    for offset in range(FAILING_AT):
        health = health.began(1).after(Verdict.FAILED, (0, offset), now)
    for _ in range(10):
        assert health.probe_at
        pauses.append((health.probe_at - now).total_seconds())
        now = health.probe_at
        assert health.room(now) == 1
        health = health.began(1)
        assert health.room(now) == 0
        health = health.after(Verdict.FAILED, (0, 99), now)
    assert pauses == sorted(pauses)
    assert pauses[0] <= 1.0
    assert PROBE_LONGEST_S * 0.8 <= pauses[-1] <= PROBE_LONGEST_S
    health = health.began(1).after(Verdict.ACCEPTED, (0, 1), now)
    assert (health.room(now), health.failing) == (1, False)


def test_retry_after_quiets_the_whole_destination() -> None:
    health = Health(concurrency=4).began(1).after(Verdict.THROTTLED, (0, 1), T0, asked=30)
    assert (health.room(T0 + seconds(29)), health.room(T0 + seconds(30))) == (0, 2)
    assert health.state(T0) == "throttled"


def test_gone_stays_gone() -> None:
    health = Health(concurrency=4).began(2).after(Verdict.GONE, (0, 1), T0).after(Verdict.ACCEPTED, (0, 2), T0)
    assert (health.room(T0 + timedelta(days=1)), health.state(T0)) == (0, "gone")
