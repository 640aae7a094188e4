"""The life of a grant, as pure transitions: (row, what happened, now) → (row, what its attempt learns).

received → exchanged → unclaimed → claimed → awaiting → completed; and expired, lost, rejected, removed. `begin` says what to
do with a row that is due; `end` says what the outcome makes of it. Rules: ring-contract.md §2, correctness.md §7.
"""

from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

from linker.outcomes import Done, NotSent, Outcome, Refused, Tokens, Unauthorised, Unclear
from linker.rows import ENDED, Grant, Stage
from schemas.records import App, LinkState

CODE_LIFE: Final = 60.0  # seconds; Ring forgets the code then
CODE_LAST: Final = 55.0  # an older one is not sent: the answer would come too late
NONCE_LIFE: Final = 600.0
NONCE_LAST: Final = 590.0  # a POST that starts later would arrive too late
KEPT: Final = 30 * 86_400.0  # a grant nobody claims, and the end of every retry
SHOWN: Final = 3_600.0  # a second tap on Sign In finds a completed grant this long
SLOWEST: Final = 300.0  # seconds between two retries
MOST_POSTS: Final = 4  # of one nonce, each after a PATCH has shown that the last one did not arrive
RENEW_BEFORE: Final = 60.0  # seconds before it expires an access token counts as expired

Call = Literal["exchange", "identify", "post", "patch", "refresh"]
_PATCHES: Final = frozenset({"probe", "verify", "patch"})
_PLAIN: Final[dict[Stage, Stage]] = {"exchanging": "exchange", "posting": "post", "refreshing": "refresh"}
MENDS: Final = "remove the app in the Ring app and connect it again"
TAP: Final = "tap Sign In in the Ring app again"
REMOVED: Final = "if the app was removed in the Ring app, connect it there again"


class Verdict(msgspec.Struct, frozen=True):
    """What the grant's attempt learns: its new state, and the reason in words."""

    state: LinkState
    reason: str | None = None


class Move(msgspec.Struct, frozen=True):
    """A transition: the row as it shall be, what its attempt learns, and the call to make once the row is held."""

    grant: Grant
    verdict: Verdict | None = None
    call: Call | None = None


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
        queue=int(stranger),
        marks=(("received", at),),
    )


def begin(grant: Grant, now: float) -> Move:  # noqa: PLR0911 - a table: one line, one stage
    """Say what to do with a due grant: a `call`, to be made once this row is held, or only the row."""
    if grant.begun > 1 and grant.stage in _PATCHES:
        grant = replace(grant, patched=True)  # a linker died in this stage: its PATCH may have arrived
    match grant.stage:
        case "exchange":
            return _send_code(grant, now)
        case "exchanging":
            words = f"the linker stopped while the code was under way; a code is never sent twice: {MENDS}"
            return _end(grant, "lost", words, now)
        case "posting":
            return Move(_to(grant, "probe", now))
        case "wait":
            return _end(grant, "expired", f"nobody signed in within 30 days: {MENDS}", now)
        case "refresh" | "refreshing":
            return Move(replace(grant, stage="refreshing"), call="refresh")
        case "rest":
            return Move(replace(grant, due_at=None, pool=None, begun=0))
        case _:
            return _call_with_token(grant, now)


def end(grant: Grant, outcome: Outcome, now: float) -> Move:
    """Say what the outcome of the call that `begin` asked for makes of the grant."""
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
            return _refreshed(grant, outcome, now)
        case _:
            return Move(replace(grant, begun=0))


def postponed(before: Grant, wait: float, now: float) -> Move:
    """Put back a grant whose call was not even tried (no budget, lease too short): nothing is counted."""
    return Move(replace(before, due_at=now + wait, begun=before.begun - 1))


def claimed(grant: Grant, *, attempt: str, partner_user: str, nonce_until: float, now: float) -> Move:
    """Give an open grant to the attempt whose nonce its account reproduces."""
    fresh = replace(grant, state="claimed", attempt=attempt, partner_user=partner_user, nonce_until=nonce_until)
    fresh = replace(fresh, posts=0, patched=False)
    return Move(_to(_marked(fresh, "claimed", now), "post", now), Verdict("claimed"))


def unclaimed(grant: Grant, verdict: Verdict, now: float) -> Move:
    """Open a grant again whose attempt failed: the user may sign in once more."""
    if grant.state not in {"claimed", "awaiting"}:
        return Move(grant)
    cleared = replace(grant, state="unclaimed", attempt=None, partner_user=None, nonce_until=None, open_at=now)
    opened = _to(_marked(cleared, verdict.state, now), "wait", grant.received_at + KEPT)
    return Move(replace(opened, reason=verdict.reason), verdict)


