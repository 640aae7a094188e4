"""A sign-in and its grant, as tables."""

from typing import Any

import pytest
from msgspec.structs import replace

from ingress.link.words import spoken
from linker import claims, saga, view
from linker.mishap import Mishap
from linker.rows import Account, Attempt, Grant, Stage
from schemas.records import CLOCKS_APART, LinkState

AT = 1_771_130_906.0


def attempt(name: str = "t1", user: str = "u1") -> Attempt:
    return claims.requested(attempt=name, nonce_hash="n", secret=b"s", time=str(int(AT * 1000)), partner_user=user, at=AT + 5)


def grant(state: LinkState, at: float = AT, user: str | None = None, stage: Stage = "rest") -> Grant:
    return Grant(
        app="first",
        code_hash=f"{int(at):064x}",
        received_at=at,
        generation=round(at * 1e6),
        state=state,
        stage=stage,
        due_at=None,
        account="acct",
        partner_user=user,
        attempt="t0" if user else None,
    )


def test_two_users_with_one_nonce_are_both_refused() -> None:
    first, second = claims.collided(attempt(), attempt("t2", "u2"), AT + 6)
    assert (first.state, second.state) == ("contested", "contested")
    assert first.secret is second.secret is None
    assert first.reason == second.reason == claims.CONTESTED


def test_the_same_user_twice_follows_the_first_attempt() -> None:
    first, second = claims.collided(attempt(), attempt("t2"), AT + 6)
    assert (first, second.follows, second.due_at, second.nonce_hash) == (attempt(), "t1", None, None)


def test_a_nonce_that_has_linked_a_user_links_no_other() -> None:
    done = claims.learned(attempt(), saga.Verdict("completed"), AT + 6)
    first, second = claims.collided(done, attempt("t2", "u2"), AT + 7)
    assert first.state == "completed"
    assert second.state == "rejected"
    assert "another user" in (second.reason or "")


def test_a_third_user_does_not_touch_what_is_contested_already() -> None:
    first, _ = claims.collided(attempt(), attempt("t2", "u2"), AT + 6)
    again, third = claims.collided(first, attempt("t3", "u3"), AT + 7)
    assert again == first
    assert third.state == "contested"


def test_an_attempt_waits_for_its_grant_until_its_window_ends() -> None:
    waiting = claims.unmatched(attempt(), AT + 5, AT + 5)
    assert waiting.due_at == AT + 6
    assert claims.overdue(waiting, AT + 600) is None
    over = claims.overdue(waiting, AT + 600.1)
    assert over is not None
    assert over.state == "expired"
    assert (over.reason or "").startswith("Ring did not let us know this account within")
    assert over.secret is None


@pytest.mark.parametrize("looked", [True, False])
def test_an_attempt_that_met_no_grant_names_both_remedies_in_the_users_words(looked: bool) -> None:  # noqa: FBT001
    over = claims.overdue(claims.unmatched(attempt(), AT + 5, AT + 5) if looked else attempt(), AT + 700)
    _, words, warning, _ = spoken("expired", over and over.reason)
    assert warning is None
    assert words.endswith(
        "tap Sign In in the Ring app again; if that does not help, remove the app in the Ring app and connect it again."
    )
    assert (words.count("Sign In"), words.count("connect it again")) == (1, 1)
    assert not {"code", "nonce", "linker", "grant"} & set(words.lower().split())


def test_an_attempt_whose_grant_is_there_is_told_to_tap_alone() -> None:
    met = claims.unmatched(replace(attempt(), grant="g"), AT + 5, AT + 5)
    over = claims.overdue(met, AT + 700)
    assert over is not None
    assert (over.reason or "").endswith(saga.TAP)


def test_what_was_guessed_while_no_grant_was_known_is_dropped_when_one_is_met() -> None:
    mishap = Mishap(received_at=AT, state="lost")
    guessed = claims.unmatched(attempt(), AT + 5, AT + 5, mishap)
    assert (guessed.reason or "").startswith("a connection begun at")
    assert claims.unmatched(guessed, AT + 6, AT + 6).reason is None, "its code was not lost after all"
    met, _ = claims.matched(guessed, grant("awaiting", user="u9"), AT + 7)
    assert (met.state, met.reason) == ("received", None)
    own = replace(met, reason="what became of its own grant")
    assert claims.unmatched(own, AT + 8, AT + 8, mishap).reason == own.reason
    assert claims.matched(own, grant("awaiting", user="u9"), AT + 9)[0].reason == own.reason


def test_an_attempt_nobody_looked_at_in_time_says_that_it_was_us() -> None:
    over = claims.overdue(attempt(), AT + 700)
    assert over is not None
    assert (over.reason or "").startswith("our side did not get to it")


