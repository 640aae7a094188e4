from datetime import UTC, datetime, timedelta

from workers.dispatch.watch import AT_LAST, PAUSE, SETTLED, begun

NOW = datetime(2026, 2, 13, tzinfo=UTC)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)


def test_a_wait_is_over_only_after_a_lane_was_read_as_it_came_for_a_minute() -> None:
    watch = begun(NOW)
    for seconds in range(60):
        now = NOW + seconds * SECOND
        watch.look(now, now)
        assert not watch.settled(now, DAY)
    assert watch.settled(NOW + SETTLED, DAY)
    assert watch.settled(NOW + 2 * SECOND, 2 * SECOND)  # a short wait asks for no more than itself


def test_a_pause_or_a_backlog_begins_the_minute_anew() -> None:
    watch = begun(NOW)
    now = NOW + PAUSE
    watch.look(now)
    later = now + PAUSE + SECOND  # a restart, a frozen process, a store that was away
    watch.look(later)
    assert not watch.settled(later + SETTLED - SECOND, DAY)
    assert watch.settled(later + SETTLED, DAY)
    watch.look(later + SECOND, later - PAUSE)  # a record that the bus has held for longer
    assert not watch.settled(later + SETTLED, DAY)
    assert watch.settled(later + SECOND + SETTLED, DAY)


def test_a_lane_that_is_always_behind_ends_waits_all_the_same() -> None:
    watch, now = begun(NOW), NOW
    while now < NOW + AT_LAST - SECOND:
        now += 10 * SECOND
        watch.look(now, now - DAY)
    assert watch.settled(NOW + AT_LAST, DAY)
    assert not watch.settled(NOW + AT_LAST - 11 * SECOND, DAY)
