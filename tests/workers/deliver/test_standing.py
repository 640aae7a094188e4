"""What several copies tell of a destination, in one."""

from msgspec.structs import replace

from workers.deliver.closed import Closed
from workers.deliver.copies import Copy
from workers.deliver.resumed import Resumed
from workers.deliver.standing import summed

ONE = Copy(
    destination="alerts",
    copy="one",
    state="well",
    flying=2,
    waiting=3,
    held=5,
    behind=40,
    behind_since=7.0,
    lived_at=90.0,
    failed_at=50.0,
    failure="503",
    seen_at=100.0,
    accepted_at=85.0,
    dead=3,
    dead_at=88.0,
    next_at=170.0,
)
TWO = replace(
    ONE,
    copy="two",
    state="failing",
    behind=30,
    behind_since=8.0,
    lived_at=80.0,
    failed_at=60.0,
    failure="tls",
    seen_at=101.0,
    dead=4,
    dead_at=79.0,
    next_at=160.0,
)


def test_a_destination_is_as_well_as_its_worst_copy_and_counts_are_of_all() -> None:
    (seen,) = summed((), {}, [ONE, TWO], {})
    assert (seen.name, seen.state, seen.copies, seen.obey) == ("alerts", "failing", 2, 2)
    assert (seen.in_flight, seen.waiting, seen.held) == (4, 6, 5)
    assert (seen.behind, seen.behind_since_at) == (30, 8.0), "of the whole group, as it was measured last"
    assert (seen.accepted_at, seen.failed_at, seen.failure) == (85.0, 60.0, "tls")
    assert (seen.dead, seen.dead_at) == (7, 88.0)
    assert seen.next_at == 160.0


def test_who_is_closed_is_that_whatever_copies_see_and_one_that_sends_on_does_not_obey() -> None:
    (seen,) = summed((), {"alerts": Closed("paused", 70.0, "ada")}, [replace(ONE, state="paused"), TWO], {})
    assert (seen.state, seen.closed_at, seen.closed_by, seen.copies, seen.obey) == ("paused", 70.0, "ada", 2, 1)
    (opened,) = summed((), {}, [replace(ONE, state="paused"), replace(TWO, state="well")], {})
    assert (opened.state, opened.obey) == ("well", 1)


def test_each_that_is_configured_or_has_rows_is_told() -> None:
    seen = summed(("new",), {"old": Closed("gone", 1.0, "its answer 410")}, [ONE], {})
    assert [(one.name, one.state, one.copies) for one in seen] == [
        ("alerts", "well", 1),
        ("new", "not running", 0),
        ("old", "gone", 0),
    ]
    assert [one.state for one in summed(("new",), {}, [], {}, asked=["new", "old"])] == ["not running", "not configured"]


def test_who_has_not_heard_that_it_is_resumed_does_not_obey_yet_and_what_it_asked_for_is_told() -> None:
    waits = replace(ONE, state="throttled", quiet_until=160.0, resumed=1)
    (seen,) = summed((), {}, [waits, replace(ONE, copy="two", resumed=2)], {"alerts": Resumed(2)})
    assert (seen.state, seen.quiet_until_at, seen.obey) == ("throttled", 160.0, 1)
    (heard,) = summed((), {}, [replace(ONE, resumed=2), replace(ONE, copy="two", resumed=2)], {"alerts": Resumed(2)})
    assert (heard.state, heard.quiet_until_at, heard.obey) == ("well", None, 2)
