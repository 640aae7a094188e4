"""The life of a grant as a table: what it is, what happened, what it becomes."""

import pytest
from msgspec.structs import replace

from linker import refresh, saga
from linker.outcomes import Done, NotSent, Refused, Tokens, Unauthorised, Unclear
from linker.rows import Grant, Stage
from schemas.records import LinkState

AT = 1_771_130_906.0
TOKENS = Tokens(access=b"a", refresh=b"r", writes=1, given_at=AT, expires_at=AT + 14_400)


def received() -> Grant:
    return saga.received(code_hash="ab" * 32, code=b"sealed", app="first", stranger=False, at=AT)


def after(grant: Grant, *outcomes: object, now: float = AT + 1) -> Grant:
    """Begin and end once for each outcome."""
    for outcome in outcomes:
        begun = saga.begin(grant, now)
        assert begun.call is not None, begun
        grant = saga.end(begun.grant, outcome, now).grant  # type: ignore[arg-type]
    return grant


def unclaimed() -> Grant:
    return after(received(), Done(tokens=TOKENS), Done(account="acct"))


def claimed() -> Grant:
    return saga.claimed(unclaimed(), attempt="t1", partner_user="u1", nonce_until=AT + 600, now=AT + 2).grant


def awaiting() -> Grant:
    return after(claimed(), Done())


def test_a_link_goes_from_received_to_completed() -> None:
    assert (unclaimed().state, claimed().state, awaiting().state) == ("unclaimed", "claimed", "awaiting")
    done = after(awaiting(), Done())
    assert done.state == "completed"
    assert [name for name, _ in done.marks] == ["received", "exchanged", "unclaimed", "claimed", "awaiting", "completed"]
    assert done.code is None
    assert done.access == b"a"


def test_a_code_older_than_55_seconds_is_not_sent() -> None:
    move = saga.begin(received(), AT + 55.1)
    assert move.call is None
    assert move.grant.state == "expired"
    assert move.grant.reason is not None
    assert move.grant.reason.startswith("linker was down")
    assert move.grant.code is None
    assert saga.begin(received(), AT + 54.9).call == "exchange"


def test_a_code_whose_sending_was_begun_by_a_dead_linker_is_lost_and_never_sent_again() -> None:
    intent = saga.begin(received(), AT + 1).grant
    assert intent.stage == "exchanging"
    found = saga.begin(intent, AT + 30)
    assert (found.call, found.grant.state, found.grant.due_at) == (None, "lost", None)
    assert found.grant.code is None


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Unclear(words="timeout"), "lost"),
        (Refused(words="400 invalid_grant"), "rejected"),
        (Done(), "lost"),
    ],
)
def test_a_code_without_a_good_answer_ends_with_a_reason(outcome: object, state: str) -> None:
    ended = after(received(), outcome)
    assert ended.state == state
    assert ended.reason
    assert ended.due_at is None


def test_a_code_that_was_never_on_the_wire_is_tried_again_until_it_is_too_old() -> None:
    again = after(received(), NotSent(words="no connection"))
    assert (again.state, again.stage) == ("received", "exchange")
    assert saga.begin(again, AT + 10).call == "exchange"
    late = saga.begin(again, AT + 56).grant
    assert late.reason is not None
    assert late.reason.startswith("it could not be sent to Ring in time (no connection)")


def test_retry_after_is_obeyed() -> None:
    again = after(received(), NotSent(words="429", wait=17.0))
    assert again.due_at is not None
    assert again.due_at >= AT + 18


def test_only_users_me_is_retried_once_the_tokens_are_held() -> None:
    grant = after(received(), Done(tokens=TOKENS), Unclear(words="500"), Refused(words="404"), NotSent(words="x"))
    assert (grant.state, grant.stage, grant.access) == ("exchanged", "identify", b"a")


def test_an_unclear_post_is_followed_by_patch_and_not_by_post() -> None:
    grant = after(claimed(), Unclear(words="504"))
    assert saga.begin(grant, AT + 3).call == "patch"
    assert after(grant, Done()).state == "completed"


