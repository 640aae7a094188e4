"""What a process knows to be finished outlives a session, until the bus says that it knows."""

from datetime import UTC, datetime, timedelta

import pytest

from workers.bus.contract import Held
from workers.deliver.finished import BOUND, Finished, Known, is_reset
from workers.deliver.policy import Bury, Done

THEN = datetime(2026, 2, 13, 14, tzinfo=UTC)


def held(offset: int, time: datetime = THEN) -> Held:
    return Held(topic="event.recorded", key=b"", value=b"", index=0, offset=offset, time=time)


def begun(at: Known) -> Finished:
    finished = Finished()
    finished.begin(at)
    return finished


def test_a_session_does_not_ask_for_what_it_finished_itself_and_the_next_one_does() -> None:
    finished = begun(Known(3, 1))
    finished.add(held(3), Done())
    finished.add(held(5), Bury("refused"))
    assert finished.fate(held(3)) is None
    finished.begin(Known(3, 1))
    assert [finished.fate(held(offset)) for offset in (3, 4, 5)] == [Done(), None, Bury("refused")]


def test_it_is_known_over_any_number_of_sessions_that_tell_nothing() -> None:
    finished = begun(Known(0, None))
    finished.add(held(0), Done())
    for _ in range(3):
        finished.begin(Known(0, None))
        finished.add(held(1), Done())
    finished.begin(Known(0, None))
    assert finished.fate(held(0)) == finished.fate(held(1)) == Done()


def test_what_a_commit_told_is_forgotten_and_nothing_else() -> None:
    finished = begun(Known(0, None))
    finished.add(held(0), Done())
    untold = finished.untold()
    finished.add(held(1), Done())
    finished.told(untold, Known(1, 0))
    finished.begin(Known(1, 0))
    assert (finished.fate(held(0)), finished.fate(held(1))) == (None, Done())


def test_an_offset_of_a_topic_that_was_made_anew_is_another_event() -> None:
    finished = begun(Known(0, None))
    finished.add(held(0), Done())
    finished.begin(Known(0, None))
    assert finished.fate(held(0, THEN + timedelta(milliseconds=1))) is None


def test_it_is_bounded_and_the_latest_are_kept() -> None:
    finished = begun(Known(0, None))
    for offset in range(BOUND + 1):
        finished.add(held(offset), Done())
    finished.begin(Known(0, None))
    assert finished.fate(held(0)) is None
    assert finished.fate(held(1)) == finished.fate(held(BOUND)) == Done()


@pytest.mark.parametrize(
    ("known", "found", "reset"),
    [
        (Known(5, None), Known(5, None), False),  # a new group: nothing was committed since
        (Known(5, 2), Known(5, 2), False),
        (Known(5, 2), Known(9, 3), False),  # the commit of unknown outcome came through, or another owner's
        (Known(5, None), Known(7, 0), False),
        (Known(5, 2), Known(4, 2), True),
        (Known(5, 2), Known(5, None), True),  # the tool wipes the note
        (Known(5, 2), Known(6, None), True),
        (Known(5, None), Known(6, None), True),
    ],
)
def test_a_reset_is_told_from_a_commit(known: Known, found: Known, reset: bool) -> None:  # noqa: FBT001
    assert is_reset(known, found) is reset
    finished = begun(known)
    finished.add(held(8), Done())
    finished.begin(found)
    assert (finished.fate(held(8)) is None) is reset


def test_what_another_noted_is_passed_over_too() -> None:
    other = begun(Known(3, 1))
    other.add(held(3), Done())
    other.add(held(7), Bury("refused"))
    finished = Finished()
    finished.begin(Known(3, 1), other.left())
    assert [finished.fate(held(offset)) for offset in (3, 4, 7)] == [Done(), None, Bury("refused")]
    assert finished.left() == []  # the store has it


def test_what_the_store_has_is_not_noted_again_but_what_came_since() -> None:
    finished = begun(Known(0, None))
    finished.add(held(0), Done())
    finished.noted(finished.left())
    finished.add(held(1), Done())
    assert [one.offset for one in finished.left()] == [1]
    finished.begin(Known(0, None))
    finished.add(held(0), Done())
    assert [one.offset for one in finished.left()] == [0]  # another session's: who knows what became of the rows


def test_what_a_commit_tells_after_all_need_not_be_noted_any_more() -> None:
    finished = begun(Known(0, None))
    finished.add(held(0), Done())
    finished.noted(finished.left())
    finished.add(held(1), Done())
    finished.told(finished.untold(), Known(2, 0))
    assert (finished.over, finished.left()) == ({0}, [])


def test_the_latest_that_another_noted_are_kept_beside_a_full_memory_of_old_ones() -> None:
    finished = begun(Known(0, None))
    for offset in range(BOUND):
        finished.add(held(offset), Done())
    other = begun(Known(0, None))
    for offset in range(BOUND, BOUND + 50):
        other.add(held(offset), Done())
    finished.begin(Known(0, None), other.left())
    assert all(finished.fate(held(offset)) for offset in range(50, BOUND + 50))
    assert finished.fate(held(49)) is None


def test_what_the_bus_knows_by_now_takes_no_memory_unless_it_may_wait_in_rows() -> None:
    for rows in (True, False):
        finished = begun(Known(0, None))
        for offset in range(9):
            finished.add(held(offset), Done())
        finished.begin(Known(7, 3), rows=rows)
        assert [bool(finished.fate(held(offset))) for offset in (6, 7)] == [rows, True]


def test_what_a_commit_told_is_not_noted() -> None:
    finished = begun(Known(0, None))
    finished.add(held(0), Done())
    finished.told(finished.untold(), Known(1, 0))
    finished.add(held(1), Done())
    assert [(one.offset, one.known) for one in finished.left()] == [(1, Known(1, 0))]