@pytest.mark.parametrize(
    ("found", "state", "moves"),
    [
        (grant("unclaimed"), "claimed", True),
        (grant("claimed", user="u1"), "received", False),
        (grant("awaiting", user="u9"), "received", False),
        (grant("completed", user="u1"), "claimed", True),
        (replace(grant("completed", user="u1"), nonce_until=AT + 600), "received", False),
        (grant("completed", user="u9"), "received", False),  # a code of its own may be under way
    ],
)
def test_what_a_nonce_that_names_a_grant_leads_to(found: Grant, state: str, moves: bool) -> None:  # noqa: FBT001 - a table
    after, move = claims.matched(attempt(), found, AT + 5)
    assert after.state == state
    assert (move is not None) == moves
    assert after.grant == found.code_hash


def test_where_a_code_would_have_come_long_ago_an_account_of_another_user_is_refused() -> None:
    found = grant("completed", user="u9")
    waits, _ = claims.matched(attempt(), found, AT + claims.OWN_CODE - 1)
    over, move = claims.matched(waits, found, AT + claims.OWN_CODE)
    assert (waits.state, over.state, move) == ("received", "rejected", None)
    assert "already linked to another user" in (over.reason or "")


@pytest.mark.parametrize(("removed_at", "moves"), [(AT - 1, False), (AT + 1, True), (None, True)])
def test_a_grant_whose_removal_was_told_before_the_sign_in_waits_for_that_of_the_new_code(
    removed_at: float | None,
    moves: bool,  # noqa: FBT001 - a table
) -> None:
    found = replace(grant("unclaimed"), withdrawn_at=removed_at)
    waits, move = claims.matched(attempt(), found, AT + claims.OWN_CODE - 1)
    assert (waits.state == "claimed", move is not None) == (moves, moves)
    late, move = claims.matched(attempt(), found, AT + claims.OWN_CODE)
    assert (late.state, move is not None) == ("claimed", True)  # no new code came: what is there may be good


def test_the_newest_completed_grant_serves_and_replaces_the_older() -> None:
    old, new = grant("completed", AT, "u1"), grant("awaiting", AT + 100, "u2")
    assert view.serving([old, new]) == old
    assert view.replaced([old, new]) == []
    done = grant("completed", AT + 100, "u2")
    assert view.serving([old, done]) == done
    assert view.replaced([old, done, grant("lost", AT - 5)]) == [old]


@pytest.mark.parametrize(
    ("change", "takes_over"),
    [
        ({}, True),
        ({"state": "claimed"}, False),  # another sign-in's
        ({"state": "lost", "stage": "rest"}, False),
        ({"stage": "refreshing"}, False),
        ({"risk": "unanswered"}, False),
        ({"withdrawn_at": AT + 40}, False),
        ({"app": "next"}, False),  # Ring's integration is one for each app
        ({"generation": round((AT - 1) * 1e6)}, False),
        ({"received_at": AT + 31}, False),  # of a connection that the sign-in was not for
    ],
)
def test_whose_tokens_serve_that_were_only_slow(change: dict[str, Any], takes_over: bool) -> None:  # noqa: FBT001 - a table
    link = replace(grant("completed", user="u1"), completed_at=AT + 60)
    newer = replace(grant("unclaimed", AT + 20, stage="wait"), **change)
    assert (view.heir([link, newer], link, AT + 30) == newer) is takes_over
    assert view.heir([link, newer], replace(link, completed_at=AT + 10), AT + 30) is None  # it was pending at Ring since


def test_an_account_is_linked_by_its_serving_generation_only() -> None:
    first = view.seen(Account(account="acct"), [grant("unclaimed")], AT)
    assert (first.version, first.linked, first.state, first.partner_user) == (1, False, "unclaimed", None)
    linked = view.seen(first, [grant("completed", AT, "u1"), grant("awaiting", AT + 9, "u2")], AT + 9)
    assert (linked.version, linked.linked, linked.partner_user, linked.generation) == (2, True, "u1", round(AT * 1e6))
    assert view.seen(linked, [grant("completed", AT, "u1"), grant("claimed", AT + 9, "u2")], AT + 10) == linked
    gone = view.seen(linked, [grant("removed", AT, "u1")], AT + 11)
    assert (gone.version, gone.linked, gone.user, gone.last_user) == (3, False, None, "u1")
    other = view.seen(gone, [grant("unclaimed", AT - 5), grant("removed", AT, "u1")], AT + 12)  # of another app
    assert (other.state, other.last_user) == ("unclaimed", "u1")
    signed_in = view.seen(Account(account="acct"), [grant("unclaimed", AT - 5), grant("lost", AT, "u2")], AT)
    assert (signed_in.state, signed_in.last_user) == ("unclaimed", "u2")
    anew = view.seen(gone, [grant("lost", AT, "u1"), grant("lost", AT + 20)], AT + 30)  # a code that nobody signed in for
    assert anew.last_user == "u1"


