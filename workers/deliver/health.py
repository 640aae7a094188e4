"""A destination's health: whether it lives, how many requests may start now, and when a broken one is probed. Pure."""

from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from workers.deliver.answer import RETRY_AFTER_CAP_S, Verdict
from workers.deliver.ramp import Ramp, halved

Event = tuple[int, int]  # lane index and offset
State = Literal["well", "throttled", "failing", "gone", "paused"]

FAILING_AT: Final = 5  # different events that failed since the last sign of life; one event alone says nothing of its destination
PROBE_FIRST_S: Final = 1.0  # doubles with each failed probe
PROBE_LONGEST_S: Final = 60.0
_ALIVE: Final = (Verdict.ACCEPTED, Verdict.REFUSED)


class Health(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is known of one destination, over all lanes of this process. `concurrency` bounds the requests in flight."""

    concurrency: int
    flying: int = 0
    life: datetime | None = None  # when it last showed life: 2xx, or a 4xx about the event
    failed: frozenset[Event] = frozenset()  # different events that failed since; never more than FAILING_AT are kept
    probes: int = 0
    probe_at: datetime | None = None
    quiet_until: datetime | None = None  # the longest Retry-After of an answer that throttles
    gone: bool = False
    ramp: Ramp | None = None  # where fewer than `concurrency` may be in flight

    @property
    def failing(self) -> bool:
        """Say whether the destination, not one event, is at fault: fetching stops, no attempt is spent, nothing is buried."""
        return self.gone or len(self.failed) >= FAILING_AT

    @property
    def allowed(self) -> int:
        """Return how many requests may be in flight at a time; one that is failing gets one, its probe."""
        if self.failing:
            return 1
        return self.concurrency if self.ramp is None else self.ramp.allowed

    def state(self, now: datetime) -> State:
        """Return the one word for metrics and people."""
        if self.gone:
            return "gone"
        if self.failing:
            return "failing"
        return "throttled" if self.quiet_until and now < self.quiet_until else "well"

    def room(self, now: datetime, late: int = 0) -> int:
        """Return how many requests may start now: none when gone or asked to wait, one probe when failing, few after that.

        `late` requests in flight hang and others do not: of few, they would leave nothing for anybody else.
        """
        if self.gone or (self.quiet_until is not None and now < self.quiet_until):
            return 0
        if self.failing and self.probe_at is not None and now < self.probe_at:
            return 0
        allowed = self.allowed if self.failing else min(self.allowed + late, self.concurrency)
        return max(allowed - self.flying, 0)

    def began(self, count: int) -> "Health":
        """Return the health with `count` more requests in flight."""
        flying = self.flying + count
        return replace(self, flying=flying, ramp=self.ramp and self.ramp.used(flying))

    def cut(self) -> "Health":
        """Return the health after a request that was cancelled: it says nothing."""
        return replace(self, flying=self.flying - 1, ramp=self.ramp and self.ramp.ended())

    def resumed(self) -> "Health":
        """Return the health of one that is to be sent to now, as much as it takes, whatever it has asked for or refused."""
        return replace(self, quiet_until=None, probe_at=None, ramp=None)

    def after(
        self,
        verdict: Verdict,
        event: Event,
        now: datetime,
        *,
        tried: datetime | None = None,
        asked: float | None = None,
        dice: float = 0.5,
    ) -> "Health":
        """Return the health after an answer; `asked` is Retry-After in seconds, `dice` in [0, 1) jitters the next probe.

        What throttles speaks of all events, so its Retry-After holds all back; any other answer's is about its event alone.
        `tried` is when the event's attempt before began: where others got through since, its failing again says nothing new.
        """
        down = self.cut()
        if verdict in _ALIVE:
            return replace(down, life=now, failed=frozenset(), probes=0, probe_at=None, ramp=_risen(self))
        if verdict is Verdict.GONE:
            return replace(down, gone=True)
        if verdict is Verdict.THROTTLED:
            ramp = self.ramp.refused(down.flying) if self.ramp else halved(self.allowed, down.flying)
            down = replace(down, ramp=ramp, quiet_until=_quiet(self, now, asked))
        known = tried is not None and self.life is not None and self.life >= tried and not self.failing
        return down if known else _worse(down, event, now, dice)


def _risen(health: Health) -> Ramp | None:
    """Return the ramp after a sign of life; what has just come up begins with one, lest what waits bury it."""
    if health.failing:
        ramp: Ramp | None = Ramp(threshold=health.concurrency, stale=health.ramp.ended().stale if health.ramp else 0)
    else:
        ramp = health.ramp and health.ramp.took()
    return ramp if ramp and ramp.allowed < health.concurrency else None


def _quiet(health: Health, now: datetime, asked: float | None) -> datetime | None:
    """Return until when nothing is sent: as was asked for before, or now, whichever is later."""
    if asked is None:
        return health.quiet_until
    until = now + timedelta(seconds=min(asked, RETRY_AFTER_CAP_S))
    return max(until, health.quiet_until or until)


def _worse(health: Health, event: Event, now: datetime, dice: float) -> Health:
    """Return the health with one more failure; only what opened the breaker, or a probe, moves the next probe."""
    if health.failing and health.probe_at is not None and now < health.probe_at:
        return health  # it was under way when the breaker opened
    failed = health.failed if health.failing else health.failed | {event}
    if len(failed) < FAILING_AT:
        return replace(health, failed=failed)
    pause = min(PROBE_FIRST_S * 2.0 ** min(health.probes, 30), PROBE_LONGEST_S) * (0.8 + 0.2 * dice)
    return replace(health, failed=failed, probes=health.probes + 1, probe_at=now + timedelta(seconds=pause))
