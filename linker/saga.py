"""The life of a grant, as pure transitions: (row, what happened, now) → (row, what its attempt learns).

received → exchanged → unclaimed → claimed → awaiting → completed; and expired, lost, rejected, removed. `begin` says what to
do with a row that is due; `end` says what the outcome makes of it. Rules: ring-contract.md §2, correctness.md §7.
"""

from typing import Final

from msgspec.structs import replace

from linker import refresh, removal, schedule
from linker.mishap import FORGOTTEN
from linker.moves import (
    MENDS,
    OURS_FIRST,
    REMOVED,
    SHOWN,
    TAP,
    Call,
    Move,
    Verdict,
    again,
    ended,
    given_up_at,
    hold,
    marked,
    plain,
    to,
)
from linker.outcomes import Done, NotSent, Outcome, Refused, Tokens, Unauthorised, Unclear
from linker.rows import ASIDE, CODES, ENDED, FRESHENED, STRANGERS, Grant, Stage
from linker.schedule import CODE_LAST, linking
from schemas.findings.trying import OURS
from schemas.records import App

__all__ = ["TAP", "Call", "Move", "Verdict", "plain"]
_UNSENT: Final = {
    False: "linker was down, had too much to do, or its host's clock is ahead of ingress's",
    True: "too many codes came by the path without a secret, which sends few a second, or linker was down",
}
REFUSED_CLIENT: Final = "Ring refused our client id or secret"
_NO_PLACE: Final = "Ring's limit left no place for it"
_PATCHES: Final = frozenset({"probe", "verify", "patch"})


def received(*, code_hash: str, code: bytes, app: App, stranger: bool, at: float) -> Grant:
    """Return the row of a code that just came."""
    return Grant(
        code_hash=code_hash,
        code=code,
        app=app,
        stranger=stranger,
        received_at=at,
        generation=round(at * 1_000_000),
        due_at=at,
        queue=STRANGERS if stranger else CODES,
        marks=(("received", at),),
    )


def begin(grant: Grant, now: float) -> Move:  # noqa: PLR0911 - a table: one line, one stage
    """Say what to do with a due grant: a `call`, to be made once this row is held, or only the row."""
    if grant.begun > 1 and grant.stage in _PATCHES:
        grant = replace(grant, patched=True)  # a linker died in this stage: its PATCH may have arrived
    if plain(grant.stage) == grant.stage and schedule.to_post(grant) and now > schedule.posted_until(grant):
        return _nonce_over(grant, now)
    if grant.withdrawn_at is not None and (move := removal.begin(grant, now)):
        return move
    match grant.stage:
        case "exchange":
            return _send_code(grant, now)
        case "exchanging":
            words = f"the linker stopped while the code was under way; a code is never sent twice: {MENDS}"
            return ended(grant, "lost", words, now)
        case "posting":
            return _unheard(grant, grant.reason, now)
        case "wait" | "rest":
            return _kept(grant, now)
        case "refresh" | "refreshing":
            return refresh.begin(grant, now)
        case _:
            return _call_with_token(grant, now)


def end(grant: Grant, outcome: Outcome, now: float) -> Move:
    """Say what the outcome of the call that `begin` asked for makes of the grant."""
    return removal.judged(grant, _end(grant, outcome, now), now)


def _end(grant: Grant, outcome: Outcome, now: float) -> Move:  # noqa: PLR0911 - as above
    match grant.stage:
        case "exchange" | "exchanging":
            return _exchanged(grant, outcome, now)
        case "identify":
            return _identified(grant, outcome, now)
        case "post" | "posting":
            return _posted(grant, outcome, now)
        case "probe" | "verify" | "patch":
            return _patched(grant, outcome, now)
        case "refresh" | "refreshing":
            return refresh.end(grant, outcome, now)
        case "look":
            return removal.end(grant, outcome, now)
        case _:
            return Move(replace(grant, begun=0))


def due_at_once(grant: Grant, now: float) -> bool:
    """Say whether the grant has a step to do already."""
    return grant.due_at is not None and grant.due_at <= now


def taken_up(grant: Grant) -> Grant:
    """Count that a stage is taken up, as the store does where it leases a row: whoever finds 2 knows that a linker died in it."""
    return replace(grant, begun=grant.begun + 1)


def postponed(before: Grant, wait: float, now: float) -> Move:
    """Put back a grant whose call was not even tried (no budget, lease too short): nothing is counted; a code may die of it."""
    why = _NO_PLACE if before.stage == "exchange" and not before.tries else before.reason
    return Move(replace(before, due_at=now + wait, begun=before.begun - 1, reason=why))


