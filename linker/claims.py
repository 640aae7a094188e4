"""The life of an attempt (one confirmed sign-in), as pure transitions. Security 1: a nonce is one user's, once."""

from hashlib import sha256
from typing import Final

from msgspec.structs import replace

from linker.mishap import FORGOTTEN, Mishap, guess
from linker.moves import GOES_ON, TAP_OR_MEND
from linker.rows import ENDED, OVER, Attempt, Grant
from linker.saga import TAP, Move, Verdict, claimed
from linker.schedule import CODE_LIFE, NONCE_LIFE, linking
from schemas.records import CLOCKS_APART

RINGS_CLOCK: Final = 120.0  # seconds that our clock may be ahead of Ring's: a host's that runs free is not off by more unnoticed
QUICK: Final = 1.0  # seconds until an attempt that found no grant looks again
OWN_CODE: Final = CODE_LIFE + 5.0  # seconds after Ring sent the browser in which the code that came before is exchanged, or never
OVERLAP: Final = 60.0  # seconds a look reaches back behind the last one: commits need not appear in the order of their times
LOOKING: Final = 32  # sign-ins of one user that look for their grants at a time: each costs as much as any other user's
NOBODY: Final = ""  # who signed in where that was forgotten
_UNKNOWN: Final = "Ring did not let us know this account within the sign-in's 10 minutes"
_CROWDED: Final = f"you signed in {LOOKING} more times since, and only those sign-ins were looked for: {TAP}"
CONTESTED: Final = f"two users confirmed the same sign-in; neither was linked: {TAP_OR_MEND}"


def requested(*, attempt: str, nonce_hash: str, secret: bytes, time: str, partner_user: str, at: float) -> Attempt:
    """Return the row of a sign-in that was just confirmed; `time` is Ring's text, 13 digits of epoch milliseconds."""
    return Attempt(
        attempt=attempt,
        nonce_hash=nonce_hash,
        secret=secret,
        time=time,
        until=int(time) / 1000 + NONCE_LIFE,
        partner_user=partner_user,
        requested_at=at,
        due_at=at,
        marks=(("signed in", at),),
    )


def apart(attempt: str, partner_user: str) -> str:
    """Return the id under which a second user stands who confirmed this attempt, too: the browser's cookie was put back."""
    return f"{attempt}.{sha256(partner_user.encode()).hexdigest()[:22]}"


def collided(first: Attempt, second: Attempt, now: float) -> tuple[Attempt, Attempt]:
    """Return both after `second` brought the nonce that `first` has already: the same user follows, two users contest."""
    later = replace(second, nonce_hash=None)
    if first.partner_user == second.partner_user:
        return first, replace(later, follows=first.attempt, secret=None, due_at=None)
    if first.state == "completed":
        return first, learned(later, Verdict("rejected", f"this sign-in has already linked another user: {TAP}"), now)
    contested = Verdict("contested", CONTESTED)
    return (first if first.state in ENDED else learned(first, contested, now)), learned(later, contested, now)


def coded_by(attempt: Attempt) -> float:
    """Return by when the code of this nonce's connection has come (decision 19).

    Ring sends the browser once the code is answered; within the code's life it may have had to send it again. Only the nonce's
    time is by Ring's clock.
    """
    return min(attempt.requested_at + CLOCKS_APART, attempt.until - NONCE_LIFE + CODE_LIFE + RINGS_CLOCK)


def crowded(attempt: Attempt, now: float) -> Attempt:
    """Return the attempt as ended since its user began so many newer ones, which would all be looked for."""
    return learned(attempt, Verdict("expired", _CROWDED), now)