def test_a_post_found_begun_is_followed_by_patch() -> None:
    intent = saga.begin(claimed(), AT + 3).grant
    probe = saga.begin(intent, AT + 30).grant
    assert saga.begin(probe, AT + 30).call == "patch"


def test_a_patch_that_shows_that_the_post_never_came_lets_it_be_sent_again() -> None:
    grant = after(claimed(), Unclear(words="504"), Refused(words="404"))
    assert saga.begin(grant, AT + 3).call == "post"
    assert after(grant, Done(), Done()).state == "completed"


def test_a_repeated_post_that_is_refused_is_verified_by_patch_before_anybody_gives_up() -> None:
    grant = after(claimed(), Unclear(words="504"), Refused(words="404"), Refused(words="400 Invalid Nonce", stale=True))
    assert saga.begin(grant, AT + 3).call == "patch"
    assert after(grant, Done()).state == "completed"
    opened = after(grant, Refused(words="404"))
    assert opened.state == "unclaimed"
    assert "Invalid Nonce" in (opened.reason or "")


def test_what_a_gate_may_have_said_in_rings_place_ends_no_sign_in() -> None:
    gate = Refused(words="403 Access denied", doubtful=True)
    refused = after(claimed(), gate)
    assert (refused.state, refused.stage, refused.posts, refused.reason) == ("claimed", "post", 0, "403 Access denied")
    unheard = after(claimed(), Unclear(words="504"), gate)
    assert (unheard.state, unheard.stage, unheard.reason) == ("claimed", "probe", "504")  # and is not posted again
    assert after(unheard, Refused(words="404")).stage == "post"
    assert (
        after(unheard, Refused(words="409 Invalid Status Transition", stale=True, doubtful=True)).stage == "post"
    )  # Ring's words
    stale = Refused(words="400 Invalid Nonce", stale=True)
    asked = after(claimed(), Unclear(words="504"), Refused(words="404"), stale, gate)
    assert (asked.state, asked.stage) == ("claimed", "verify")
    assert after(asked, Done(), now=AT + 60).state == "completed"
    assert "Invalid Nonce" in (after(asked, Refused(words="404"), now=AT + 60).reason or "")


@pytest.mark.parametrize("words", ["400 Invalid Nonce", "400 Missing Required Fields", "404 Not Found"])
def test_a_refused_post_rejects_the_attempt_and_opens_the_grant_for_another(words: str) -> None:
    begun = saga.begin(claimed(), AT + 3)
    move = saga.end(begun.grant, Refused(words=words), AT + 4)
    assert move.verdict is not None
    assert move.verdict.state == "rejected"
    assert words in (move.verdict.reason or "")
    assert (move.grant.state, move.grant.attempt, move.grant.access) == ("unclaimed", None, b"a")
    again = saga.claimed(move.grant, attempt="t2", partner_user="u1", nonce_until=AT + 900, now=AT + 300).grant
    assert after(again, Done(), Done(), now=AT + 301).state == "completed"


def test_a_nonce_that_is_over_is_not_posted() -> None:
    move = saga.begin(claimed(), AT + 595)
    assert move.call is None
    assert move.verdict is not None
    assert move.verdict.state == "expired"
    assert move.grant.state == "unclaimed"


def test_patch_is_retried_for_hours_and_then_completes() -> None:
    grant, now = awaiting(), AT + 3
    for _ in range(200):
        grant = after(replace(grant, expires_at=None), Unclear(words="503"), now=now)
        assert grant.due_at is not None
        assert 0 < grant.due_at - now <= 450
        now = grant.due_at
    assert now > AT + 12 * 3600
    assert after(grant, Done(), now=now).state == "completed"


def test_patch_ends_after_thirty_days_with_a_reason() -> None:
    tried = replace(awaiting(), expires_at=None, reason="503")
    assert saga.begin(tried, AT + 600 + 30 * 86_400).call == "patch"
    move = saga.begin(tried, AT + 600 + 30 * 86_400 + 1)
    assert (move.grant.state, move.call) == ("expired", None)
    assert move.verdict is not None
    assert move.verdict.state == "expired"


