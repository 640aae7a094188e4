"""What a resume lets be due at once, to the last event: what joins the rows just then, and what is under way and fails."""

from datetime import UTC, datetime, timedelta

from workers.deliver.answer import Verdict
from workers.deliver.parked import Kept, Parked, Tried
from workers.deliver.policy import Again, Attempt, Tries
from workers.deliver.window import Item, Window
from workers.runtime.lines import TOTAL, Line

NOW = datetime(2026, 2, 13, tzinfo=UTC)
SECOND, HALF = timedelta(seconds=1), timedelta(minutes=30)


def tried(at: datetime = NOW) -> Tries:
    """Return what an event went through whose only attempt began then."""
    attempt = Attempt(at=at, verdict=Verdict.FAILED, status=500, failure=None, took=0.1)
    return Tries(first=at, previous=at, latest=at, made=1, history=(attempt,))


def waiting() -> tuple[Parked[None], Item[None]]:
    """Return a line whose only event is under way, by an attempt that began at NOW."""
    parked = Parked[None]([Kept(Line("d=k", 1, 1), 0.0, Tried.of(1, NOW, tried()))], NOW)
    assert parked.wanted(NOW)
    parked.load("d=k", [item := Item(1, "k", None, NOW, line="d=k")])
    assert parked.ready(NOW) is item
    return parked, item


def test_an_event_that_joins_the_rows_as_it_is_resumed_is_due_once_it_is_written() -> None:
    parked, item = Parked[None]((), NOW), Item[None](1, "k", None, NOW + HALF)
    item.tries = tried()
    parked.join([item])
    change = parked.change()
    parked.hurry(NOW + SECOND)
    parked.written(change, [Line("d=k", 1, 1), Line(TOTAL)])
    assert parked.next_due() == NOW + SECOND


def test_an_event_of_the_rows_that_was_under_way_is_due_at_once_where_it_fails_and_its_schedule_is_kept() -> None:
    parked, item = waiting()
    parked.hurry(NOW + SECOND)
    parked.settle(item, Again(NOW + HALF))
    assert parked.next_due() == NOW + SECOND
    assert parked.wanted(NOW + SECOND)
    parked.load("d=k", [again := Item(1, "k", None, NOW, line="d=k")])
    assert again.early == NOW + HALF


def test_what_began_after_the_resume_stands_by_its_schedule() -> None:
    parked, item = waiting()
    parked.hurry(NOW - SECOND)
    parked.settle(item, Again(NOW + HALF))
    assert parked.next_due() == NOW + HALF


def test_the_same_holds_in_the_window() -> None:
    for resumed, due in ((NOW + SECOND, NOW + SECOND), (NOW - SECOND, NOW + HALF)):
        window, item = Window[None](1), Item[None](1, "k", None, NOW)
        assert window.admit(item)
        assert window.untried(NOW) is item
        item.tries = tried()
        window.hurry(resumed)
        window.settle(1, Again(NOW + HALF))
        assert item.due == due
