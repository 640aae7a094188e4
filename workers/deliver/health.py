"""A destination's health: whether it lives, how many requests may start now, and when a broken one is probed. Pure."""

from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from workers.deliver.answer import RETRY_AFTER_CAP_S, Verdict

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

    @property
    def failing(self) -> bool:
        """Say whether the destination, not one event, is at fault: fetching stops, no attempt is spent, nothing is buried."""
        return self.gone or len(self.failed) >= FAILING_AT

    def state(self, now: datetime) -> State:
        """Return the one word for metrics and people."""
        if self.gone:
            return "gone"
        if self.failing:
            return "failing"
        return "throttled" if self.quiet_until and now < self.quiet_until else "well"

    def room(self, now: datetime) -> int:
        """Return how many requests may start now: none when gone or asked to wait, one probe when failing."""
        if self.gone or (self.quiet_until is not None and now < self.quiet_until):
            return 0
        if not self.failing:
            return max(self.concurrency - self.flying, 0)
        return int(self.flying == 0 and (self.probe_at is None or now >= self.probe_at))

    def began(self, count: int) -> "Health":
        """Return the health with `count` more requests in flight."""
        return replace(self, flying=self.flying + count)

    def cut(self) -> "Health":
        """Return the health after a request that was cancelled: it says nothing."""
        return replace(self, flying=self.flying - 1)

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
            return replace(down, life=now, failed=frozenset(), probes=0, probe_at=None)
        if verdict is Verdict.GONE:
            return replace(down, gone=True)
        if verdict is Verdict.THROTTLED and asked is not None:
            down = _hushed(down, now + timedelta(seconds=min(asked, RETRY_AFTER_CAP_S)))
        known = tried is not None and self.life is not None and self.life >= tried and not self.failing
        return down if known else _worse(down, event, now, dice)


def _hushed(health: Health, until: datetime) -> Health:
    """Return the health of a destination that is sent nothing until then, or until what it has asked for before."""
    return replace(health, quiet_until=max(until, health.quiet_until or until))


def _worse(health: Health, event: Event, now: datetime, dice: float) -> Health:
    """Return the health with one more failure; only what opened the breaker, or a probe, moves the next probe."""
    if health.failing and health.probe_at is not None and now < health.probe_at:
        return health  # it was under way when the breaker opened
    failed = health.failed if health.failing else health.failed | {event}
    if len(failed) < FAILING_AT:
        return replace(health, failed=failed)
    pause = min(PROBE_FIRST_S * 2.0 ** min(health.probes, 30), PROBE_LONGEST_S) * (0.8 + 0.2 * dice)
    return replace(health, failed=failed, probes=health.probes + 1, probe_at=now + timedelta(seconds=pause))
