from datetime import UTC, datetime

import msgspec
import pytest

from schemas.records import CLOCKS_APART, AccountChanged
from schemas.ring.arrival import Arrival
from schemas.ring.envelope import Envelope
from workers.dispatch.accounts import Holding, Known, Version, after, news, seen
from workers.dispatch.claims import Answer, Wish, answers, first, strangers
from workers.dispatch.normalise import NOTHING, View

NOW = datetime(2026, 2, 13, tzinfo=UTC)
AT = NOW.timestamp()
CAME = Arrival(request_id="1", type=None, received_at=NOW, app="first")


def change(version: int, user: str | None = "u", *, linked: bool = True) -> AccountChanged:
    return AccountChanged(account="A", version=version, generation=1, state="completed", linked=linked, partner_user=user, at=NOW)


def version(number: int = 1, user: str | None = "u", since: float = 0.0, *, linked: bool = True) -> Version:
    return Version("A", number, "completed", linked, user, since)


CODE = 1e-6 - CLOCKS_APART  # generation 1


@pytest.mark.parametrize(
    ("before", "user", "expected"),
    [
        (None, "u", ("u", CODE)),  # the first user gets what came before the link, though not before its code
        (version(), "u", ("u", 0.0)),
        (version(), "v", ("v", AT)),  # the second one does not
        (version(), None, ("u", 0.0)),  # a removal does not forget whose events these were
        (version(user=None), "u", ("u", CODE)),
        (version(user="v", since=5.0), "v", ("v", 5.0)),
    ],
)
def test_whose_events_these_are_after_a_change(
    before: Version | None, user: str | None, expected: tuple[str | None, float]
) -> None:
    now = after(before, change(2, user))
    assert (now.partner_user, now.partner_since) == expected


def test_who_had_signed_in_and_never_became_linked_is_a_former_user_too() -> None:
    ended = AccountChanged(account="A", version=1, generation=1, state="lost", linked=False, last_partner_user="u", at=NOW)
    held = after(after(None, ended), change(2, "v"))
    assert (held.partner_user, held.partner_since) == ("v", AT)


def test_who_signed_in_for_a_grant_that_ended_gets_what_came_since_the_code_that_linked_them() -> None:
    ended = AccountChanged(account="A", version=1, generation=1, state="lost", linked=False, last_partner_user="u", at=NOW)
    held = after(after(None, ended), msgspec.structs.replace(change(2, "u"), generation=5_000_000))
    assert (held.partner_user, held.partner_since) == ("u", 5.0 - CLOCKS_APART)
    other = after(after(after(None, change(1, "v")), ended), change(3, "u"))
    assert (other.partner_user, other.partner_since) == ("u", AT)  # another was linked before


def test_an_event_from_before_the_present_users_time_names_nobody() -> None:
    held = version(user="v", since=100.0)
    assert [seen(held, at) for at in (99.9, 100.0)] == [NOTHING, View(linked=True, partner_user="v")]


def test_within_a_batch_too_only_higher_versions_count() -> None:
    known = Known([version(2)], [])
    known.change(change(1, "old news"))
    known.change(change(2, "the same again"))
    assert known.view("A", NOW) == View(linked=True, partner_user="u")
    assert (known.new_versions, known.replaced) == ([], {})
    known.change(change(3, linked=False))
    known.change(change(4, linked=False))
    assert not known.view("A", NOW).linked
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