def removed(grant: Grant, words: str, now: float) -> Move:
    """End a grant that Ring's user took back, or that a newer link of its account replaced; both tokens are dropped."""
    if grant.state in ENDED:
        return Move(grant)
    return _end(grant, "removed", words, now)


def withdrawn(grant: Grant, removed_at: float, now: float) -> Move:
    """Apply `app_integration_removed` of that time: only to a grant whose code came before it (correctness.md §7)."""
    if grant.received_at >= removed_at:
        return Move(grant)
    return removed(grant, "the app was removed in the Ring app: connect it there again to use it", now)


def rescued(grant: Grant, tokens: Tokens, now: float) -> Move | None:
    """Keep tokens whose row was moved meanwhile: its code was given up as lost, or its sign-in contested in mid-renewal."""
    if grant.writes + 1 != tokens.writes:
        return None
    if grant.state == "lost" and grant.account is None:
        return _exchanged(replace(grant, stage="exchanging"), Done(tokens=tokens), now)
    return None if grant.state in ENDED else Move(_hold(grant, tokens))


def plain(stage: Stage) -> Stage:
    """Return the stage without the intent: what is sent and put off again has not moved."""
    return _PLAIN.get(stage, stage)


def pause(grant: Grant) -> float:
    """Return the seconds before the next try: 0.5, 1, 2 … 300, spread by half either way so that grants do not march in step."""
    dice = (int(grant.code_hash[:8], 16) + grant.tries * 0x9E3779B9) % 2**32 / 2**32
    return min(SLOWEST, 0.5 * 2.0 ** min(grant.tries, 20)) * (0.5 + dice)


def _send_code(grant: Grant, now: float) -> Move:
    if now - grant.received_at <= CODE_LAST:
        return Move(replace(grant, stage="exchanging"), call="exchange")
    why = f"Ring could not be reached in time ({grant.reason})" if grant.tries else "linker was down"
    return _end(grant, "expired", f"{why}; the code was older than {CODE_LAST:.0f} s and was not sent: {MENDS}", now)


def _call_with_token(grant: Grant, now: float) -> Move:
    if now > grant.received_at + KEPT:
        return _end(grant, "expired", f"30 days of tries did not succeed ({grant.reason}): {MENDS}", now)
    if grant.stage == "post" and now > (grant.nonce_until or 0) - (NONCE_LIFE - NONCE_LAST):
        return unclaimed(grant, Verdict("expired", f"the sign-in's 10 minutes were over before Ring could be told: {TAP}"), now)
    if grant.expires_at is not None and now > grant.expires_at - RENEW_BEFORE and not grant.renewed:
        return _refresh_first(grant, grant.reason, now)
    if grant.stage == "identify":
        return Move(grant, call="identify")
    if grant.stage == "post":
        return Move(replace(grant, stage="posting", posts=grant.posts + 1), call="post")
    return Move(grant, call="patch")


def _exchanged(grant: Grant, outcome: Outcome, now: float) -> Move:
    match outcome:
        case Done(tokens=Tokens() as tokens):
            held = replace(_hold(grant, tokens), state="exchanged", code=None, queue=0)
            return Move(_to(_marked(held, "exchanged", now), "identify", now))
        case NotSent():
            return _again(replace(grant, stage="exchange"), outcome, now)
        case Refused() | Unauthorised():
            return _end(grant, "rejected", f"Ring refused the code ({outcome.words}): {MENDS}", now)
        case _:
            words = outcome.words if isinstance(outcome, Unclear) else "an answer without tokens"
            return _end(grant, "lost", f"no clear answer to the code ({words}); it is never sent twice: {MENDS}", now)


def _identified(grant: Grant, outcome: Outcome, now: float) -> Move:
    match outcome:
        case Done(account=str() as account):
            known = replace(grant, state="unclaimed", account=account, open_at=now, pool=grant.generation)
            return Move(_to(_marked(known, "unclaimed", now), "wait", grant.received_at + KEPT))
        case Unauthorised():
            return _renew(grant, outcome, now)
        case _:
            return _again(grant, outcome, now)


