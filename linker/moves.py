"""What every transition of a grant is made of. Pure."""

from typing import Any, Final, Literal

import msgspec
from msgspec.structs import replace

from linker.outcomes import Done, Outcome, Tokens
from linker.rows import ASIDE, FRESHENED, LINKS, NAMES, PATCHES, WANTED, Grant, Risk, Stage
from linker.schedule import NONCE_LIFE, linking, next_try
from schemas.records import LinkState

KEPT: Final = 30 * 86_400.0  # seconds: how long a grant waits for somebody, and any step is tried
SHOWN: Final = 3_600.0  # a second tap on Sign In finds a completed grant this long
MENDS: Final = "remove the app in the Ring app and connect it again"
OURS_FIRST: Final = "whoever runs this service has to mend that first; then"
TAP: Final = "tap Sign In in the Ring app again"
TAP_OR_MEND: Final = f"{TAP}; if that does not help, {MENDS}"  # where nothing of the account is here that a tap could find
GOES_ON: Final = (
    "; if you had done that before you signed in, this page goes on by itself"  # the sign-in looks for the new code's grant
)
REMOVED: Final = "if the app was removed in the Ring app, connect it there again"

Call = Literal["exchange", "identify", "post", "patch", "refresh", "devices"]
_PLAIN: Final[dict[Stage, Stage]] = {"exchanging": "exchange", "posting": "post", "refreshing": "refresh"}
_LINES: Final[dict[Stage, int]] = {
    "identify": NAMES,
    "probe": PATCHES,
    "verify": PATCHES,
    "patch": PATCHES,
    "wait": ASIDE,
    "rest": ASIDE,
}
_ONCE: Final = frozenset({"refreshed"})  # marks of which only the last is kept: tokens are renewed for years


class Verdict(msgspec.Struct, frozen=True):
    """What the grant's attempt learns: its new state, and the reason in words."""

    state: LinkState
    reason: str | None = None


class Move(msgspec.Struct, frozen=True):
    """A transition: the row as it shall be, what its attempt learns, and the call to make once the row is held."""

    grant: Grant
    verdict: Verdict | None = None
    call: Call | None = None


def plain(stage: Stage) -> Stage:
    """Return the stage without the intent: what is sent and put off again has not moved."""
    return _PLAIN.get(stage, stage)


def to(grant: Grant, stage: Stage, due_at: float | None) -> Grant:
    """Enter a stage with clean counts; a refresh keeps them, since it goes back."""
    changes: dict[str, Any] = {"stage": stage, "due_at": due_at, "tries": 0, "begun": 0, "reason": None}
    changes["queue"] = renewing(grant) if stage == "refresh" else _LINES.get(stage, LINKS)
    if stage != "refresh":
        changes |= {"renewed": False, "untaken_at": None, "resume": None, "resume_at": None}
    return replace(grant, **changes)


def renewing(grant: Grant) -> int:
    """Return the line of a renewal that somebody waits for."""
    return FRESHENED if linking(grant) else WANTED


def given_up_at(grant: Grant) -> float:
    """Return when waiting or trying ends: 30 days after the code, the last opening or the sign-in at hand, whichever was last.

    A link may have stood for years before its user signs in once more.
    """
    return max(grant.received_at, grant.open_at or 0.0, grant.nonce_until or 0.0) + KEPT


def again(grant: Grant, outcome: Outcome, now: float) -> Move:
    """Try the same stage later: as long as Ring asked for, or longer each time."""
    words = outcome.words if not isinstance(outcome, Done) else "an answer without what was asked"
    due_at = next_try(grant, now, asked=getattr(outcome, "wait", 0.0))
    changes: dict[str, Any] = {"due_at": due_at, "tries": grant.tries + 1, "begun": 0, "reason": words}
    return Move(replace(grant, **changes, renewed=False, untaken_at=None))


def ended(grant: Grant, state: LinkState, words: str, now: float, *, risk: Risk | None = None, dead: bool = False) -> Move:
    """End a grant for good, with the reason; its code and tokens are dropped. `dead`: Ring did not take its tokens any more."""
    over = replace(grant, state=state, code=None, access=None, refresh=None, expires_at=None, pool=None)
    over = replace(over, tokens_at=None, settles_at=None, risk=risk, withdrawn_at=None, look_at=None, looks=0)
    over = replace(over, nonce_until=None)
    looks_on = grant.state == "completed" or (dead and _of_another(grant))
    verdict = Verdict("received", words + GOES_ON) if looks_on else Verdict(state, words)
    return Move(replace(to(marked(over, state, now), "rest", None), reason=words), verdict if linking(grant) else None)


def _of_another(grant: Grant) -> bool:
    """Say whether the sign-in may be meant for another grant of the account, which is on its way.

    Ring sends nobody to sign in without a code. Tokens that it took since then were this one's; and who removed the app after
    signing in wants the link no more.
    """
    sent_at = (grant.nonce_until or 0.0) - NONCE_LIFE
    return grant.state == "claimed" and (grant.withdrawn_at or 0.0) < sent_at


def hold(grant: Grant, tokens: Tokens) -> Grant:
    """Keep tokens that Ring gave, maybe long ago where the store was away; what was doubtful of their predecessors is over."""
    fresh = replace(grant, access=tokens.access, refresh=tokens.refresh, writes=tokens.writes, expires_at=tokens.expires_at)
    return replace(fresh, tokens_at=tokens.given_at, settles_at=None, untaken_at=None, risk=None)


def marked(grant: Grant, name: str, now: float) -> Grant:
    """Note that something happened."""
    before = [mark for mark in grant.marks if mark[0] != name or name not in _ONCE]
    return replace(grant, marks=(*before, (name, now)))
