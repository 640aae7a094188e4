"""Everything in flight to one destination, over all lanes of this process: starts requests, judges answers, buries."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Literal, Protocol

import structlog

from schemas.errors import Rejected, Unavailable
from schemas.events import Event, event_type
from schemas.ring.envelope import REMOVED
from workers.bus.contract import Publisher, Record, TooLarge
from workers.deliver import letters, metrics
from workers.deliver.answer import Answer, Verdict
from workers.deliver.closed import Closed
from workers.deliver.destinations import Destination, wants
from workers.deliver.dress import dressing
from workers.deliver.facts import Facts
from workers.deliver.health import Health, State
from workers.deliver.pace import Pace
from workers.deliver.parcel import GONE, Parcel
from workers.deliver.policy import Again, Bury, Cancel, Decision, Policy, Tries, attempted
from workers.deliver.send import Sender
from workers.deliver.sign import Signer
from workers.deliver.window import Item
from workers.runtime.backoff import Backoff
from workers.runtime.delay import Delay

log = structlog.get_logger()
BURY_DEADLINE_S: Final = 15.0
FAREWELL: Final = event_type(REMOVED)  # the last event of an account whose user removed the app: what tells of it is sent
SHARE: Final = (
    4  # of the concurrency at most one part in so many goes to keys that wait (they may be slow to fail) and to replays
)
REMEDY: Final = "nothing is sent to it, and its backlog waits, until `ringhook destinations resume {}`"
UNKNOWN_S: Final = 1.0  # until an event is taken up again of which nobody could say whether it may be sent


class Channel(Protocol):
    """A lane as the flight sees it."""

    index: int
    aside: bool  # replays and the like, which must not delay what is live

    @property
    def waiting(self) -> int:
        """How many events wait in rows."""
        ...

    def idle(self, now: datetime) -> bool:
        """Say whether there is nothing that could be sent now."""
        ...

    def take(self, now: datetime, *, parked: bool) -> Item[Parcel] | None:
        """Return an event that may be sent now, and that must be settled; of those that wait in rows only where `parked`."""
        ...

    def single(self, item: Item[Parcel]) -> bool:
        """Say whether an event of its key was buried and none succeeded since: this one gets a single attempt."""
        ...

    def settle(self, item: Item[Parcel], decision: Decision) -> None:
        """Hear what becomes of it."""
        ...

    def oldest(self) -> float | None:
        """Return since when the bus has the oldest event that is not finished, in epoch seconds; None where there is none."""
        ...

    def untried(self, now: datetime) -> Item[Parcel] | None:
        """Return an event as above that was never sent: what failed before says less of its destination."""
        ...

    def has_untried(self, now: datetime) -> bool:
        """Say whether there is one."""
        ...

    def may_start(self) -> bool:
        """Say whether the lane is ours beyond doubt, so that a request may start."""
        ...

    def closing(self) -> bool:
        """Say whether the session ends: nothing new starts, nothing is buried."""
        ...

    def began(self, item: Item[Parcel]) -> None:
        """Hear that the current task is about to send an item."""
        ...

    def ended(self, item: Item[Parcel]) -> None:
        """Hear that it was settled, or given up."""
        ...


def is_beside(lane: Channel, item: Item[Parcel]) -> bool:
    """Say whether an event may take no more than its share of the concurrency."""
    return lane.aside or item.line is not None


class Stops(Protocol):
    """Knows the accounts for which nothing is sent any more."""

    async def why(self, account: str) -> Literal["removed", "forgotten"] | None:
        """Return why this is one, None where it is none; Unavailable: nobody knows just now."""
        ...


class Flight:
    """The lanes share the destination's concurrency, its health and one HTTP client; each gets its turn."""

    def __init__(
        self,
        destination: Destination,
        *,
        sender: Sender,
        signer: Signer,
        policy: Policy,
        publisher: Publisher,
        facts: Facts,
        stops: Stops,
        tasks: asyncio.TaskGroup,
        now: Callable[[], datetime],
        dice: Callable[[], float],
    ) -> None:
        self.destination = destination
        self.wants, self._dress = wants(destination), dressing(destination.body, destination.shape)
        self.health = Health(concurrency=destination.concurrency)
        self.held = 0  # records put aside that are to be sent yet
        self.cancelled: frozenset[str] = frozenset()  # replays of which nothing more is sent
        self.closed: Closed | None = None  # as the rows have it
        self.trouble: tuple[datetime, str] | None = None  # the latest attempt that failed, and what it came to
        self.now = now
        self.lanes: deque[Channel] = deque()
        self._sender, self._signer, self._policy = sender, signer, policy
        self._publisher, self._facts, self._tasks, self._dice = publisher, facts, tasks, dice
        self._stops, self._delay = stops, Delay()
        self._beside = 0  # events in flight that come from rows, or from a lane aside
        self._pace, self._waking = Pace(destination.rate), False
        self._share = max(destination.concurrency // SHARE, 1)
        self._latency = metrics.LATENCY.labels(destination=destination.name)
        self._seconds = metrics.ATTEMPT_SECONDS.labels(destination=destination.name)

    @property
    def shut(self) -> bool:
        """Say whether nothing is sent until an operator says so."""
        return self.closed is not None or self.health.gone

    def state(self, now: datetime) -> State:
        """Return the one word for metrics and people."""
        return self.closed.why if self.closed else self.health.state(now)

    def close(self, closed: Closed | None) -> None:
        """Send nothing from now on, what is under way excepted; None: go on."""
        self.closed = closed
        name = self.destination.name
        if closed is None:
            log.info("destination.resumed", destination=name)
            self.pump()
        elif closed.why == "paused":
            log.info("destination.paused", destination=name, by=closed.by, meaning=REMEDY.format(name))

    def pump(self) -> None:
        """Start what may start now."""
        while picked := self._take():
            self._tasks.create_task(self._work(*picked), name="deliver.work")

    def _take(self) -> tuple[Channel, Item[Parcel]] | None:
        """Return the next event that may be sent now, the lanes taking turns, and count it as in flight."""
        now = self.now()
        if self.closed or self.health.room(now) <= 0 or not self._paced(now):
            return None
        picked = self._first(now, lambda lane: lane.untried(now)) if self.health.failing else None
        if picked is None:
            beside = self._beside < self._share
            picked = self._first(now, lambda lane: lane.take(now, parked=beside) if beside or not lane.aside else None)
        if picked:
            self.health = self.health.began(1)
            self._beside += is_beside(*picked)
            self._pace.take(now.timestamp())
        return picked

    def _paced(self, now: datetime) -> bool:
        """Say whether the destination's rate lets a request start now; else one starts as soon as it does."""
        wait = self._pace.due(now.timestamp())
        if wait and not self._waking:
            self._waking = True
            asyncio.get_running_loop().call_later(wait, self._wake)
        return not wait

    def _wake(self) -> None:
        self._waking = False
        self.pump()

    def _first(self, now: datetime, take: Callable[[Channel], Item[Parcel] | None]) -> tuple[Channel, Item[Parcel]] | None:
        for _ in range(len(self.lanes)):
            lane = self.lanes[0]
            self.lanes.rotate(-1)
            if not lane.idle(now) and lane.may_start() and (item := take(lane)):
                return lane, item
        return None

    async def _work(self, lane: Channel, item: Item[Parcel]) -> None:
        """Send one event after the other for as long as there are any: a task for each would cost more than its settling."""
        if lane.closing():  # the session ended between the picking and this task's first turn
            self.health = self.health.cut()
            self._beside -= is_beside(lane, item)
            return
        picked: tuple[Channel, Item[Parcel]] | None = (lane, item)
        while picked:
            await self._attempt(*picked)
            picked = self._take()

    async def _attempt(self, lane: Channel, item: Item[Parcel]) -> None:
        """Send one event once and settle it: done, again, buried or cancelled."""
        lane.began(item)
        try:
            decision = await self._decided(lane, item)
            if not isinstance(decision, Bury) or await self._buried(lane, item, decision):
                lane.settle(item, decision)
        finally:
            self._beside -= is_beside(lane, item)
            lane.ended(item)

    async def _decided(self, lane: Channel, item: Item[Parcel]) -> Decision:
        if (event := item.load.event) is None:
            self.health = self.health.cut()
            return Cancel() if item.load is GONE else Bury("not_an_event")
        if item.load.replay in self.cancelled:
            self.health = self.health.cut()
            return Cancel()
        if kept := await self._kept_back(lane, item, event):
            self.health = self.health.cut()
            return kept
        return await self._sent(lane, item, event)

    async def _kept_back(self, lane: Channel, item: Item[Parcel], event: Event) -> Decision | None:
        """Return why no request may start after all; None: it may (security 18)."""
        try:
            why = await self._stops.why(event.accountid)
        except Unavailable as error:
            self._delay.waits("delivery.delayed", str(error), destination=self.destination.name)
            return Again(self.now() + timedelta(seconds=UNKNOWN_S), spent=False)
        except BaseException:
            self.health = self.health.cut()
            raise
        self._delay.goes_on("delivery.resumed", destination=self.destination.name)
        if why == "forgotten" or (why and event.type != FAREWELL):
            self._tell_cancelled(item.load, event, item.tries)
            return Cancel()
        return None if lane.may_start() else Again(self.now(), spent=False)  # the answer may have taken its time

    async def _sent(self, lane: Channel, item: Item[Parcel], event: Event) -> Decision:
        began = self.now()
        try:
            told, body = item.load.dressed(event, self._dress)
            signed = self._signer.headers(event.id, int(time.time()), body)
            answer = await self._sender.post(body, {**told, **signed})
        except Rejected:
            self.health = self.health.cut()
            return Bury("unshaped")
        except BaseException:
            self.health = self.health.cut()
            raise
        return self._judged(lane, item, event, answer, began)

    def _judged(self, lane: Channel, item: Item[Parcel], event: Event, answer: Answer, began: datetime) -> Decision:
        """Return the event's fate; the destination's health is known first."""
        now, dice = self.now(), self._dice()
        verdict = self._policy.judge(answer)
        before = self.health
        tried = item.tries.latest if item.tries else None
        self.health = before.after(verdict, (lane.index, item.offset), now, tried=tried, asked=answer.asked, dice=dice)
        item.tries = attempted(item.tries, verdict, answer, began, single=lane.single(item))
        self._tell(item.load, event, item.tries, answer)
        if before.failing != self.health.failing or before.gone != self.health.gone:
            self._tell_health()
        return self._policy.decide(verdict, item.tries, self.health, now, dice)

    def _tell(self, parcel: Parcel, event: Event, tries: Tries, answer: Answer) -> None:
        """Count, record and log one attempt."""
        name, latest = self.destination.name, tries.history[-1]
        metrics.attempt(name, latest.failure or latest.verdict.value).inc()
        self._seconds.observe(latest.took)
        accepted = latest.verdict is Verdict.ACCEPTED
        self._facts.add(partial(letters.attempted, name, parcel.held, event, tries, answer), plain=accepted and tries.made == 1)
        if accepted:
            self._latency.observe(max(time.time() - event.data.received_at.timestamp(), 0.0))
            return
        self.trouble = latest.at, str(latest.status or latest.failure)
        facts = {"verdict": latest.verdict.value, "status": latest.status, "failure": latest.failure, "number": tries.made}
        log.info("delivery.failed", destination=name, event_id=event.id, **facts)

    def _tell_cancelled(self, parcel: Parcel, event: Event, tries: Tries | None) -> None:
        """Count, record and log that an event goes nowhere."""
        name = self.destination.name
        metrics.attempt(name, letters.CANCELLED).inc()
        self._facts.add(partial(letters.cancelled, name, parcel.held, event, tries, self.now()))
        log.info("delivery.cancelled", destination=name, event_id=event.id)

    def _tell_health(self) -> None:
        name = self.destination.name
        if self.health.gone:
            log.error("destination.gone", destination=name, meaning=f"it answered 410: {REMEDY.format(name)}")
        elif self.health.failing:
            log.warning("destination.failing", destination=name, meaning="fetching stops, one event probes, nothing is buried")
        else:
            log.info("destination.recovered", destination=name)
            self.pump()

    async def _buried(self, lane: Channel, item: Item[Parcel], decision: Bury) -> bool:
        """Return True once the dead letter is held; False when the session ended before."""
        letter = letters.dead_letter(self.destination.name, item.load.held, decision, item.tries, self.now())
        backoff = Backoff(first=0.2, longest=10.0)
        while not lane.closing():
            try:
                await self._publish(letter)
            except TooLarge:
                letter = letters.shortened(letter)
            except (Unavailable, TimeoutError):
                await asyncio.sleep(backoff.next())
            else:
                metrics.DEAD.labels(destination=self.destination.name, reason=decision.reason).inc()
                self._tell_buried(item, decision)
                return True
        return False

    def _tell_buried(self, item: Item[Parcel], decision: Bury) -> None:
        """Log which event was put aside; one that nobody can read has only its place on the bus."""
        held, event = item.load.held, item.load.event
        facts = {"event_id": event.id} if event else {"topic": held.topic, "partition": held.index, "offset": held.offset}
        log.warning("delivery.buried", destination=self.destination.name, reason=decision.reason, **facts)

    async def _publish(self, letter: Record) -> None:
        async with asyncio.timeout(BURY_DEADLINE_S):
            await self._publisher.publish([letter])

    def oldest_age(self) -> float:
        """Return the age in seconds of the oldest event that was taken up and is not finished; 0 where there is none."""
        oldest = [since for lane in self.lanes if (since := lane.oldest()) is not None]
        return max(time.time() - min(oldest), 0.0) if oldest else 0.0

    def waiting(self) -> int:
        """Return how many events wait in rows."""
        return sum(lane.waiting for lane in self.lanes)

    def has_untried(self) -> bool:
        """Say whether any lane holds an event that was never sent and may be."""
        return any(lane.has_untried(self.now()) for lane in self.lanes)
