"""Seam 3: what becomes of one event after one answer. Pure: no I/O, no clock, `dice` in [0, 1)."""

from datetime import UTC, datetime, timedelta
from typing import Final, Literal, Protocol

import msgspec
from msgspec.structs import replace

from workers.deliver.answer import Answer, Failure, Verdict
from workers.deliver.health import Health

# Attempts of an event that fails while its destination works, each so long after the one before:
# 1 s · 5 s · 30 s · 2 min · 5 min · 10 min · 20 min · 30 min, then it is buried (68 minutes after the first).
SCHEDULE_S: Final = (1.0, 5.0, 30.0, 120.0, 300.0, 600.0, 1200.0, 1800.0)
REFUSED_LIMIT: Final = 3  # a 4xx about the event is the partner's own word: more attempts only say it again
UNSPENT_LONGEST_S: Final = 60.0  # while the destination is at fault, an event waits for it no longer than this
PAUSE_WITHOUT_SCHEDULE_S: Final = 1.0  # between the unspent attempts under a policy that allows no retry
AT_ONCE: Final = datetime.fromtimestamp(0, UTC)  # before all that waits for its turn
HISTORY_LIMIT: Final = 20  # attempts that a dead letter tells, the latest of them
_JITTER: Final = 0.2  # either way

_THROTTLED: Final = frozenset({429, 502, 503, 504})
_UNHEARD: Final = frozenset({"connect", "tls", "dns", "guard"})  # nothing of the request was sent
# 4xx that say nothing about the event: who asks, where, how (method, length, media type, protocol), and when.
_DESTINATION: Final = frozenset({401, 403, 404, 405, 407, 408, 411, 415, 421, 425, 426})
_UNSENT: Final = ("not_an_event", "unshaped")  # reasons to bury what no attempt was made with


