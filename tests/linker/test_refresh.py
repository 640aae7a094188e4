"""When tokens are renewed, and what becomes of a renewal, as a table."""

import pytest
from msgspec.structs import replace

from linker import refresh, saga
from linker.outcomes import Done, NotSent, Outcome, Refused, Tokens, Unauthorised, Unclear
from linker.rows import ASIDE, FRESHENED, WANTED, Grant, Stage
from linker.saga import Verdict

AT = 1_771_130_906.0
DAY = 86_400.0


def tokens(write: int = 2, now: float = AT) -> Tokens:
    return Tokens(access=b"a%d" % write, refresh=b"r%d" % write, writes=write, given_at=now, expires_at=now + 14_400)


def resting(**changes: object) -> Grant:
    """A completed grant whose tokens came at AT."""
    plain = Grant(
        app="first",
        code_hash="ab" * 32,
        received_at=AT,
        generation=1,
        state="completed",
        stage="rest",
        due_at=AT,
        queue=ASIDE,
        account="acct",
        access=b"a1",
        refresh=b"r1",
        writes=1,
        expires_at=AT + 14_400,
        tokens_at=AT,
        completed_at=AT,
        reason=None,
    )
    return replace(plain, **changes)


def renewing(now: float, **changes: object) -> Grant:
    move = saga.begin(resting(**changes), now)
    assert move.call == "refresh"
    return move.grant


def test_tokens_at_rest_are_renewed_within_a_day_and_not_before_three_quarters_of_it() -> None:
    dues = {refresh.due(resting(code_hash=f"{number * 2**24:08x}" + "0" * 56)) or 0.0 for number in range(200)}
    assert AT + 0.75 * DAY <= min(dues) < max(dues) <= AT + DAY
    assert len(dues) == 200


def test_a_grant_without_a_refresh_token_is_lost_when_its_access_token_ends() -> None:
    grant = resting(refresh=None)
    assert refresh.due(grant) == AT + 14_400
    asked = saga.begin(grant, AT + 14_400)
    assert asked.call == "refresh"
    gone = saga.end(asked.grant, Refused(words="this grant holds no refresh token"), AT + 14_400).grant
    assert (gone.state, gone.risk, gone.due_at) == ("lost", "lost_refused", None)


def test_a_renewal_is_written_down_before_it_is_sent_and_ends_at_rest_until_the_next_day() -> None:
    held = renewing(AT + DAY)
    assert (held.stage, held.resume, held.queue) == ("refreshing", "rest", ASIDE)
    done = saga.end(held, Done(tokens=tokens(now=AT + DAY)), AT + DAY).grant
    assert (done.state, done.stage, done.access, done.refresh, done.writes) == ("completed", "rest", b"a2", b"r2", 2)
    assert done.due_at == refresh.due(done)
    assert refresh.dies(done) == AT + 31 * DAY


def test_an_unclaimed_grant_is_renewed_for_thirty_days_and_then_expires() -> None:
    grant = resting(state="unclaimed", stage="wait", completed_at=None, pool=1)
    days = 0
    while grant.state == "unclaimed":
        now = grant.due_at or 0.0
        move = saga.begin(grant, now)
        grant, renewed = move.grant, move.call == "refresh"
        if renewed:
            grant = saga.end(grant, Done(tokens=tokens(grant.writes + 1, now)), now).grant
            days += 1
    assert 30 <= days <= 40
    assert (grant.state, grant.refresh, grant.due_at) == ("expired", None, None)
    assert now == AT + 30 * DAY


def test_a_renewal_whose_answer_is_missing_rests_before_the_same_token_is_sent_again() -> None:
    for grant in (
        saga.end(renewing(AT + DAY), Unclear(words="timeout"), AT + DAY).grant,
        saga.begin(replace(renewing(AT + DAY), begun=1), AT + DAY).grant,  # found so by another linker
    ):
        assert (grant.stage, grant.risk, grant.refresh) == ("refresh", "unanswered", b"r1")
        assert grant.settles_at == grant.due_at == AT + DAY + refresh.SETTLES
        early = saga.begin(replace(grant, due_at=AT + DAY), AT + DAY + refresh.SETTLES - 1)
        assert (early.call, early.grant.due_at) == (None, grant.settles_at)
        again = saga.begin(grant, AT + DAY + refresh.SETTLES)
        assert again.call == "refresh"
        healed = saga.end(again.grant, Done(tokens=tokens()), AT + DAY + 40).grant
        assert (healed.state, healed.stage, healed.risk, healed.settles_at) == ("completed", "rest", None, None)