def overdue(attempt: Attempt, now: float) -> Attempt | None:
    """Return the attempt as expired once its nonce's window is over, with the reason."""
    if now <= attempt.until:
        return None
    if attempt.grant and attempt.reason:
        words = attempt.reason.removesuffix(GOES_ON)  # why its grant ended: no other one came
    elif attempt.grant:
        words = f"another sign-in of this Ring account was under way until the 10 minutes of this one were over: {TAP}"
    elif attempt.horizon is None:
        words = f"our side did not get to it before the sign-in's 10 minutes were over: {TAP_OR_MEND}"
    elif attempt.reason:
        words = f"{_UNKNOWN}: {attempt.reason}; if it was not, {TAP}"
    else:
        words = f"{_UNKNOWN}: {TAP_OR_MEND}"
    return learned(attempt, Verdict("expired", words), now)


def unmatched(
    attempt: Attempt, looked_at: float | None, now: float, mishap: Mishap | None = None, met: Grant | None = None
) -> Attempt:
    """Let the attempt wait for its grant until the window ends; what may have kept the grant from coming is its reason.

    `looked_at`: when all that were there were tried; None: some were not, for want of room or of their app's key.

    `met`: the grant that its nonce named before. Where another sign-in's end was that grant's, too, it is this one's reason.
    """
    wait = QUICK + max(0.0, now - attempt.requested_at) / 20  # 1 s at first, half a minute at the end
    due_at = min(now + wait, attempt.until + 0.001)
    if attempt.grant is None:
        attempt = replace(attempt, reason=guess(mishap) if mishap else None)
    elif met and met.state in ENDED and met.reason:
        attempt = replace(attempt, reason=met.reason + GOES_ON)
    return replace(attempt, horizon=attempt.horizon if looked_at is None else looked_at, due_at=due_at)


def unread(attempt: Attempt, wait: float, now: float) -> Attempt:
    """Let an attempt wait that nobody here can read; at its end that is told as our own failure."""
    return replace(attempt, due_at=min(now + wait, attempt.until + 0.001))


def matched(attempt: Attempt, grant: Grant, now: float) -> tuple[Attempt, Move | None]:
    """Decide between an attempt and the grant whose account its nonce names; a Move is what the grant does with it.

    Ring is told of a link that is complete, too: the user may have connected anew since, and the new code be lost.
    """
    guessed = attempt.grant is None  # what was said while no grant was known is not so
    known = replace(attempt, grant=grant.code_hash, reason=None if guessed else attempt.reason)
    sent_at = attempt.until - NONCE_LIFE
    others = grant.state == "completed" and grant.partner_user != attempt.partner_user
    gone = grant.withdrawn_at is not None and grant.withdrawn_at < sent_at
    if (others or gone) and now < sent_at + OWN_CODE:
        return unmatched(known, now, now), None  # the user may have connected anew, and that code be under way still
    if others:
        words = f"this Ring account is already linked to another user: remove the app there first, or {TAP}"
        return learned(known, Verdict("rejected", words), now), None
    if grant.state == "unclaimed" or (grant.state == "completed" and not linking(grant)):
        move = claimed(grant, attempt=attempt.attempt, partner_user=attempt.partner_user, nonce_until=attempt.until, now=now)
        return learned(known, Verdict("claimed"), now), move
    return unmatched(known, now, now), None  # another sign-in's: wait how that ends


def swept(attempt: Attempt, now: float) -> Attempt:
    """Return a sign-in whose account was forgotten meanwhile: how it ended, and nothing of whose it was."""
    nameless = replace(attempt, partner_user=NOBODY, nonce_hash=None, grant=None, follows=None, counter=attempt.counter + 1)
    return learned(nameless, Verdict("rejected", FORGOTTEN), now)


def learned(attempt: Attempt, verdict: Verdict, now: float) -> Attempt:
    """Return the attempt after its grant moved; what is not needed any more is dropped."""
    again = verdict.state == "received"  # its grant ended, and another one may come
    secret = None if verdict.state in OVER else attempt.secret
    marks = attempt.marks if again else (*attempt.marks, (verdict.state, now))
    due_at = now if again else None
    return replace(attempt, state=verdict.state, reason=verdict.reason, secret=secret, due_at=due_at, marks=marks)
