"""When a step that did not succeed is tried again: a table, spread by each grant's own dice, bounded by what then ends. Pure."""

from typing import Final

from linker.rows import ENDED, Grant, Stage

CODE_LIFE: Final = 60.0  # seconds; Ring forgets the code then
CODE_LAST: Final = 55.0  # an older one is not sent: the answer would come too late
NONCE_LIFE: Final = 600.0
NONCE_LAST: Final = 590.0  # a POST that starts later would arrive too late
FIRST: Final = 0.5  # seconds before the second try; each later one waits twice as long, at most
FOR_A_CODE: Final = 4.0  # where a code is dying,
FOR_A_USER: Final = 20.0  # where somebody has signed in, or may do so any moment,
SLOWEST: Final = 300.0  # and everywhere else
SITS: Final = 2 * NONCE_LIFE  # seconds after its code that whoever connects an app may still sit before the page
LAST_TRY: Final = 10.0  # seconds before the end that nobody waits beyond: there is room for one more try
AFTER: Final = 0.001  # seconds after the end that it is told
_POSTS: Final[frozenset[Stage]] = frozenset({"post", "posting", "probe"})  # a nonce that is over is good for nothing there


def dice(grant: Grant, turn: int) -> float:
    """Return a number in [0, 1) that is this grant's own at this turn, and the same whenever it is asked for."""
    return (int(grant.code_hash[:8], 16) + turn * 0x9E3779B9) % 2**32 / 2**32


def linking(grant: Grant) -> bool:
    """Say whether a sign-in waits for what becomes of the grant; that may be a completed one, which serves on."""
    return grant.nonce_until is not None and grant.state not in ENDED


def pause(grant: Grant, now: float) -> float:
    """Return the seconds before the next try: 0.5, 1, 2 …, spread by half either way so that grants do not march in step."""
    return min(_longest(grant, now), FIRST * 2.0 ** min(grant.tries, 20)) * (0.5 + dice(grant, grant.tries))


def next_try(grant: Grant, now: float, *, asked: float = 0.0) -> float:
    """Return when the grant's stage is tried again; `asked`: seconds that Ring asked for.

    Nobody waits beyond the end of a code or a nonce: shortly before it there is one more try, and at it the end is told.
    """
    return bounded(grant, now + max(pause(grant, now), asked), now)


def bounded(grant: Grant, at: float, now: float) -> float:
    """Return the time, or the last one that is of use."""
    end = _end(grant)
    if end is None or now > end:
        return at
    last = end - LAST_TRY * (0.5 + dice(grant, grant.tries))
    return min(at, last if now < last else end + AFTER)


def posted_until(grant: Grant) -> float:
    """Return until when the grant's nonce may be posted."""
    return (grant.nonce_until or 0.0) - (NONCE_LIFE - NONCE_LAST)


def _end(grant: Grant) -> float | None:
    """Return when trying again is of no use any more, where that is soon."""
    if grant.stage in {"exchange", "exchanging"}:
        return grant.received_at + CODE_LAST
    return posted_until(grant) if linking(grant) and (_goes_on(grant) in _POSTS or to_post(grant)) else None


def to_post(grant: Grant) -> bool:
    """Say whether a sign-in's nonce is to be posted yet, maybe after a renewal, or a look whether the app was removed."""
    stage = _goes_on(grant)
    return linking(grant) and (stage == "post" or (stage == "look" and not grant.posts and grant.state != "awaiting"))


def _goes_on(grant: Grant) -> Stage | None:
    return grant.resume if grant.stage in {"refresh", "refreshing"} else grant.stage


def _longest(grant: Grant, now: float) -> float:
    if grant.stage in {"exchange", "exchanging"}:
        return FOR_A_CODE
    connects = grant.state == "exchanged" and now < grant.received_at + SITS
    return FOR_A_USER if connects or (linking(grant) and now <= (grant.nonce_until or 0.0)) else SLOWEST