@pytest.mark.parametrize("stage", ["probe", "verify", "patch"])
def test_the_thirty_days_of_a_sign_in_are_its_own_however_long_the_link_has_stood(stage: Stage) -> None:
    signed_in = AT + 400 * 86_400
    stands = replace(after(awaiting(), Done()), expires_at=signed_in + 60 * 86_400)
    told = saga.claimed(stands, attempt="t2", partner_user="u1", nonce_until=signed_in + 600, now=signed_in).grant
    assert saga.begin(told, signed_in).call == "post"
    tried = replace(told, stage=stage, posts=1)
    assert saga.begin(tried, signed_in + 30 * 86_400).call == "patch"
    over = saga.begin(tried, signed_in + 600 + 30 * 86_400 + 1)
    assert (over.grant.state, over.grant.stage, over.verdict and over.verdict.state) == ("completed", "rest", "expired")
    assert "(None)" not in ((over.verdict and over.verdict.reason) or "")


def test_a_transition_refused_after_a_patch_without_an_answer_means_completed() -> None:
    stale = Refused(words="400 Invalid Status Transition", stale=True)
    assert after(awaiting(), Unclear(words="timeout"), stale).state == "completed"
    assert after(replace(awaiting(), begun=2), stale).state == "completed"
    assert after(replace(awaiting(), begun=1), stale).state == "awaiting"


@pytest.mark.parametrize("told_again", [False, True])
def test_a_transition_refused_after_the_nonces_end_opens_the_grant_for_a_fresh_one(told_again: bool) -> None:  # noqa: FBT001
    grant = replace(awaiting(), state="completed" if told_again else "awaiting")
    stale = Refused(words="400 Invalid Status Transition", stale=True)
    assert after(grant, stale, now=AT + 589).stage == "post"
    move = saga.end(saga.begin(grant, AT + 591).grant, stale, AT + 591)
    assert (move.verdict and move.verdict.state, move.grant.nonce_until) == ("expired", None)
    assert (move.grant.state, move.grant.stage) == (("completed", "rest") if told_again else ("unclaimed", "wait"))
    assert ((move.verdict and move.verdict.reason) or "").endswith(saga.TAP)
    again = saga.claimed(move.grant, attempt="t2", partner_user="u1", nonce_until=AT + 1_300, now=AT + 700).grant
    assert after(again, Done(), Done(), now=AT + 701).state == "completed"


def test_another_refusal_after_the_nonces_end_is_no_proof_that_ring_does_not_wait_for_the_patch() -> None:
    grant = after(awaiting(), Refused(words="404"), Refused(words="403"), now=AT + 700)
    assert (grant.state, grant.stage, grant.tries) == ("awaiting", "patch", 2)
    assert after(grant, Done(), now=AT + 5_000).state == "completed"


def test_a_401_renews_the_tokens_once_and_goes_on_where_it_was() -> None:
    grant = after(awaiting(), Unauthorised(words="401"))
    assert saga.begin(grant, AT + 5).call == "refresh"
    renewed = after(grant, Done(tokens=replace(TOKENS, access=b"a2", writes=2)))
    assert (renewed.stage, renewed.access, renewed.writes) == ("patch", b"a2", 2)
    assert after(renewed, Done()).state == "completed"


def renewed_and_refused() -> Grant:
    tokens = replace(TOKENS, access=b"a2", writes=2)
    return after(awaiting(), Unauthorised(words="401"), Done(tokens=tokens), Unauthorised(words="401"))


def test_new_tokens_that_ring_refuses_are_tried_again_and_not_renewed_and_end_the_grant_after_an_hour() -> None:
    grant = renewed_and_refused()
    assert (grant.state, grant.stage, grant.tries, saga.begin(grant, AT + 60).call) == ("awaiting", "patch", 1, "patch")
    assert after(grant, Done(), now=AT + 60).state == "completed"
    still = after(grant, *[Unauthorised(words="401")] * 9, now=AT + refresh.UNTAKEN - 60)
    assert (still.state, still.tries) == ("awaiting", 10)
    lost = after(still, Unauthorised(words="401"), now=AT + refresh.UNTAKEN + 60)
    assert (lost.state, lost.risk, lost.access, lost.refresh) == ("lost", "lost_unaccepted", None, None)