def _posted(grant: Grant, outcome: Outcome, now: float) -> Move:
    match outcome:
        case Done():
            return Move(_to(_marked(replace(grant, state="awaiting"), "awaiting", now), "patch", now), Verdict("awaiting"))
        case Unauthorised():
            return _renew(replace(grant, stage="post", posts=grant.posts - 1), outcome, now)
        case NotSent():
            return _again(replace(grant, stage="post", posts=grant.posts - 1), outcome, now)
        case Unclear():
            return Move(replace(_to(grant, "probe", now), reason=outcome.words))
        case Refused(stale=True) if grant.posts > 1:
            return Move(replace(_to(grant, "verify", now), reason=outcome.words))
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
        case Refused() if grant.stage == "verify":
            return unclaimed(grant, Verdict("rejected", f"Ring refused the link ({grant.reason}): {TAP}"), now)
        case Refused() if grant.stage == "probe":
            return _not_posted(grant, outcome, now)
        case Unclear():
            return _again(replace(grant, patched=True), outcome, now)
        case Refused():
            words = f"Ring does not complete the link ({outcome.words}); {REMOVED}"
            return _again(grant, replace(outcome, words=words), now)
        case _:
            return _again(grant, outcome, now)


def _not_posted(grant: Grant, outcome: Refused, now: float) -> Move:
    """Go on after a PATCH has shown that the POST whose answer is missing had not arrived."""
    if grant.posts < MOST_POSTS:
        return Move(replace(_to(grant, "post", now), reason=grant.reason))
    return unclaimed(grant, Verdict("rejected", f"Ring never answered the link clearly ({outcome.words}): {TAP}"), now)


def _refreshed(grant: Grant, outcome: Outcome, now: float) -> Move:
    match outcome:
        case Done(tokens=Tokens() as tokens):
            held = _marked(_hold(grant, tokens), "refreshed", now)
            return Move(replace(_to(held, grant.resume or "rest", now), renewed=True, tries=grant.tries, reason=grant.reason))
        case Refused() | Unauthorised():
            return _end(grant, "lost", f"Ring does not renew the tokens any more ({outcome.words}): {MENDS}", now)
        case _ if now > grant.received_at + KEPT:
            return _end(grant, "lost", f"30 days of tries did not renew the tokens ({grant.reason}): {MENDS}", now)
        case _:
            return _again(replace(grant, stage="refresh"), outcome, now)


def _renew(grant: Grant, outcome: Unauthorised, now: float) -> Move:
    """Renew the tokens once after a 401; a second 401 with new tokens ends the grant."""
    if grant.renewed:
        return _end(grant, "lost", f"Ring does not accept tokens it just renewed ({outcome.words}): {MENDS}", now)
    return _refresh_first(grant, outcome.words, now)


def _refresh_first(grant: Grant, words: str | None, now: float) -> Move:
    """Renew, then come back to this stage; it goes on counting its tries."""
    return Move(replace(_to(grant, "refresh", now), resume=grant.stage, reason=words, tries=grant.tries))


def _completed(grant: Grant, now: float) -> Move:
    done = replace(grant, state="completed", completed_at=now)
    return Move(_to(_marked(done, "completed", now), "rest", now + SHOWN), Verdict("completed"))


def _again(grant: Grant, outcome: Outcome, now: float) -> Move:
    """Try the same stage later: as long as Ring asked for, or longer each time."""
    words = outcome.words if not isinstance(outcome, Done) else "an answer without what was asked"
    wait = max(pause(grant), getattr(outcome, "wait", 0.0))
    changes = {"due_at": now + wait, "tries": grant.tries + 1, "begun": 0, "renewed": False, "reason": words}
    return Move(replace(grant, **changes))


def _end(grant: Grant, state: LinkState, words: str, now: float) -> Move:
    over = replace(grant, state=state, code=None, access=None, refresh=None, expires_at=None, pool=None)
    ended = _to(_marked(over, state, now), "rest", None)
    verdict = Verdict(state, words) if grant.attempt and grant.state in {"claimed", "awaiting"} else None
    return Move(replace(ended, reason=words), verdict)


def _hold(grant: Grant, tokens: Tokens) -> Grant:
    return replace(grant, access=tokens.access, refresh=tokens.refresh, writes=tokens.writes, expires_at=tokens.expires_at)


def _to(grant: Grant, stage: Stage, due_at: float | None) -> Grant:
    """Enter a stage with clean counts; a refresh keeps them, since it goes back."""
    changes: dict[str, Any] = {"stage": stage, "due_at": due_at, "tries": 0, "begun": 0, "reason": None}
    if stage != "refresh":
        changes |= {"renewed": False, "resume": None}
    return replace(grant, **changes)


def _marked(grant: Grant, name: str, now: float) -> Grant:
    return replace(grant, marks=(*grant.marks, (name, now)))
