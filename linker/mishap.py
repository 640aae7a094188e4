"""What a sign-in that finds no grant may be told of: the last code before it that came to nothing. Pure.

Such a code names no account, so nobody knows whose it was: the words say "if it was yours", and not what Ring answered.
"""

from datetime import UTC, datetime
from typing import Final

import msgspec

from linker.moves import MENDS
from schemas.records import LinkState

BEFORE: Final = 900.0  # seconds a user may take from connecting the app to confirming: a nonce's ten minutes, and some before
FORGOTTEN: Final = "the operator had this Ring account forgotten: it is not linked again"
_WHY: Final[dict[LinkState, str]] = {
    "expired": "it could not be told to Ring in time",
    "lost": "Ring's answer to it never came, or was not clear",
    "rejected": "Ring did not accept it",
}


class Mishap(msgspec.Struct, frozen=True, kw_only=True):
    """A code that ended before Ring said whose it was."""

    received_at: float
    state: LinkState
    reason: str | None = None


def guess(mishap: Mishap) -> str:
    """Return what is said of it to a user who waits, and whom it may not concern."""
    clock = datetime.fromtimestamp(mishap.received_at, UTC).strftime("%H:%M UTC")
    if mishap.reason == FORGOTTEN:
        return (
            f"a connection begun at {clock} was of a Ring account that was deleted here at its owner's or the operator's wish; "
            "if it was yours, this account cannot be linked again"
        )
    why = _WHY.get(mishap.state, "it broke")
    return f"a connection begun at {clock} could not be used ({why}); if it was yours, {MENDS}"