@pytest.mark.parametrize(
    ("grant", "outcome", "risk", "words"),
    [
        (renewing(AT + DAY), Refused(words="400 invalid_grant"), "lost_refused", "does not renew the tokens any more"),
        (renewing(AT + DAY), Unauthorised(words="401"), "lost_refused", "does not renew the tokens any more"),
        (renewing(AT + DAY, settles_at=AT), Refused(words="400"), "lost_unanswered", "in an answer that never arrived"),
        (renewing(AT + 31 * DAY), NotSent(words="no connection"), "lost_expired", "30 days of tries"),
    ],
)
def test_a_lost_family_ends_serving_with_a_reason_and_what_to_do(grant: Grant, outcome: Outcome, risk: str, words: str) -> None:
    gone = saga.end(grant, outcome, grant.received_at + 31 * DAY if risk == "lost_expired" else AT + DAY).grant
    assert (gone.state, gone.risk, gone.access, gone.refresh, gone.due_at) == ("lost", risk, None, None, None)
    assert words in (gone.reason or "")
    assert (gone.reason or "").endswith("remove the app in the Ring app and connect it again")


def test_a_refusal_that_may_come_from_a_gate_on_the_way_counts_only_when_it_lasts() -> None:
    doubtful, grant, now = Refused(words="403 Forbidden", doubtful=True), resting(), AT + DAY
    while now < AT + 4 * DAY:
        grant = saga.end(saga.begin(grant, now).grant, doubtful, now).grant
        assert (grant.state, grant.stage, grant.refresh) == ("completed", "refresh", b"r1")
        assert grant.risk == ("failing" if now > AT + 2 * DAY else None)
        now = grant.due_at or 0.0
    gone = saga.end(saga.begin(grant, now).grant, doubtful, now).grant
    assert (gone.state, gone.risk) == ("lost", "lost_refused")


def test_a_long_outage_of_ring_loses_nothing_while_the_refresh_token_lives() -> None:
    grant, now = resting(), AT + DAY
    while now < AT + 29 * DAY:
        held = saga.begin(grant, now)
        assert held.call == "refresh"
        grant = saga.end(held.grant, NotSent(words="503"), now).grant
        assert grant.state == "completed"
        assert grant.risk == ("failing" if now > AT + 2 * DAY else None)
        now = grant.due_at or 0.0
    assert saga.end(saga.begin(grant, now).grant, Done(tokens=tokens()), now).grant.risk is None


def test_a_year_old_link_survives_a_moment_without_ring() -> None:
    year = AT + 365 * DAY
    grant = saga.end(renewing(year, tokens_at=year - DAY), NotSent(words="503"), year).grant
    assert (grant.state, grant.stage) == ("completed", "refresh")


def test_a_missing_vault_key_keeps_the_grant_and_says_so() -> None:
    grant = saga.end(renewing(AT + DAY), NotSent(words="sealed with key 'k1'", wait=30.0, sealed=True), AT + DAY).grant
    assert (grant.state, grant.risk, grant.refresh) == ("completed", "unreadable", b"r1")
    assert (grant.due_at or 0) >= AT + DAY + 30


def test_a_sign_in_during_a_renewal_waits_for_its_answer() -> None:
    held = renewing(AT + DAY, state="unclaimed", stage="wait", completed_at=None, pool=1)
    claimed = saga.claimed(held, attempt="t1", partner_user="u1", nonce_until=AT + DAY + 600, now=AT + DAY).grant
    assert (claimed.state, claimed.stage, claimed.resume) == ("claimed", "refreshing", "post")
    for outcome, stage in ((Done(tokens=tokens()), "post"), (NotSent(words="429"), "refresh")):
        move = saga.late(held, claimed, outcome, AT + DAY + 1)
        assert move is not None
        assert (move.grant.stage, move.grant.state, move.grant.partner_user) == (stage, "claimed", "u1")
    refused = saga.late(held, claimed, Refused(words="400"), AT + DAY + 1)
    assert refused is not None
    assert refused.verdict is not None
    assert (refused.grant.state, refused.verdict.state) == ("lost", "received")  # it may be of a newer code: see test_saga


@pytest.mark.parametrize(("tries", "told"), [(0, None), (1, "was over before")])
def test_a_sign_in_during_a_renewal_is_not_told_why_the_one_before_it_ended(tries: int, told: str | None) -> None:
    held = renewing(AT + DAY, state="unclaimed", stage="wait", completed_at=None, pool=1, reason="was over before")
    claim = {"attempt": "t1", "partner_user": "u1", "nonce_until": AT + DAY + 600, "now": AT + DAY}
    assert saga.claimed(replace(held, tries=tries), **claim).grant.reason == told  # type: ignore[arg-type]