class Attempt(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One line of an event's history; `took` is seconds until the answer or the failure."""

    at: datetime
    verdict: Verdict
    status: int | None
    failure: Failure | None
    took: float
    events: int = 1  # in its request


class Tries(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What one event went through, the attempt that is being judged included."""

    first: datetime  # when its first attempt began
    previous: datetime  # when the attempt before this one began; the first is its own
    latest: datetime
    made: int = 1
    shared: int = 0  # of these, in company: they say that one of several may be at fault, and are no verdict on this one
    spent: int = 0
    refused: int = 0  # alone
    alone: bool = True  # the latest attempt was for it only
    asked: float | None = None  # the latest answer's Retry-After, seconds, where it is about this event alone
    answered: bool = False  # the latest brought an answer that may be about what was sent: neither silence nor 401, 404 …
    limited: bool = False  # it brought 429
    single: bool = False  # an earlier event of its key was buried, and none succeeded since
    early: datetime | None = None  # when the latest was due: it was made before, as the destination was resumed
    history: tuple[Attempt, ...] = ()

    @property
    def judged(self) -> bool:
        """Say whether any attempt was for it alone."""
        return self.made > self.shared


class Done(msgspec.Struct, frozen=True, gc=False):
    """The destination has it."""


class Again(msgspec.Struct, frozen=True, gc=False):
    """Try again, not before `at`; only a `spent` attempt counts toward the schedule's end.

    `apart`: those that shared its request come again in two, as one of them is likely at fault.
    """

    at: datetime
    spent: bool = True
    apart: bool = False


class Bury(msgspec.Struct, frozen=True, gc=False):
    """To the dead letters: refused too often, all attempts spent, a follower was answered no, or none could be made."""

    reason: Literal["refused", "exhausted", "follower", "not_an_event", "unshaped"]

    @property
    def unsent(self) -> bool:
        """Say whether the destination never saw it, so that it says nothing of those that follow."""
        return self.reason in _UNSENT


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """Nothing is sent for its account any more: the user removed the app, or the account was forgotten."""


Decision = Done | Again | Bury | Cancel


class Policy(Protocol):
    """Decide one event's fate; no I/O, no clock, `dice` in [0, 1)."""

    def judge(self, answer: Answer) -> Verdict:
        """Say what an answer means."""
        ...

    def decide(self, verdict: Verdict, tries: Tries, health: Health, now: datetime, dice: float) -> Decision:
        """Bury only when the destination showed life since this event's first attempt; else Again, unspent."""
        ...

    def latest(self, tries: Tries, now: datetime) -> datetime:
        """Return by when at the latest an event is tried again that went through this, were it decided now."""
        ...


def attempted(
    tries: Tries | None,
    verdict: Verdict,
    answer: Answer,
    began: datetime,
    *,
    single: bool,
    events: int = 1,
    due: datetime | None = None,
) -> Tries:
    """Return the event's tries with one more attempt, not yet decided; `events` are those in its request.

    `due`: when the schedule has it, where that is known; what is tried before is no verdict on it.
    """
    early = due if due and due > began else None
    alone = events == 1
    line = Attempt(at=began, verdict=verdict, status=answer.status, failure=answer.failure, took=answer.took, events=events)
    before = tries or Tries(first=began, previous=began, latest=began, made=0)
    return replace(
        before,
        previous=before.latest,
        latest=began,
        made=before.made + 1,
        shared=before.shared + (not alone),
        refused=before.refused + (alone and verdict is Verdict.REFUSED and not early),
        alone=alone,
        asked=None if verdict is Verdict.THROTTLED else answer.asked,  # then its destination waits, until an operator resumes it
        answered=about_event(answer),
        limited=answer.status == 429,  # noqa: PLR2004 -- Too Many Requests
        single=single,
        early=early,
        history=(*before.history, line)[-HISTORY_LIMIT:],
    )


def about_event(answer: Answer) -> bool:
    """Say whether an answer that does not accept may be about the event: neither silence nor 401, 404 …"""
    return answer.status is not None and answer.status >= 400 and answer.status not in _DESTINATION  # noqa: PLR2004 -- HTTP


def counted(tries: Tries | None, decision: Again) -> Tries | None:
    """Return the tries with the attempt counted that was judged so."""
    return replace(tries, spent=tries.spent + 1) if tries and decision.spent else tries


def verdict_of(status: int | None) -> Verdict:
    """Return what a status means; None is no answer."""
    if status is None:
        return Verdict.FAILED
    if status in _THROTTLED:
        return Verdict.THROTTLED
    if status in _DESTINATION:
        return Verdict.FAILED
    if status == 410:  # noqa: PLR2004 -- Gone
        return Verdict.GONE
    if status // 100 == 2:  # noqa: PLR2004 -- success
        return Verdict.ACCEPTED
    return Verdict.REFUSED if status // 100 == 4 else Verdict.FAILED  # noqa: PLR2004 -- client error


class Standard(msgspec.Struct, frozen=True, gc=False):
    """The policy of design.md: a schedule, three refusals, and never a burial without proof of life, nor for what others did."""

    schedule: tuple[float, ...] = SCHEDULE_S  # seconds
    refused_limit: int = REFUSED_LIMIT

    def judge(self, answer: Answer) -> Verdict:
        """Say what an answer means."""
        return verdict_of(answer.status)

    def decide(self, verdict: Verdict, tries: Tries, health: Health, now: datetime, dice: float) -> Decision:
        """Bury only after an attempt alone, in its time, when the destination showed life since the event's first.

        Else Again, unspent.
        """
        if verdict is Verdict.ACCEPTED:
            return Done()
        if not tries.alone and self._parts(verdict, tries, health):
            return Again(self._at_once(tries, now, dice), spent=False, apart=True)
        if not tries.alone or verdict is Verdict.GONE or not self._spends(tries, health):
            return Again(self._at(tries.made, tries, now, dice, UNSPENT_LONGEST_S), spent=False)
        if tries.early:
            return Again(max(tries.early, self._at(1, tries, now, dice, UNSPENT_LONGEST_S)), spent=False)
        return self._end(verdict, tries) or Again(self._at(tries.spent + 1, tries, now, dice, max(self.schedule)))

    def latest(self, tries: Tries, now: datetime) -> datetime:
        """Return by when at the latest an event is tried again that went through this, were it decided now."""
        longest = max(self.schedule, default=PAUSE_WITHOUT_SCHEDULE_S) * (1 + _JITTER)
        return now + timedelta(seconds=max(longest, tries.asked or 0.0))

    def _spends(self, tries: Tries, health: Health) -> bool:
        """Say whether the event, not its destination, is to blame for this attempt.

        Silence and 401, 404 … speak of the destination: they count only where it showed life since the attempt before.
        429 never counts: it speaks of all events alike.
        """
        if health.failing or health.life is None or tries.limited:
            return False
        return health.life >= (tries.first if tries.answered else tries.previous)

    def _end(self, verdict: Verdict, tries: Tries) -> Bury | None:
        """Return why an event gets no further attempt that spent this one; None: it does."""
        if tries.single and tries.answered and verdict is not Verdict.THROTTLED:
            return Bury("follower")
        if verdict is Verdict.REFUSED and tries.refused >= self.refused_limit:
            return Bury("refused")
        return Bury("exhausted") if tries.spent >= len(self.schedule) else None

    def _parts(self, verdict: Verdict, tries: Tries, health: Health) -> bool:
        """Say whether one of those that shared a request, not their destination, is likely to blame.

        An answer that may be about them says so; silence and 401, 404 … where others got through since the attempt before.
        What throttles speaks of all events alike, and what was never heard of none.
        """
        if health.failing or verdict in {Verdict.THROTTLED, Verdict.GONE} or tries.history[-1].failure in _UNHEARD:
            return False
        return tries.answered or self._spends(tries, health)

    def _at_once(self, tries: Tries, now: datetime, dice: float) -> datetime:
        """Return when halves are due: before what is newer, as they are answered as quickly; after a silence like any retry."""
        if not tries.answered:
            return self._at(1, tries, now, dice, UNSPENT_LONGEST_S)
        return AT_ONCE if tries.asked is None else now + timedelta(seconds=tries.asked)

    def _at(self, number: int, tries: Tries, now: datetime, dice: float, longest: float) -> datetime:
        """Return when the retry of that number is due: by the schedule, jittered, and never before Retry-After."""
        delay = self.schedule[min(number, len(self.schedule)) - 1] if self.schedule else PAUSE_WITHOUT_SCHEDULE_S
        jittered = min(delay, longest) * (1 - _JITTER + 2 * _JITTER * dice)
        return now + timedelta(seconds=max(jittered, tries.asked or 0.0))
