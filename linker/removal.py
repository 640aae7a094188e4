"""A removal that Ring tells of, and what shows that it is true. Pure (correctness.md §7, decision 17).

A webhook may come late, or again: it only raises a doubt in the grants whose codes came before it. Ring itself decides it: a
token known to be unexpired that `GET /v1/devices` answers with 401, or a renewal that is refused, ends the grant. Where Ring
still takes the token the grant serves on, and is looked at three times more, since nobody promises that the tokens end first.
"""

from typing import Final

from msgspec.structs import replace

from linker import refresh
from linker.moves import KEPT, Move, again, ended, plain, to
from linker.outcomes import NotSent, Outcome, Unauthorised, Unclear
from linker.rows import ASIDE, ENDED, LINKS, Grant, Stage
from linker.schedule import linking

GONE: Final = "the app was removed in the Ring app: connect it there again to use it"
LOOKS: Final = (60.0, 600.0, 3_600.0)  # seconds until it is looked at again, where Ring still takes the token
_TAKEN: Final = frozenset({"lost_refused", "lost_unanswered", "lost_unaccepted"})  # what the loss of removed tokens looks like
_PATCHES: Final = frozenset({"probe", "verify", "patch"})
_HOME: Final[dict[str, Stage]] = {"unclaimed": "wait", "completed": "rest"}


def told(grant: Grant, removed_at: float, now: float) -> Move:
    """Doubt a grant whose code came before the removal; one whose tokens Ring had refused already needs no other proof."""
    if grant.received_at >= removed_at or removed_at <= (grant.withdrawn_at or 0.0):
        return Move(grant)
    if grant.state == "lost" and grant.risk in _TAKEN:
        return gone(grant, now)
    if grant.state in ENDED:
        return Move(grant)
    doubted = replace(grant, withdrawn_at=removed_at, look_at=now, looks=0)
    in_flight = plain(grant.stage) != grant.stage  # whoever awaits Ring's answer writes that down first
    put_off = grant.stage == "refresh" and not _good(grant, now)  # by Ring, or until an earlier request is surely over
    return Move(doubted if in_flight or put_off else replace(doubted, due_at=now))


def begin(grant: Grant, now: float) -> Move | None:
    """Say how a doubted grant is looked at; None: it goes on as any other, for now."""
    if grant.stage == "look":
        return _ask(grant, now)
    if grant.look_at is None or now < grant.look_at or plain(grant.stage) != grant.stage:
        return None
    if grant.stage == "refresh" and (grant.resume == "look" or not _good(grant, now)):
        return None  # refused it ends, and renewed it is asked
    unheard = grant.stage in _PATCHES  # a PATCH may be under way whose answer nobody will take
    doubted = to(replace(grant, patched=grant.patched or unheard), "look", now)
    return Move(replace(doubted, queue=LINKS if linking(grant) else ASIDE))


def end(grant: Grant, outcome: Outcome, now: float) -> Move:
    """Say what Ring's answer to GET devices makes of the grant."""
    match outcome:
        case Unauthorised():
            return gone(grant, now)
        case NotSent() | Unclear() if now < (grant.withdrawn_at or now) + KEPT:
            return again(grant, outcome, now)
        case _:
            return Move(_home(_calmer(grant, now), now))


def judged(before: Grant, move: Move, now: float) -> Move:
    """Call a loss by its name: tokens that Ring refuses after it told of a removal were taken back."""
    lost = move.grant.state == "lost" and before.state != "lost" and move.grant.risk in _TAKEN
    return gone(before, now) if lost and before.withdrawn_at is not None else move


def gone(grant: Grant, now: float) -> Move:
    """End a grant whose removal is proven."""
    return ended(grant, "removed", GONE, now, dead=True)


def _ask(grant: Grant, now: float) -> Move:
    if _good(grant, now) and (grant.renewed or not refresh.stale(grant, now)):
        return Move(grant, call="devices")
    return Move(refresh.first(grant, grant.reason, now))


def _good(grant: Grant, now: float) -> bool:
    """Say whether the access token is known to be unexpired: only then a 401 is a proof."""
    return grant.access is not None and grant.expires_at is not None and now < grant.expires_at


def _calmer(grant: Grant, now: float) -> Grant:
    """Look again later, or never again."""
    if grant.looks < len(LOOKS):
        return replace(grant, look_at=now + LOOKS[grant.looks], looks=grant.looks + 1)
    return replace(grant, look_at=None, withdrawn_at=None, looks=0)


def _home(grant: Grant, now: float) -> Grant:
    """Go back to where the grant's state is at home; a POST that may have arrived is asked for by PATCH."""
    signing_in: Stage = "patch" if grant.state == "awaiting" else "probe" if grant.posts else "post"
    stage = signing_in if linking(grant) else _HOME[grant.state]
    after = to(grant, stage, now)
    return replace(after, due_at=refresh.rests_until(after)) if stage in {"wait", "rest"} else after
