"""A destination's health: whether it lives, how many requests may start now, and when a broken one is probed. Pure."""

from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec
from msgspec.structs import replace

from workers.deliver.answer import RETRY_AFTER_CAP_S, Verdict
from workers.deliver.ramp import Ramp, halved

Event = tuple[int, int]  # lane index and offset
State = Literal["well", "throttled", "failing", "gone", "paused"]

FAILING_AT: Final = 5  # different events that failed since the last sign of life; what one is answered may be about it alone
SILENT_AT: Final = 3  # attempts in a row, on however few events, that brought no answer about one: nothing says that it lives
SILENT_S: Final = 30.0  # from the first of them to the latest: longer than a restart
SILENT_LAPSES_S: Final = 900.0  # without an attempt: longer than any waits that is to be made, the longest Retry-After included
PROBE_FIRST_S: Final = 1.0  # doubles with each failed probe
PROBE_LONGEST_S: Final = 60.0
_ALIVE: Final = (Verdict.ACCEPTED, Verdict.REFUSED)


class Silence(msgspec.Struct, frozen=True, gc=False):
    """Attempts in a row that brought nothing about their events: no answer, or one about who asks, where, how or when."""

    since: datetime
    latest: datetime
    attempts: int = 1

    @property
    def lasts(self) -> bool:
        """Say whether it is about the destination, however few events were tried."""
        return self.attempts >= SILENT_AT and self.latest - self.since >= timedelta(seconds=SILENT_S)

    def again(self, now: datetime) -> "Silence":
        """Return it after one more attempt; where that came long after the others, they say nothing of today."""
        lapsed = now - self.latest > timedelta(seconds=SILENT_LAPSES_S)
        return Silence(now, now) if lapsed else Silence(self.since, now, self.attempts + 1)


class Health(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What is known of one destination, over all lanes of this process. `concurrency` bounds the requests in flight."""

    concurrency: int
    flying: int = 0
    life: datetime | None = None  # when it last showed life: 2xx, or a 4xx about the event
    failed: frozenset[Event] = frozenset()  # different events that failed since; never more than FAILING_AT are kept
    silence: Silence | None = None  # since the last sign of life, or answer about an event
    probes: int = 0
    probe_at: datetime | None = None
    quiet_until: datetime | None = None  # the longest Retry-After of an answer that throttles
    gone: bool = False
    ramp: Ramp | None = None  # where fewer than `concurrency` may be in flight

    @property
    def failing(self) -> bool:
        """Say whether the destination, not one event, is at fault: fetching stops, no attempt is spent, nothing is buried."""
        return self.gone or self.many_failed or self.silent

    @property
    def many_failed(self) -> bool:
        """Say whether too many different events failed for it to be about them."""
        return len(self.failed) >= FAILING_AT

    @property
    def silent(self) -> bool:
        """Say whether it has said nothing of any event for too long."""
        return self.silence is not None and self.silence.lasts

    @property
    def allowed(self) -> int:
        """Return how many requests may be in flight at a time; one that is failing gets one, its probe."""
        return 1 if self.failing else self._granted

    @property
    def _granted(self) -> int:
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
        if self._rests(now):
            return 0
        if self.failing and self.probe_at is not None and now < self.probe_at:
            return 0
        allowed = self.allowed if self.failing else min(self.allowed + late, self.concurrency)
        return max(allowed - self.flying, 0)

    def fresh(self, now: datetime) -> int:
        """Return how many that were never sent may start beside its probes: where only few failed, others may get through."""
        if self._rests(now) or self.many_failed or not self.silent:
            return 0
        return max(min(self._granted, FAILING_AT) - self.flying, 0)

    def _rests(self, now: datetime) -> bool:
        return self.gone or (self.quiet_until is not None and now < self.quiet_until)

    def began(self, count: int) -> "Health":
        """Return the health with `count` more requests in flight."""
        flying = self.flying + count
        return replace(self, flying=flying, ramp=self.ramp and self.ramp.used(flying))

    def cut(self) -> "Health":
        """Return the health after a request that was cancelled: it says nothing."""
        return replace(self, flying=self.flying - 1, ramp=self.ramp and self.ramp.ended())

    def resumed(self) -> "Health":
        """Return the health of one that is to be sent to now, as much as it takes, whatever it has asked for or refused.

        Nor does it matter how long it was silent: who resumes it may have mended that.
        """
        return replace(self, silence=None, quiet_until=None, probe_at=None, ramp=None)

    def after(
        self,
        verdict: Verdict,
        event: Event,
        now: datetime,
        *,
        tried: datetime | None = None,
        answered: bool = False,
        asked: float | None = None,
        dice: float = 0.5,
    ) -> "Health":
        """Return the health after an answer; `asked` is Retry-After in seconds, `dice` in [0, 1) jitters the next probe.

        What throttles speaks of all events, so its Retry-After holds all back; any other answer's is about its event alone.
        `tried` is when the event's attempt before began: where others got through since, its failing again says nothing new.
        `answered`: it may be about the event, and not about the destination.
        """
        down = replace(self.cut(), silence=None) if answered else self.cut()
        if verdict in _ALIVE:
            return replace(down, life=now, failed=frozenset(), silence=None, probes=0, probe_at=None, ramp=_risen(self))
        if verdict is Verdict.GONE:
            return replace(down, gone=True)
        if verdict is Verdict.THROTTLED:
            allowed = 1 if self.many_failed else self.concurrency
            ramp = self.ramp.refused(down.flying) if self.ramp else halved(allowed, down.flying)
            down = replace(down, ramp=ramp, quiet_until=_quiet(self, now, asked))
        known = tried is not None and self.life is not None and self.life >= tried and not self.failing
        return down if known else _worse(_silenced(down, now, answered=answered), event, now, dice)


def _risen(health: Health) -> Ramp | None:
    """Return the ramp after a sign of life; what has just come up begins with one, lest what waits bury it."""
    if health.gone or health.many_failed:
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


def _silenced(health: Health, now: datetime, *, answered: bool) -> Health:
    """Return the health after an attempt that failed, as to whether anything is said at all."""
    if answered:
        return health
    return replace(health, silence=health.silence.again(now) if health.silence else Silence(now, now))


def _worse(health: Health, event: Event, now: datetime, dice: float) -> Health:
    """Return the health with one more failure; only what opened the breaker, or a probe, moves the next probe."""
    worse = health if health.many_failed else replace(health, failed=health.failed | {event})
    if not worse.failing:
        return replace(worse, probes=0, probe_at=None)
    if worse.probe_at is not None and now < worse.probe_at:
        return worse  # it was under way when the breaker opened, or did not wait for the probe
    pause = min(PROBE_FIRST_S * 2.0 ** min(worse.probes, 30), PROBE_LONGEST_S) * (0.8 + 0.2 * dice)
    return replace(worse, probes=worse.probes + 1, probe_at=now + timedelta(seconds=pause))
