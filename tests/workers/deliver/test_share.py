"""What is not new leaves live events their part: of the requests in flight, or of the time where few may be."""

from datetime import UTC, datetime, timedelta

import pytest

from workers.deliver.outstanding import LATE_LEAST, Outstanding
from workers.deliver.share import ALL, NONE, Beside, Share

T0 = datetime(2026, 2, 13, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def may(share: Share, now: datetime, *, allowed: int, presses: bool = True, pace: bool = True, concurrency: int = 32) -> Beside:
    return share.may(now, allowed=allowed, concurrency=concurrency, presses=lambda: presses, pace=pace)


@pytest.mark.parametrize(("allowed", "part"), [(4, 1), (7, 1), (8, 2), (32, 8)])
def test_a_quarter_may_go_beside_live_events(allowed: int, part: int) -> None:
    share = Share()
    for number in range(part):
        assert may(share, T0, allowed=allowed) == ALL
        share.began(number, T0, doubtful=True)
    assert may(share, T0, allowed=allowed) == NONE
    share.ended(0, T0)
    assert may(share, T0, allowed=allowed) == ALL


@pytest.mark.parametrize("allowed", [1, 2, 3])
def test_of_few_it_is_a_quarter_of_the_time(allowed: int) -> None:
    share = Share()
    assert may(share, T0, allowed=allowed) == ALL
    share.began("hangs", T0, doubtful=True)
    assert may(share, T0, allowed=allowed) == NONE
    share.ended("hangs", T0 + 10 * SECOND)
    assert may(share, T0 + 39 * SECOND, allowed=allowed) == NONE
    assert may(share, T0 + 39 * SECOND, allowed=allowed, presses=False) == ALL, "nobody else wants it"
    assert may(share, T0 + 40 * SECOND, allowed=allowed) == ALL


def test_what_was_not_sent_after_all_costs_no_turn() -> None:
    share = Share()
    share.began("cut", T0, doubtful=True)
    share.dropped("cut")
    share.ended("new, and none of those", T0 + SECOND)
    assert may(share, T0 + SECOND, allowed=1) == ALL


def test_where_no_live_event_waits_rows_take_all_but_a_quarter_and_what_failed_no_more_than_its_own() -> None:
    share = Share()
    for number in range(8):
        share.began(number, T0, doubtful=True)
    assert may(share, T0, allowed=32, presses=False) == Beside(rows=True, again=False, aside=False)
    for number in range(8, 24):
        share.began(number, T0, doubtful=False)
    assert may(share, T0, allowed=32, presses=False) == NONE


def test_without_a_part_of_the_rate_nothing_goes_beside_live_events() -> None:
    assert may(Share(), T0, allowed=32, pace=False) == NONE
    assert may(Share(), T0, allowed=1, pace=False) == NONE


def test_who_takes_four_times_as_long_as_is_typical_is_late() -> None:
    out = Outstanding()
    out.began("first", T0)
    assert out.late(T0 + 60 * SECOND) == 0, "nobody knows yet how long it takes"
    out.accepted(SECOND)
    assert (out.late(T0 + 4 * SECOND), out.late(T0 + 4.1 * SECOND)) == (0, 1)
    for _ in range(50):
        out.accepted(timedelta(milliseconds=5))
    assert (out.late(T0 + LATE_LEAST), out.late(T0 + 1.1 * LATE_LEAST)) == (0, 1)
    out.ended("first")
    assert out.late(T0 + 60 * SECOND) == 0