def claimed(grant: Grant, *, attempt: str, partner_user: str, nonce_until: float, now: float) -> Move:
    """Give a grant to the attempt whose nonce its account reproduces; a completed one serves on while Ring is told again."""
    fresh = replace(grant, attempt=attempt, partner_user=partner_user, nonce_until=nonce_until, posts=0, patched=False)
    if grant.state != "completed":
        fresh = marked(replace(fresh, state="claimed"), "claimed", now)
    if grant.stage != "refreshing":
        return Move(to(fresh, "post", now), Verdict("claimed"))
    # The answer to a renewal is awaited: a second request would spend the same refresh token. A former sign-in's reason is over.
    reason = grant.reason if grant.tries else None
    return Move(replace(fresh, resume="post", resume_at=None, queue=FRESHENED, reason=reason), Verdict("claimed"))


def unclaimed(grant: Grant, verdict: Verdict, now: float) -> Move:
    """Open a grant again whose attempt failed: the user may sign in once more. One that was complete before it is so still."""
    if not linking(grant):
        return Move(grant)
    cleared = replace(grant, nonce_until=None)
    if grant.state != "completed":
        cleared = replace(cleared, state="unclaimed", attempt=None, partner_user=None, open_at=now)
        cleared = marked(cleared, verdict.state, now)
    home: Stage = "rest" if grant.state == "completed" else "wait"
    if grant.stage == "refreshing":  # as above
        return Move(replace(cleared, resume=home, resume_at=None, queue=ASIDE, reason=verdict.reason), verdict)
    return Move(replace(_resting(cleared, home, now), reason=verdict.reason), verdict)


def inherited(grant: Grant, link: Grant, now: float) -> Move:
    """Let a grant that waits serve in a link's place: Ring was told by that one's tokens of the sign-in that was meant for it."""
    mine = replace(grant, state="completed", attempt=link.attempt, partner_user=link.partner_user, completed_at=now)
    return Move(_resting(marked(mine, "completed", now), "rest", now))


def removed(grant: Grant, words: str, now: float) -> Move:
    """End a grant that Ring's user took back, or that a newer link of its account replaced; both tokens are dropped."""
    if grant.state in ENDED:
        return Move(grant)
    return ended(grant, "removed", words, now)


def withdrawn(grant: Grant, removed_at: float, now: float, *, app: App | None = None) -> Move:
    """Take in `app_integration_removed` of that time: a doubt, which Ring's own answer ends (correctness.md §7).

    Another app's removal says nothing of this grant.
    """
    return Move(grant) if app not in {None, grant.app} else removal.told(grant, removed_at, now)


def unwelcome(grant: Grant, now: float) -> Move:
    """End a grant whose account was forgotten: nothing of it may be known again."""
    return ended(grant, "rejected", FORGOTTEN, now)


def late(held: Grant, fresh: Grant, outcome: Outcome, now: float) -> Move | None:
    """Say what an outcome makes of a row that was moved while Ring was asked; None: nothing any more."""
    if held.stage == "refreshing" and _asked(held) == _asked(fresh):
        return end(fresh, outcome, now)  # it is still ours: a sign-in found or left the grant meanwhile, or its removal was told
    if fresh.withdrawn_at != held.withdrawn_at and _asked(held) == _asked(fresh):
        return end(fresh, outcome, now)  # as above
    tokens = outcome.tokens if isinstance(outcome, Done) else None
    return rescued(fresh, tokens, now) if tokens else None


def unsent(before: Grant, held: Grant, fresh: Grant, now: float) -> Move | None:
    """Take back the intent `held` of a row that was moved meanwhile, as nothing was sent; None: it is an intent no more.

    Another linker may have taken us for dead, and the code for lost: it can be sent still, or says truly that it was too old.
    """
    if held.stage == "exchanging" and fresh.state == "lost" and fresh.counter == held.counter + 1:
        return Move(replace(before, due_at=now, begun=0))
    if fresh.stage == held.stage and _asked(held) == _asked(fresh):
        posts = fresh.posts - held.posts + before.posts
        return Move(replace(fresh, stage=plain(fresh.stage), posts=posts, due_at=now, begun=0))
    return None


def _asked(grant: Grant) -> tuple[object, ...]:
    """Return by what an answer is known to be this row's."""
    stage = (grant.stage, grant.writes, grant.settles_at)
    return stage if grant.stage == "refreshing" else (*stage, grant.attempt, grant.posts)