def test_an_hour_in_which_nobody_asked_ends_no_grant() -> None:
    grant = after(renewed_and_refused(), Unauthorised(words="401"), now=AT + 2 * refresh.UNTAKEN)
    assert (grant.state, grant.stage, grant.tries) == ("awaiting", "patch", 2)


@pytest.mark.parametrize(("written", "used"), [(0.0, 0.0), (2.0, 2.0), (0.0, 2.0)])
def test_new_tokens_have_their_hour_from_the_first_refusal(written: float, used: float) -> None:
    """The store may have been away before they were written, and the linker after it."""
    tokens = replace(TOKENS, access=b"a2", writes=2, given_at=AT)
    renewing = saga.begin(after(awaiting(), Unauthorised(words="401")), AT).grant
    grant = saga.end(renewing, Done(tokens=tokens), AT + written * refresh.UNTAKEN).grant
    began = AT + used * refresh.UNTAKEN + 60
    for minutes in (0, 1, 2, 3, 5, 10, 20, 40, 59):
        grant = after(grant, Unauthorised(words="401"), now=began + minutes * 60)
        assert (grant.state, grant.stage, grant.tries > 0) == ("awaiting", "patch", True)
    assert after(grant, Unauthorised(words="401"), now=began + refresh.UNTAKEN).risk == "lost_unaccepted"


def test_an_hour_of_refusals_begins_anew_with_other_words_of_ring_and_with_other_tokens() -> None:
    refused = renewed_and_refused()
    assert refused.untaken_at == AT + 1
    assert after(refused, Unclear(words="503")).untaken_at is None
    wanted = refresh.wanted(refused, AT + 2)
    assert wanted is not None
    renewed = after(wanted.grant, Done(tokens=replace(TOKENS, access=b"a3", writes=3)), now=AT + 2)
    assert (renewed.stage, renewed.access, renewed.untaken_at) == ("patch", b"a3", None)


def test_new_tokens_that_ended_while_ring_refused_them_are_renewed_once_more() -> None:
    grant = replace(renewed_and_refused(), expires_at=AT + 300)
    refused = after(grant, Unauthorised(words="401"), now=AT + 2 * refresh.UNTAKEN)
    assert (refused.state, refused.stage) == ("awaiting", "patch")
    assert saga.begin(refused, AT + 2 * refresh.UNTAKEN + 600).grant.stage == "refresh"


def test_a_401_long_after_a_renewal_renews_again() -> None:
    grant = after(awaiting(), Unauthorised(words="401"), Done(tokens=TOKENS), Unclear(words="503"), Unauthorised(words="401"))
    assert saga.begin(grant, AT + 5).call == "refresh"


def test_an_expired_access_token_is_renewed_before_it_is_used() -> None:
    move = saga.begin(claimed_late(), AT + 20_000)
    assert move.grant.stage == "refresh"
    renewed = after(move.grant, Done(tokens=replace(TOKENS, expires_at=AT + 40_000)), now=AT + 20_000)
    assert saga.begin(renewed, AT + 20_000).call == "post"


def claimed_late() -> Grant:
    return saga.claimed(unclaimed(), attempt="t1", partner_user="u1", nonce_until=AT + 20_600, now=AT + 20_000).grant


@pytest.mark.parametrize(
    ("state", "told", "learns"),
    [
        ("claimed", None, "received"),  # tokens that Ring never took since the user signed in: of an older connection, maybe
        ("claimed", AT - 1, "received"),  # removed before that: the user has connected anew
        ("claimed", AT + 1, "removed"),  # removed after it
        ("awaiting", None, "lost"),  # Ring took them since: the sign-in was this grant's
        ("awaiting", AT + 1, "removed"),
    ],
)
def test_a_sign_in_looks_on_where_the_dead_grant_may_not_be_the_one_it_was_meant_for(
    state: LinkState, told: float | None, learns: LinkState
) -> None:
    grant = replace(awaiting(), state=state, stage="refreshing", resume="post", nonce_until=AT + 600, withdrawn_at=told, begun=1)
    move = saga.end(grant, Refused(words="400 invalid_grant"), AT + 60)
    assert move.grant.state == ("lost" if told is None else "removed")
    assert move.verdict is not None
    assert move.verdict.state == learns


