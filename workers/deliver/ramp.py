"""How many requests may be in flight to a destination that was down, or that says it is too much. Pure.

As TCP does it (RFC 5681): slow start after a failing spell, half as many on a refusal, then one more with each round. Successes
count only where all was in flight that may be without live events, at least three quarters of what is allowed (RFC 7661): one
at a time proves nothing of many.
"""

import msgspec
from msgspec.structs import replace

from workers.deliver.share import most


class Ramp(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Twice as many with each round of successes below `threshold`; from there on one more."""

    allowed: int = 1
    threshold: int
    gained: int = 0  # successes toward the next one, from the threshold on
    proving: int = 0  # answers to come of requests that were in flight when enough of those allowed were
    stale: int = 0  # answers to come of requests that began before it was halved: a burst of refusals is one

    def used(self, flying: int) -> "Ramp":
        """Return the ramp with so many in flight."""
        return replace(self, proving=flying) if flying >= most(self.allowed) else self

    def ended(self) -> "Ramp":
        """Return the ramp after a request that says nothing of how many it may be."""
        return replace(self, proving=max(self.proving - 1, 0), stale=max(self.stale - 1, 0))

    def took(self) -> "Ramp":
        """Return the ramp after a success."""
        left = self.ended()
        if not self.proving:
            return left
        if self.allowed < self.threshold or self.gained + 1 >= self.allowed:
            return replace(left, allowed=self.allowed + 1, gained=0)
        return replace(left, gained=self.gained + 1)

    def refused(self, flying: int) -> "Ramp":
        """Return the ramp after an answer that says it is too much, with so many in flight still."""
        return self.ended() if self.stale else halved(self.allowed, flying)


def halved(allowed: int, flying: int) -> Ramp:
    """Return the ramp after the first refusal."""
    half = max(allowed // 2, 1)
    return Ramp(allowed=half, threshold=half, stale=flying)