def rescued(grant: Grant, tokens: Tokens, now: float) -> Move | None:
    """Keep tokens whose row was moved meanwhile: its code was given up as lost, or its renewal as unanswered."""
    if grant.writes + 1 != tokens.writes:
        return None
    if grant.state == "lost" and grant.account is None:
        return _exchanged(replace(grant, stage="exchanging"), Done(tokens=tokens), now)
    if grant.state in ENDED:
        return None
    if plain(grant.stage) == "refresh":
        return refresh.end(grant, Done(tokens=tokens), now)
    return Move(hold(grant, tokens))


def _kept(grant: Grant, now: float) -> Move:
    """Renew the tokens of a grant at rest when that is due; one that nobody claimed ends, one long completed leaves the pool."""
    if grant.stage == "wait" and now >= given_up_at(grant):
        return ended(grant, "expired", f"nobody signed in within 30 days: {MENDS}", now)
    if grant.stage == "rest" and now >= (grant.completed_at or 0.0) + SHOWN:
        grant = replace(grant, pool=None)
    if (at := refresh.due(grant)) is not None and now >= at:
        return refresh.begin(refresh.first(grant, grant.reason, now), now)
    return Move(replace(grant, due_at=refresh.rests_until(grant), begun=0))


def _resting(grant: Grant, home: Stage, now: float) -> Grant:
    """Let a grant wait for somebody to sign in, or rest once it is linked."""
    grant = to(grant, home, now)
    return replace(grant, due_at=refresh.rests_until(grant))


def _send_code(grant: Grant, now: float) -> Move:
    if now - grant.received_at <= CODE_LAST:
        return Move(replace(grant, stage="exchanging"), call="exchange")
    why = f"it could not be sent to Ring in time ({grant.reason})" if grant.reason else _UNSENT[grant.queue == 1]
    return ended(grant, "expired", f"{why}; the code was older than {CODE_LAST:.0f} s and was not sent: {MENDS}", now)


def _nonce_over(grant: Grant, now: float) -> Move:
    """Tell a sign-in that its nonce was never posted in its time; what else is due of the grant goes on without it."""
    why = f" ({grant.reason})" if grant.reason else ""
    mends = f"{OURS_FIRST}, {TAP}" if (grant.reason or "").startswith(OURS) else TAP
    words = f"the sign-in's 10 minutes were over before Ring could be told{why}: {mends}"
    return unclaimed(grant, Verdict("expired", words), now)


def _call_with_token(grant: Grant, now: float) -> Move:
    why = f" ({grant.reason})" if grant.reason else ""
    if now > given_up_at(grant):
        words = f"30 days of tries did not succeed{why}: {MENDS}"
        served = grant.state == "completed"
        return unclaimed(grant, Verdict("expired", words), now) if served else ended(grant, "expired", words, now)
    if refresh.stale(grant, now) and not grant.renewed:
        return Move(refresh.first(grant, grant.reason, now))
    if grant.stage == "identify":
        return Move(grant, call="identify")
    if grant.stage == "post":
        return Move(replace(grant, stage="posting", posts=grant.posts + 1), call="post")
    return Move(grant, call="patch")


def _exchanged(grant: Grant, outcome: Outcome, now: float) -> Move:
    match outcome:
        case Done(tokens=Tokens() as tokens):
            held = replace(hold(grant, tokens), state="exchanged", code=None)
            return Move(to(marked(held, "exchanged", now), "identify", now))
        case NotSent():
            return again(replace(grant, stage="exchange"), outcome, now)
        case Refused(client=True):
            return ended(grant, "rejected", f"{REFUSED_CLIENT} ({outcome.words}): {OURS_FIRST}, {MENDS}", now)
        case Refused() | Unauthorised():
            return ended(grant, "rejected", f"Ring refused the code ({outcome.words}): {MENDS}", now)
        case _:
            words = outcome.words if isinstance(outcome, Unclear) else "an answer without tokens"
            return ended(grant, "lost", f"no clear answer to the code ({words}); it is never sent twice: {MENDS}", now)


def _identified(grant: Grant, outcome: Outcome, now: float) -> Move:
    match outcome:
        case Done(account=str() as account):
            known = replace(grant, state="unclaimed", account=account, open_at=now, pool=grant.generation)
            return Move(_resting(marked(known, "unclaimed", now), "wait", now))
        case Unauthorised():
            return _renew(grant, outcome, now)
        case _:
            return again(grant, outcome, now)


