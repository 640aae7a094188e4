"""Tokens that live: when they are renewed, and what becomes of a renewal. Pure (correctness.md §7, decision 11).

Ring's refresh token is good for one use. One whose answer is missing is sent again, but not before the first request can have
come to its end; when Ring then refuses it, the family of tokens is lost, and only the user can begin a new one.
"""

from typing import Final

from msgspec.structs import replace

from linker.moves import MENDS, SHOWN, Move, again, ended, given_up_at, hold, marked, plain, renewing, to
from linker.outcomes import Done, NotSent, Outcome, Refused, Tokens, Unauthorised, Unclear
from linker.rows import ASIDE, Grant, GrantStanding, Risk
from linker.schedule import dice, pause

LIFE: Final = 30 * 86_400.0  # seconds; a refresh token that is not used dies then
EVERY: Final = 86_400.0  # seconds; tokens of a grant that rests are renewed after three quarters of it to the whole
OVERDUE: Final = 2 * EVERY  # seconds; tokens that old are at risk
DOUBTED: Final = 4 * EVERY  # seconds; a refusal that may come from a gate on the way counts only for tokens that old
UNTAKEN: Final = 3_600.0  # seconds; new tokens that Ring's API refuses for so long are lost: before, a gate may have answered;
UNTAKEN_TRIES: Final = 8  # and so often: of an hour in which the linker or the store was away nothing is known
BEFORE: Final = 60.0  # seconds before it expires an access token counts as expired
SETTLES: Final = 30.0  # seconds; a request that was not answered is over then: a second one cannot be overtaken by it
_KEEPING: Final = frozenset({"rest", "wait", None})  # what a renewal for its own sake goes back to


def due(grant: Grant) -> float | None:
    """Return when a grant that rests or waits is to be renewed, spread so that those linked together do not come together."""
    if grant.tokens_at is None or grant.refresh is None:
        return grant.expires_at  # with nothing to renew it by, the end of the access token is the end
    return grant.settles_at or grant.tokens_at + EVERY * (0.75 + dice(grant, grant.writes) / 4)


def rests_until(grant: Grant) -> float | None:
    """Return when a grant that rests or waits is to be looked at again; None: never."""
    shown = (grant.completed_at or 0.0) + SHOWN if grant.stage == "rest" and grant.pool is not None else None
    over = given_up_at(grant) if grant.stage == "wait" else None
    return min((at for at in (due(grant), shown, over, grant.look_at) if at is not None), default=None)


def dies(grant: GrantStanding) -> float | None:
    """Return when the refresh token ends unless it is renewed before: the user must connect the app again then."""
    return grant.tokens_at + LIFE if grant.tokens_at is not None else None


def stale(grant: Grant, now: float) -> bool:
    """Say whether the access token is expired or as good as."""
    return grant.expires_at is not None and now > grant.expires_at - BEFORE


def first(grant: Grant, words: str | None, now: float) -> Grant:
    """Renew, then come back to this stage; who was aside stays there."""
    after = _at_once(grant, words, now)
    return replace(after, queue=ASIDE) if grant.queue == ASIDE else after


def _at_once(grant: Grant, words: str | None, now: float) -> Grant:
    """Enter the renewal that somebody waits for; the stage that it goes back to goes on counting its tries."""
    return replace(to(grant, "refresh", now), resume=grant.stage, resume_at=None, reason=words, tries=grant.tries)


def wanted(grant: Grant, now: float) -> Move | None:
    """Renew a grant at once, since somebody waits for it; None where that is under way, or put off by Ring.

    A step that waits for its next try keeps its time, which Ring may have asked for. Where it was taken up its request may be on
    the way: it is left alone.
    """
    if grant.stage == "rest":
        return Move(_at_once(grant, grant.reason, now))
    if grant.stage == "refresh" and grant.queue == ASIDE and (grant.due_at or 0.0) <= now:
        return Move(replace(grant, queue=renewing(grant)))
    if plain(grant.stage) == "refresh" or grant.begun:
        return None
    return Move(replace(_at_once(grant, grant.reason, now), resume_at=grant.due_at))


def begin(grant: Grant, now: float) -> Move:
    """Say what to do with a grant that is to be renewed."""
    if grant.stage == "refreshing":
        return Move(_unanswered(grant, "the linker stopped while the tokens were being renewed", now))
    if grant.settles_at is not None and now < grant.settles_at:
        return Move(replace(grant, due_at=grant.settles_at, begun=0))
    return Move(replace(grant, stage="refreshing"), call="refresh")


def end(grant: Grant, outcome: Outcome, now: float) -> Move:
    """Say what the outcome of a renewal makes of the grant."""
    match outcome:
        case Done(tokens=Tokens() as tokens):
            return Move(_renewed(grant, tokens, now))
        case Refused(doubtful=True) if now < (grant.tokens_at or 0.0) + DOUBTED:
            return Move(_put_off(grant, NotSent(words=outcome.words), now))
        case Refused() | Unauthorised():
            return _refused(grant, outcome, now)
        case _ if now > (dies(grant) or given_up_at(grant)):
            return lost(grant, "lost_expired", f"30 days of tries did not renew the tokens ({grant.reason})", now)
        case NotSent():
            return Move(_put_off(grant, outcome, now))
        case _:
            return Move(_unanswered(grant, outcome.words if isinstance(outcome, Unclear) else "an answer without tokens", now))


def lost(grant: Grant, risk: Risk, words: str, now: float) -> Move:
    """End a grant whose tokens nobody can renew: only the user can begin anew."""
    return ended(grant, "lost", f"{words}: {MENDS}", now, risk=risk, dead=True)


def _renewed(grant: Grant, tokens: Tokens, now: float) -> Grant:
    held = marked(hold(grant, tokens), "refreshed", now)
    stage = grant.resume or "rest"
    if stage in _KEEPING:
        kept = replace(to(held, stage, now), reason=None if grant.tries else grant.reason)
        return replace(kept, due_at=rests_until(kept))
    step = replace(to(held, stage, now), tries=grant.tries, reason=grant.reason)
    if grant.resume_at is None:
        return replace(step, renewed=True)
    return replace(step, due_at=max(now, grant.resume_at))  # its own try is to come, and may renew once more


def _refused(grant: Grant, outcome: Refused | Unauthorised, now: float) -> Move:
    if grant.settles_at is None:
        return lost(grant, "lost_refused", f"Ring does not renew the tokens any more ({outcome.words})", now)
    why = "their successors were in an answer that never arrived"
    return lost(grant, "lost_unanswered", f"Ring does not renew the tokens any more ({outcome.words}), {why}", now)


def _put_off(grant: Grant, outcome: NotSent, now: float) -> Grant:
    """Try again later what Ring did not take up; it is at risk only once that lasts."""
    after = again(replace(grant, stage="refresh"), outcome, now).grant
    if outcome.sealed:
        return replace(after, risk="unreadable")
    if outcome.stray:
        return replace(after, risk="stray")
    failing = now > (grant.tokens_at or now) + OVERDUE
    return replace(after, risk="failing") if failing and grant.risk in {None, "unreadable", "stray"} else after


def _unanswered(grant: Grant, words: str, now: float) -> Grant:
    """Let a renewal without an answer settle before the same refresh token is sent again."""
    settles = now + max(SETTLES, pause(grant, now))
    changes = {"stage": "refresh", "due_at": settles, "settles_at": settles, "tries": grant.tries + 1, "begun": 0}
    return replace(grant, **changes, reason=words, risk="unanswered")