def test_an_outcome_is_not_taken_for_that_of_a_later_request() -> None:
    held = renewing(AT + DAY)
    found = saga.begin(held, AT + DAY + 20).grant  # by another linker
    later = saga.begin(found, AT + DAY + 60).grant
    assert later.stage == "refreshing"
    assert saga.late(held, later, Refused(words="400"), AT + DAY + 61) is None
    rescued = saga.late(held, later, Done(tokens=tokens()), AT + DAY + 61)
    assert rescued is not None
    assert (rescued.grant.stage, rescued.grant.refresh) == ("rest", b"r2")


def test_a_renewal_on_demand_goes_ahead_of_the_queue_and_never_beside_another() -> None:
    asked = refresh.wanted(resting(), AT + 60)
    assert asked is not None
    assert (asked.grant.stage, asked.grant.queue, asked.grant.due_at) == ("refresh", WANTED, AT + 60)
    waiting = replace(asked.grant, queue=ASIDE)
    ahead = refresh.wanted(waiting, AT + 61)
    assert ahead is not None
    assert ahead.grant == asked.grant
    for grant in (asked.grant, renewing(AT + DAY), replace(waiting, due_at=AT + 90)):
        assert refresh.wanted(grant, AT + 61) is None


def test_only_the_last_renewal_is_kept_among_the_steps() -> None:
    grant, now = resting(marks=(("received", AT),)), AT
    for write in range(2, 400):
        now += DAY
        grant = saga.end(saga.begin(grant, now).grant, Done(tokens=tokens(write, now)), now).grant
    assert grant.marks == (("received", AT), ("refreshed", now))


@pytest.mark.parametrize("stage", ["post", "probe", "verify", "patch", "look"])
def test_a_step_that_waits_for_its_try_is_renewed_for_whoever_asks_and_keeps_its_time(stage: Stage) -> None:
    waits = resting(stage=stage, due_at=AT + 3_600, tries=3, reason="503", nonce_until=AT + 500)
    asked = refresh.wanted(waits, AT + 60)
    assert asked is not None
    assert (asked.grant.queue, asked.grant.due_at) == (FRESHENED, AT + 60)
    renewing = saga.begin(asked.grant, AT + 61)
    assert renewing.call == "refresh"
    fresh = saga.end(renewing.grant, Done(tokens=tokens(now=AT + 62)), AT + 62).grant
    assert (fresh.stage, fresh.due_at, fresh.tries, fresh.reason) == (stage, AT + 3_600, 3, "503")
    assert (fresh.access, fresh.renewed, fresh.resume_at) == (b"a2", False, None)


def test_a_step_whose_time_passed_behind_its_renewal_is_done_at_once() -> None:
    asked = refresh.wanted(resting(stage="patch", due_at=AT + 70), AT + 60)
    assert asked is not None
    put_off = saga.end(saga.begin(asked.grant, AT + 61).grant, NotSent(words="503", wait=100.0), AT + 61).grant
    renewing = saga.begin(put_off, AT + 200).grant
    assert saga.end(renewing, Done(tokens=tokens(now=AT + 200)), AT + 200).grant.due_at == AT + 200


def test_a_step_that_was_taken_up_is_left_to_it() -> None:
    assert refresh.wanted(resting(stage="patch", due_at=AT, begun=1), AT + 60) is None
    assert refresh.wanted(resting(stage="posting", due_at=AT, begun=1), AT + 60) is None


@pytest.mark.parametrize("named", [True, False])
def test_a_sign_in_that_comes_or_ends_amid_a_wanted_renewal_decides_what_follows_it(*, named: bool) -> None:
    asked = refresh.wanted(resting(stage="patch", due_at=AT + 3_600, nonce_until=AT + 500), AT + 60)
    assert asked is not None
    renewing = saga.begin(asked.grant, AT + 61).grant
    if named:
        taken = saga.claimed(renewing, attempt="t2", partner_user="u1", nonce_until=AT + 700, now=AT + 61).grant
    else:
        taken = saga.unclaimed(renewing, Verdict("contested", "two"), AT + 61).grant
    fresh = saga.end(taken, Done(tokens=tokens(now=AT + 62)), AT + 62).grant
    assert (fresh.stage, fresh.resume_at) == ("post" if named else "rest", None)
    assert not named or fresh.due_at == AT + 62