def _posted(grant: Grant, outcome: Outcome, now: float) -> Move:  # noqa: PLR0911 - a table: one line, one outcome
    match outcome:
        case Done():
            told = grant if grant.state == "completed" else marked(replace(grant, state="awaiting"), "awaiting", now)
            return Move(to(told, "patch", now), Verdict("awaiting"))
        case Unauthorised():
            return _renew(replace(grant, stage="post", posts=grant.posts - 1), outcome, now)
        case NotSent():
            return again(replace(grant, stage="post", posts=grant.posts - 1), outcome, now)
        case Unclear():
            return _unheard(grant, outcome.words, now, asked=outcome.wait)
        case Refused(stale=True) if grant.posts > 1 or outcome.past:
            # Where it is past, another link of this account was quicker: its PATCH may have completed Ring's one integration.
            return Move(replace(to(grant, "verify", now), reason=outcome.words, patched=grant.patched or outcome.past))
        case Refused(stale=True) if grant.state == "completed":
            return unclaimed(grant, Verdict("completed"), now)  # Ring takes no more of a link that stands
        case Refused() if outcome.doubtful or grant.state == "completed":  # a gate's, which does not say that Ring awaits nothing
            return again(replace(grant, stage="post", posts=grant.posts - 1), outcome, now)
        case Refused():
            return unclaimed(grant, Verdict("rejected", f"Ring refused the link ({outcome.words}): {TAP}"), now)


def _patched(grant: Grant, outcome: Outcome, now: float) -> Move:  # noqa: PLR0911 - a table: one line, one outcome
    match outcome:
        case Done():
            return _completed(grant, now)
        case Unauthorised():
            return _renew(grant, outcome, now)
        case Refused(stale=True) if grant.stage != "probe" and grant.patched:
            return _completed(grant, now)  # the POST had arrived, and awaiting is over: so had a PATCH whose answer is missing
        case Refused() if grant.stage in {"probe", "verify"}:
            return _refused(grant, outcome, now)
        case Unclear():
            return again(replace(grant, patched=True), outcome, now)
        case Refused(stale=True) if now <= schedule.posted_until(grant):
            return _post_again(grant, outcome.words, now)  # the user connected anew since the POST
        case Refused(stale=True):  # as above, and only the nonce of another tap can be posted
            words = f"Ring does not wait for this sign-in any more ({outcome.words}), and its 10 minutes are over: {TAP}"
            return unclaimed(grant, Verdict("expired", words), now)
        case Refused():
            words = f"Ring does not complete the link ({outcome.words}); {REMOVED}"
            return again(grant, replace(outcome, words=words), now)
        case _:
            return again(grant, outcome, now)


def _refused(grant: Grant, outcome: Refused, now: float) -> Move:
    """Believe that a POST did not arrive once the PATCH says so; a gate in Ring's place does not say it."""
    if outcome.doubtful and not outcome.stale:
        return again(grant, replace(outcome, words=grant.reason or outcome.words), now)
    if grant.stage == "probe":
        return _post_again(grant, grant.reason, now)
    return unclaimed(grant, Verdict("rejected", f"Ring refused the link ({grant.reason}): {TAP}"), now)


def _unheard(grant: Grant, words: str | None, now: float, *, asked: float = 0.0) -> Move:
    """Ask by PATCH, at once or when Ring says, whether a POST arrived whose answer is missing; never repeat it blindly."""
    probe = replace(to(grant, "probe", None), tries=grant.posts, reason=words)
    return Move(replace(probe, due_at=schedule.bounded(probe, now + asked, now)))


def _post_again(grant: Grant, words: str | None, now: float) -> Move:
    """Post the nonce once more after a PATCH has shown that Ring does not know it, longer after each time, until it is over."""
    post = replace(to(grant, "post", None), tries=grant.posts, reason=words)
    return Move(replace(post, due_at=schedule.next_try(post, now)))


def _renew(grant: Grant, outcome: Unauthorised, now: float) -> Move:
    """Renew the tokens once after a 401; new ones that are refused, too, are tried again for an hour before the grant ends.

    The hour counts from their first refusal, and is not over before some tries: the linker or the store may have been away since
    they came, and in that hour.
    """
    if not grant.renewed:
        return Move(refresh.first(grant, outcome.words, now))
    tried = again(grant, outcome, now).grant
    if grant.expires_at is not None and now >= grant.expires_at:
        return Move(tried)  # they ended meanwhile, and are renewed once more
    since = now if grant.untaken_at is None else grant.untaken_at
    if now >= since + refresh.UNTAKEN and grant.tries >= refresh.UNTAKEN_TRIES:
        return refresh.lost(grant, "lost_unaccepted", f"Ring does not accept tokens that it renewed ({outcome.words})", now)
    return Move(replace(tried, renewed=True, untaken_at=since))


def _completed(grant: Grant, now: float) -> Move:
    done = replace(grant, state="completed", completed_at=now, nonce_until=None)
    return Move(_resting(marked(done, "completed", now), "rest", now), Verdict("completed"))
