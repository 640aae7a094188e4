from datetime import UTC, datetime

import msgspec
import pytest

from schemas.records import AccountChanged
from schemas.ring.arrival import Arrival
from schemas.ring.envelope import Envelope
from workers.dispatch.accounts import APART_S, Holding, Known, Version, after, news, seen
from workers.dispatch.claims import Answer, Wish, answers, first, strangers
from workers.dispatch.normalise import NOTHING, View

NOW = datetime(2026, 2, 13, tzinfo=UTC)
AT = NOW.timestamp()
CAME = Arrival(request_id="1", type=None, received_at=NOW, app="first")


def change(version: int, user: str | None = "u", *, linked: bool = True) -> AccountChanged:
    return AccountChanged(account="A", version=version, generation=1, state="completed", linked=linked, partner_user=user, at=NOW)


def version(number: int = 1, user: str | None = "u", since: float = 0.0, *, linked: bool = True) -> Version:
    return Version("A", number, "completed", linked, user, since)


@pytest.mark.parametrize(
    ("before", "user", "since", "expected"),
    [
        (None, "u", 5.0, ("u", 5.0)),  # the linker knows since when
        (version(), "u", 5.0, ("u", 5.0)),
        (version(since=5.0), "u", None, ("u", 5.0)),  # an earlier version's record: nobody else was there in between
        (version(), "v", None, ("v", AT)),  # and where somebody was, from now on
        (version(since=5.0), None, None, ("u", 5.0)),  # a removal does not forget whose events these were
    ],
)
def test_whose_events_these_are_after_a_change(
    before: Version | None, user: str | None, since: float | None, expected: tuple[str | None, float]
) -> None:
    at = datetime.fromtimestamp(since, UTC) if since else None
    now = after(before, msgspec.structs.replace(change(2, user, linked=user is not None), since=at))
    assert (now.partner_user, now.partner_since) == expected


def test_an_event_from_before_the_present_users_time_names_nobody() -> None:
    held = version(user="v", since=100.0)
    theirs = View(linked=True, partner_user="v")
    assert [seen(held, at, at) for at in (99.9, 100.0)] == [NOTHING, theirs]
    sent_again = [seen(held, 4_000.0, at) for at in (100 - APART_S - 0.1, 100 - APART_S)]
    assert sent_again == [NOTHING, theirs], "and one that happened before it neither, however late it comes"


def test_within_a_batch_too_only_higher_versions_count() -> None:
    known = Known([version(2)], [])
    known.change(change(1, "old news"))
    known.change(change(2, "the same again"))
    assert known.view("A", NOW, NOW) == View(linked=True, partner_user="u")
    assert (known.new_versions, known.replaced) == ([], {})
    known.change(change(3, linked=False))
    known.change(change(4, linked=False))
    assert not known.view("A", NOW, NOW).linked
    assert ([new.version for new in known.new_versions], known.replaced) == ([3, 4], {"A": 2})


@pytest.mark.parametrize(
    ("before", "held", "at", "expected"),
    [
        (None, True, 1.0, True),
        (None, False, 1.0, True),
        (True, True, 9.0, False),
        (True, False, 9.0, True),
        (True, False, 4.0, False),  # a removal that came late
        (False, True, 9.0, True),  # added again
        (False, True, 4.0, False),  # an event that came late
    ],
)
def test_what_an_event_tells_of_a_device(before: bool | None, held: bool, at: float, expected: bool) -> None:  # noqa: FBT001 - a table
    past = None if before is None else Holding("D", "A", before, 5.0, "first")
    assert news(past, Holding("D", "A", held, at, "first")) is expected


def test_a_device_seen_earlier_in_the_batch_is_known_and_written_once() -> None:
    known = Known([version()], [])
    for kind in ("motion_detected", "button_press"):
        known.see(Envelope(request_id="1", type=kind, recognised=True, account="A", device="D", time=NOW), CAME)
    assert known.owner("D") == "A"
    assert known.owner(None) is None
    assert known.new_holdings == [Holding("D", "A", held=True, at=AT, app="first")]


def test_ids_are_answered_in_order_and_asked_for_in_the_order_of_names() -> None:
    wishes = [Wish("2", "x"), Wish("1", "x"), Wish("2", "x"), Wish("2", "y"), Wish("3", "x"), Wish("2", "y")]
    assert [*first(wishes).items()] == [("1", "x"), ("2", "x"), ("3", "x")]
    holders = {"1": "x", "2": "x", "3": "x"}
    assert strangers(wishes, holders) == [Wish("2~y", "y")]
    assert answers(wishes, holders, {"1", "2", "2~y"}) == [
        Answer("2", "published"),
        Answer("1", "published"),
        Answer("2", "duplicate"),
        Answer("2~y", "suffixed"),
        Answer("3", "duplicate"),
        Answer("2~y", "duplicate"),
    ]