def test_a_refused_refresh_loses_the_grant_and_an_unclear_one_is_tried_again() -> None:
    grant = after(awaiting(), Unauthorised(words="401"))
    again = after(grant, Unclear(words="timeout"))
    assert saga.begin(again, AT + 60).call == "refresh"
    begun = saga.begin(again, AT + 60).grant
    move = saga.end(begun, Refused(words="400 invalid_grant"), AT + 60)
    assert (move.grant.state, move.verdict and move.verdict.state) == ("lost", "lost")


def test_nobody_signs_in_for_thirty_days() -> None:
    assert unclaimed().due_at is not None
    assert saga.begin(unclaimed(), AT + 30 * 86_400).grant.state == "unclaimed"
    gone = saga.begin(unclaimed(), AT + 1 + 30 * 86_400).grant
    assert (gone.state, gone.access, gone.refresh, gone.due_at) == ("expired", None, None, None)
    assert "nobody signed in within 30 days" in (gone.reason or "")


def test_who_is_told_late_to_tap_again_finds_the_grant_still_there() -> None:
    late = AT + 30 * 86_400 - 300
    signed_in = saga.claimed(unclaimed(), attempt="t1", partner_user="u1", nonce_until=late + 600, now=late).grant
    opened = saga.unclaimed(signed_in, saga.Verdict("rejected", "Ring refused"), late + 301).grant
    kept = replace(opened, tokens_at=late + 600)
    assert saga.begin(kept, late + 600).grant.state == "unclaimed"
    assert saga.begin(kept, late + 301 + 30 * 86_400).grant.state == "expired"


def test_removal_applies_only_to_codes_that_came_before_it() -> None:
    done = after(awaiting(), Done())
    assert saga.withdrawn(done, AT - 1, AT + 100).grant == done
    doubted = saga.begin(saga.withdrawn(done, AT + 50, AT + 100).grant, AT + 100).grant
    assert saga.begin(doubted, AT + 100).call == "devices"
    gone = saga.end(doubted, Unauthorised(words="401"), AT + 100).grant
    assert (gone.state, gone.access, gone.refresh, gone.due_at) == ("removed", None, None, None)
    assert gone.reason


def test_tokens_that_come_after_the_code_was_given_up_are_kept() -> None:
    lost = saga.begin(saga.begin(received(), AT).grant, AT + 30).grant
    move = saga.rescued(lost, TOKENS, AT + 31)
    assert move is not None
    assert (move.grant.state, move.grant.stage, move.grant.access) == ("exchanged", "identify", b"a")
    assert saga.rescued(move.grant, TOKENS, AT + 32) is None


def test_tokens_renewed_while_the_sign_in_was_contested_are_kept() -> None:
    grant = saga.begin(after(awaiting(), Unauthorised(words="401")), AT + 5).grant
    opened = saga.unclaimed(grant, saga.Verdict("contested", "two users"), AT + 6).grant
    answer = Done(tokens=replace(TOKENS, access=b"a2", writes=2))
    move = saga.late(grant, opened, answer, AT + 7)
    assert move is not None
    assert (move.grant.state, move.grant.stage, move.grant.access) == ("unclaimed", "wait", b"a2")
    assert saga.late(grant, saga.removed(opened, "gone", AT + 7).grant, answer, AT + 8) is None


def test_a_postponed_call_counts_nothing() -> None:
    grant = replace(claimed(), begun=1)
    move = saga.postponed(grant, 0.2, AT + 5)
    assert (move.grant.stage, move.grant.posts, move.grant.begun, move.grant.due_at) == ("post", 0, 0, AT + 5.2)