def test_an_account_stands_as_the_grant_that_ended_last_whatever_a_sign_in_came_to_before_or_a_removal_said_after() -> None:
    def over(at: float, user: str, *marks: tuple[LinkState, float]) -> Grant:
        return replace(grant(marks[-1][0], at, user), marks=(("completed", at), *marks))

    late = over(AT, "u1", ("lost", AT + 10), ("removed", AT + 90))
    refused_first = over(AT + 5, "u2", ("rejected", AT + 6), ("expired", AT + 20))
    assert view.ended_last([late, refused_first]) == refused_first
    assert view.ended_last([late, over(AT - 5, "u2", ("rejected", AT + 1), ("removed", AT + 11))]) != late
    assert view.ended_last([late, over(AT - 5, "u2", ("rejected", AT + 1), ("removed", AT + 9))]) == late
    account = view.seen(Account(account="acct"), [refused_first, late], AT + 90)
    assert (account.state, account.last_user) == ("expired", "u2")


def test_a_loss_of_the_link_that_served_outlives_whatever_nobody_signed_in_for() -> None:
    lost = replace(
        grant("lost", AT, "u1"), completed_at=AT + 1, risk="lost_refused", marks=(("completed", AT + 1), ("lost", AT + 9))
    )
    serving = replace(lost, state="completed", risk=None, marks=lost.marks[:1])
    newer = replace(grant("unclaimed", AT + 5), due_at=AT + 5)
    linked = view.seen(view.seen(Account(account="acct"), [serving], AT + 1), [serving, newer], AT + 5)
    assert (linked.linked, linked.risk) == (True, None)
    told = view.seen(linked, [lost, newer], AT + 9)
    assert (told.state, told.linked, told.risk, told.last_user) == ("unclaimed", False, "lost_refused", "u1")
    over = view.seen(told, [lost, replace(newer, state="expired", marks=(("expired", AT + 90),))], AT + 90)
    assert (over.state, over.risk, over.last_user) == ("expired", "lost_refused", "u1")
    explained = view.seen(told, [replace(lost, state="removed", risk=None), newer], AT + 20)
    assert (explained.state, explained.risk, explained.version) == ("unclaimed", None, told.version + 1)
    assert view.seen(told, [replace(newer, state="removed", marks=(("removed", AT + 30),)), lost], AT + 30).risk is None
    back = view.seen(told, [lost, replace(newer, state="completed", completed_at=AT + 40, partner_user="u1")], AT + 40)
    assert (back.linked, back.risk) == (True, None)


def test_a_loss_of_which_only_the_bus_knew_stays_until_a_link_serves() -> None:
    known = Account(account="acct", state="lost", generation=7, risk="lost_restored", partner_user="u1")
    told = view.seen(known, [newer := grant("unclaimed")], AT)
    assert (told.state, told.risk, told.last_user) == ("unclaimed", "lost_restored", "u1")
    assert view.seen(told, [replace(newer, state="completed", completed_at=AT + 1, partner_user="u1")], AT + 1).risk is None


def test_since_when_events_are_a_users_is_known_by_all_who_ever_signed_in() -> None:
    def linked(before: Account, *grants: Grant, at: float) -> Account:
        return view.seen(before, grants, at)

    def done(at: float, user: str, state: LinkState = "completed") -> Grant:
        return replace(grant(state, at, user), completed_at=at + 1, marks=(("claimed", at + 1), (state, at + 1)))

    nobody, code = Account(account="acct"), AT - CLOCKS_APART
    first = linked(nobody, done(AT, "u1"), at=AT + 1)
    assert first.since == code  # a first user: from the code of the link on
    assert linked(first, done(AT, "u1"), done(AT + 50, "u1"), at=AT + 51).since == code  # and a link of their own goes on
    assert linked(first, done(AT, "u1"), done(AT + 50, "u2"), at=AT + 51).since == AT + 51
    gone = view.seen(first, [done(AT, "u1", "removed")], AT + 20)
    back = linked(gone, done(AT, "u1", "removed"), done(AT + 50, "u1"), at=AT + 51)
    assert back.since == code  # nobody else was there in between
    other = replace(grant("removed", AT + 30, "u2"), marks=(("claimed", AT + 31), ("removed", AT + 51)))
    assert linked(gone, done(AT, "u1", "removed"), other, done(AT + 50, "u1"), at=AT + 51).since == AT + 51
    dead = replace(grant("lost", AT, "u1"), marks=(("claimed", AT + 1), ("lost", AT + 2)))
    signed = view.seen(nobody, [dead], AT + 2)
    assert linked(signed, dead, done(AT + 50, "u1"), at=AT + 51).since == AT + 50 - CLOCKS_APART
    assert linked(signed, dead, done(AT + 50, "u2"), at=AT + 51).since == AT + 51
