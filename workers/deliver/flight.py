"""Everything in flight to one destination, over all lanes of this process: starts requests, judges answers, buries."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from operator import attrgetter
from typing import Final, Protocol

import structlog

from schemas.errors import Rejected, Unavailable
from schemas.events import Event, event_type
from schemas.records import CLOCKS_APART
from schemas.ring.envelope import REMOVED
from workers.bus.contract import Publisher, Record, TooLarge
from workers.deliver import letters, metrics
from workers.deliver.answer import Answer, Verdict
from workers.deliver.closed import Closed
from workers.deliver.destinations import Destination, takes
from workers.deliver.dress import Dressed, dressing
from workers.deliver.facts import Facts
from workers.deliver.gate import Gate
from workers.deliver.health import Health, State
from workers.deliver.outstanding import Outstanding
from workers.deliver.parcel import GONE, Parcel, together
from workers.deliver.policy import AT_ONCE, Again, Bury, Cancel, Decision, Policy, Tries, about_event, attempted
from workers.deliver.send import Sender
from workers.deliver.share import ALL, SHARE, Beside, Share
from workers.deliver.sign import Signer
from workers.deliver.tally import Tally
from workers.deliver.window import Item, part
from workers.runtime.backoff import Backoff
from workers.runtime.delay import Delay
from workers.runtime.stops import Why

log = structlog.get_logger()
BURY_DEADLINE_S: Final = 15.0
FAREWELL: Final = event_type(REMOVED)  # the last event of an account whose user removed the app: what tells of it is sent
REMEDY: Final = "nothing is sent to it, and its backlog waits, until `ringhook destinations resume {}`"
BATCH_BYTES: Final = 512 * 1024  # of events in one request, beyond its last
PROVEN: Final = timedelta(seconds=5)  # after which a probe goes to whoever may start
HASTE_S: Final = 4.0  # for requests of a destination that fails, as the process ends
UNKNOWN_S: Final = 1.0  # until an event is taken up again of which nobody could say whether it may be sent


class Channel(Protocol):
    """A lane as the flight sees it. An event counts as never sent until it was sent alone: what it shared says nothing of it."""

    index: int
    aside: bool  # replays and the like, which must not delay what is live

    @property
    def waiting(self) -> int:
        """How many events wait in rows."""
        ...

    @property
    def open(self) -> int:
        """How many events of the log are held."""
        ...

    def next_due(self) -> datetime | None:
        """Return when the first of those that wait in rows is due; None where none waits."""
        ...

    def hurry(self, now: datetime) -> None:
        """Let all that failed before, and what waits for it, be due now."""
        ...

    def idle(self, now: datetime) -> bool:
        """Say whether there is nothing that could be sent now."""
        ...

    def presses(self, now: datetime) -> bool:
        """Say whether an event of the log could be sent now that was never sent."""
        ...

    def take(self, now: datetime, dice: float | None, *, rows: bool, again: bool) -> Item[Parcel] | None:
        """Return an event that may be sent now, and that must be settled.

        Of those that were never sent the first, or where there are dice whichever they say: the first may all hang.
        Of those that wait in rows only where `rows`, and of all what failed before only where `again`.
        """
        ...

    def another(self, now: datetime, like: Parcel) -> Item[Parcel] | None:
        """Return one more event that was never sent and may go in one request with this one; it must be settled, too."""
        ...

    def fellows(self, now: datetime, item: Item[Parcel]) -> Sequence[Item[Parcel]]:
        """Return those that are to go in one request with one that was refused with them; they must be settled, too."""
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

    def untried(self, now: datetime, dice: float) -> Item[Parcel] | None:
        """Return an event as above that was never sent, whichever: the first may hang, and say less of the destination."""
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

    def began(self, item: Item[Parcel], task: asyncio.Task[object] | None) -> None:
        """Hear that this task is about to send an item."""
        ...

    def ended(self, item: Item[Parcel]) -> None:
        """Hear that it was settled, or given up."""
        ...


Picked = tuple[Channel, Sequence[Item[Parcel]]]  # events that go in one request; one, unless the destination takes several


def has_waited(lane: Channel, item: Item[Parcel]) -> bool:
    """Say whether an event was put by, in rows or on a topic of its own: the configuration may have changed since."""
    return lane.aside or item.line is not None


def is_doubtful(lane: Channel, item: Item[Parcel]) -> bool:
    """Say whether an event may be slow to fail: it did fail, and not for others beside it, or nobody has tried it lately."""
    return lane.aside or item.judged or (item.line is not None and item.tries is not None)


def _eldest(items: Sequence[Item[Parcel]]) -> Tries:
    """Return what the one went through that was tried most often."""
    return max((item.tries for item in items if item.tries), key=attrgetter("made"))


def _taken(lane: Channel, *, now: datetime, may: Beside, dice: float | None) -> Item[Parcel] | None:
    """Take what a lane may send; one aside is asked only where all of its own may go."""
    return lane.take(now, dice, rows=may.rows or lane.aside, again=may.again or lane.aside)


class Stops(Protocol):
    """Knows the accounts for which nothing is sent any more."""

    def free(self, account: str) -> bool:
        """Say whether it is known to be none, without asking anybody."""
        ...

    async def why(self, account: str) -> Why | None:
        """Return why this is one, None where it is none; Unavailable: nobody knows just now."""
        ...

    def since(self, account: str) -> float:
        """Return from when on what came for one that is none is sent, in epoch seconds."""
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
        self.takes = takes(destination)
        self.wants, self._may_get = self.takes.wants(named=False), self.takes.wants(named=True)
        self._dress = dressing(destination.body, destination.shape)
        self.tally = Tally()
        self.health = Health(concurrency=destination.concurrency)
        self.resting = False  # nothing new begins: the process, or this delivery, ends
        self.held = 0  # records put aside that are to be sent yet
        self.cancelled: frozenset[str] = frozenset()  # replays of which nothing more is sent
        self.closed: Closed | None = None  # as the rows have it
        self.resumed_at = AT_ONCE  # when an operator last resumed it
        self.trouble: tuple[datetime, str] | None = None  # the latest attempt that failed, and what it came to
        self.now = now
        self.lanes: deque[Channel] = deque()
        self._sender, self._signer, self._policy = sender, signer, policy
        self._publisher, self._facts, self._tasks, self._dice = publisher, facts, tasks, dice
        self._stops, self._delay = stops, Delay()
        self._share, self._outstanding = Share(), Outstanding()
        self._gate = Gate(destination.rate, self.pump)
        self._gate_beside = Gate(destination.rate and destination.rate / SHARE, self.pump)
        self._most = destination.most
        self._latency = metrics.LATENCY.labels(destination=destination.name)
        self._seconds = metrics.ATTEMPT_SECONDS.labels(destination=destination.name)

    @property
    def latest(self) -> Callable[[Tries, datetime], datetime]:
        """As the policy has it: by when at the latest what was tried is tried again."""
        return self._policy.latest

    @property
    def shut(self) -> bool:
        """Say whether nothing is sent until an operator says so."""
        return self.closed is not None or self.health.gone

    @property
    def ends_s(self) -> float:
        """Seconds to wait for requests under way; fewer where the process ends and they fail, as they are tried again anyway."""
        return HASTE_S if self.resting and self.health.failing else self.destination.ends_s

    def state(self, now: datetime) -> State:
        """Return the one word for metrics and people."""
        return self.closed.why if self.closed else self.health.state(now)

    def close(self, closed: Closed) -> None:
        """Send nothing from now on, what is under way excepted."""
        self.closed = closed
        name = self.destination.name
        if closed.why == "paused":
            log.info("destination.paused", destination=name, by=closed.by, meaning=REMEDY.format(name))

    def resume(self) -> None:
        """Send from now on, also where it has asked for rest, or is to be probed later, and what waits for its next attempt."""
        self.closed, self.health = None, self.health.resumed()
        for lane in self.lanes:
            lane.hurry(self.now())
        log.info("destination.resumed", destination=self.destination.name)
        self.pump()

    def may_send(self) -> bool:
        """Say whether a request may start now, or is under way, of any lane that is ours."""
        now = self.now()
        return not self.shut and bool(self.health.flying or self.health.room(now) or self.health.fresh(now))

    def pump(self) -> None:
        """Start what may start now."""
        while picked := self._take():
            self._tasks.create_task(self._work(*picked), name="deliver.work")

    def _take(self) -> Picked | None:
        """Return what may be sent now, and count it as in flight."""
        now = self.now()
        if self.closed or self.resting:
            return None
        room, fresh = self._room(now) > 0, self.health.fresh(now) > 0
        if not (room or fresh) or not self._gate.is_open(now):
            return None
        picked = self._picked(now) if room else self._untried(now, self._dice(), aside=False)
        if picked is None:
            return None
        lane, item = picked
        self._count(lane, item, now)
        return lane, [item, *self._others(lane, item, now)]

    def _room(self, now: datetime) -> int:
        late = self._outstanding.late(now) if self.health.ramp else 0
        return self.health.room(now, late)

    def _picked(self, now: datetime) -> tuple[Channel, Item[Parcel]] | None:
        """Return what goes next: where the destination fails, what was never sent."""
        may = self._may_beside(now)
        dice = self._dice() if self.health.allowed < self.destination.concurrency else None
        picked = self._untried(now, dice or 0.0, aside=may.aside) if self.health.failing else None
        if picked is not None or self._proves(now):
            return picked
        return self._next(now, partial(_taken, now=now, may=may, dice=dice), aside=may.aside)

    def _untried(self, now: datetime, dice: float, *, aside: bool) -> tuple[Channel, Item[Parcel]] | None:
        return self._next(now, lambda lane: lane.untried(now, dice), aside=aside)

    def _may_beside(self, now: datetime) -> Beside:
        """Return what may go of that which failed before, waits in rows, or was put aside; where nothing gets through, all."""
        if self.health.failing:
            return ALL
        allowed, concurrency = self.health.allowed, self.destination.concurrency
        pace, presses = self._gate_beside.is_open(now), partial(self._presses, now)
        return self._share.may(now, allowed=allowed, concurrency=concurrency, presses=presses, pace=pace)

    def _presses(self, now: datetime) -> bool:
        """Say whether a live event could be sent now that was never sent."""
        return any(not lane.aside and lane.presses(now) and lane.may_start() for lane in self.lanes)

    def _count(self, lane: Channel, item: Item[Parcel], now: datetime) -> None:
        self.health = self.health.began(1)
        self._gate.passed(now)
        self._outstanding.began(item, now)
        doubtful = is_doubtful(lane, item)
        if doubtful or item.line is not None:
            self._share.began(item, now, doubtful=doubtful)
            self._count_pace(now)

    def _count_pace(self, now: datetime) -> None:
        """Count what goes by the sure part of the rate; what goes beyond it owes nothing."""
        if self._gate_beside.is_open(now):
            self._gate_beside.passed(now)

    def _proves(self, now: datetime) -> bool:
        """Say whether a probe waits a moment: what was never sent is in a lane that must prove first that it is ours."""
        probe_at = self.health.probe_at if self.health.failing else None
        return probe_at is not None and now < probe_at + PROVEN and self.has_untried()

    def _others(self, lane: Channel, item: Item[Parcel], now: datetime) -> Sequence[Item[Parcel]]:
        """Return what goes in the same request: who failed alone goes alone, and what was refused together with ever fewer."""
        if self._most == 1 or item.judged or item.line is not None or self.health.failing:
            return ()
        return self._filled(lane, item, now) if item.company is None else lane.fellows(now, item)

    def _filled(self, lane: Channel, item: Item[Parcel], now: datetime) -> Sequence[Item[Parcel]]:
        others, size = list[Item[Parcel]](), item.size
        while len(others) < self._most - 1 and size < BATCH_BYTES and (one := lane.another(now, item.load)):
            others.append(one)
            size += one.size
        return others

    def _next(
        self, now: datetime, take: Callable[[Channel], Item[Parcel] | None], *, aside: bool
    ) -> tuple[Channel, Item[Parcel]] | None:
        """Return what a lane has to send, live ones before those aside; among themselves they take turns."""
        live = self._first(now, take, aside=False)
        return live or (self._first(now, take, aside=True) if aside else None)

    def _first(
        self, now: datetime, take: Callable[[Channel], Item[Parcel] | None], *, aside: bool
    ) -> tuple[Channel, Item[Parcel]] | None:
        for _ in range(len(self.lanes)):
            lane = self.lanes[0]
            self.lanes.rotate(-1)
            if lane.aside is aside and not lane.idle(now) and lane.may_start() and (item := take(lane)):
                return lane, item
        return None

    async def _work(self, lane: Channel, items: Sequence[Item[Parcel]]) -> None:
        """Send one request after the other for as long as there are any: a task for each would cost more than its settling."""
        if lane.closing():  # the session ended between the picking and this task's first turn
            self.health = self.health.cut()
            self._share.dropped(items[0])
            self._outstanding.ended(items[0])
            return
        picked: Picked | None = (lane, items)
        me = asyncio.current_task()  # asked once: before Python 3.12 that is no quick question
        while picked:
            await self._attempt(*picked, me)
            picked = self._take()
            if self.health.ramp:
                self.pump()  # its answer may have allowed one more

    async def _attempt(self, lane: Channel, items: Sequence[Item[Parcel]], me: asyncio.Task[object] | None) -> None:
        """Send events once and settle each: done, again, buried or cancelled."""
        for item in items:
            lane.began(item, me)
        try:
            for item, decision in zip(items, await self._decided(lane, items), strict=True):
                if not isinstance(decision, Bury) or await self._buried(lane, item, decision):
                    lane.settle(item, decision)
                    self.tally.add(item.load.replay, decision)
        finally:
            self._share.ended(items[0], self.now())
            self._outstanding.ended(items[0])
            for item in items:
                lane.ended(item)

    async def _decided(self, lane: Channel, items: Sequence[Item[Parcel]]) -> Sequence[Decision]:
        """Return what becomes of each; those that may be sent go in one request."""
        try:
            whys = await self._whys({item.load.event.accountid for item in items if item.load.event})
        except BaseException:
            self.health = self.health.cut()
            raise
        kept = [self._kept_back(lane, item, whys) for item in items]
        going = [item for item, decision in zip(items, kept, strict=True) if decision is None]
        if not going:
            self.health = self.health.cut()
        sent = iter(await self._sent(lane, going) if going else ())
        return [next(sent) if decision is None else decision for decision in kept]

    async def _whys(self, accounts: Collection[str]) -> Mapping[str, Why | Unavailable | None]:
        """Return of accounts why nothing is sent for them, or that nobody knows; those that are free need not be in it."""
        match [account for account in accounts if not self._stops.free(account)]:
            case []:
                return {}
            case [one]:
                return {one: await self._why(one)}
            case unknown:
                return dict(zip(unknown, await asyncio.gather(*map(self._why, unknown)), strict=True))

    async def _why(self, account: str) -> Why | Unavailable | None:
        try:
            return await self._stops.why(account)
        except Unavailable as error:
            return error

    def _kept_back(self, lane: Channel, item: Item[Parcel], whys: Mapping[str, Why | Unavailable | None]) -> Decision | None:
        """Return why no request may start after all; None: it may (security 18)."""
        if (event := item.load.event) is None:
            return Cancel() if item.load is GONE else Bury("not_an_event")
        if item.load.replay in self.cancelled:
            return Cancel()
        if has_waited(lane, item) and not self._takes(item.load, event):
            self._tell_unsent(item.load, event, item.tries, letters.UNWANTED)
            return Cancel()
        why = whys.get(event.accountid)
        if isinstance(why, Unavailable):
            self._delay.waits("delivery.delayed", str(why), destination=self.destination.name)
            return Again(self.now() + timedelta(seconds=UNKNOWN_S), spent=False)
        self._delay.goes_on("delivery.resumed", destination=self.destination.name)
        if why == "forgotten" or (event.type != FAREWELL and (why or self._is_past(lane, event))):
            self._tell_unsent(item.load, event, item.tries, letters.CANCELLED)
            return Cancel()
        return None if lane.may_start() else Again(self.now(), spent=False)  # the answer may have taken its time

    def _takes(self, parcel: Parcel, event: Event) -> bool:
        """Say whether the destination takes what was put aside, maybe under another filter; named: under none."""
        return self._may_get(event) if parcel.named else self.wants(event)

    def _is_past(self, lane: Channel, event: Event) -> bool:
        """Say whether a removal cancelled an event that waited, and is undone since; who asks for one once more gets it."""
        return not lane.aside and event.data.received_at.timestamp() < self._stops.since(event.accountid) - CLOCKS_APART

    async def _sent(self, lane: Channel, items: Sequence[Item[Parcel]]) -> Sequence[Decision]:
        began = self.now()
        try:
            name, (told, body) = self._wrapped(items)
            signed = self._signer.headers(name, int(time.time()), body)
            answer = await self._sender.post(body, {**told, **signed})
        except Rejected:  # by a shape: then there is one event
            self.health = self.health.cut()
            return [Bury("unshaped")]
        except BaseException:
            self.health = self.health.cut()
            raise
        return self._judged(lane, items, answer, began)

    def _wrapped(self, items: Sequence[Item[Parcel]]) -> tuple[str, Dressed]:
        parcels = [item.load for item in items]
        if len(parcels) > 1 or (event := parcels[0].event) is None:
            return together(parcels)
        return event.id, parcels[0].dressed(event, self._dress)

    def _judged(self, lane: Channel, items: Sequence[Item[Parcel]], answer: Answer, began: datetime) -> Sequence[Decision]:
        """Return the events' fates; the destination's health is known first."""
        now, dice, first = self.now(), self._dice(), items[0]
        verdict = self._policy.judge(answer)
        before = self.health
        tried = first.tries.latest if first.tries else None
        answered = about_event(answer) and verdict is not Verdict.THROTTLED
        self.health = before.after(
            verdict, (lane.index, first.offset), now, tried=tried, answered=answered, asked=answer.asked, dice=dice
        )
        self._seconds.observe(answer.took)
        if verdict is Verdict.ACCEPTED:
            self._outstanding.accepted(timedelta(seconds=answer.took))
        for item in items:
            single, due = lane.single(item), item.early
            item.tries = attempted(item.tries, verdict, answer, began, single=single, events=len(items), due=due)
            if item.load.event:
                self._tell(item.load, item.load.event, item.tries, answer)
        decision = self._policy.decide(verdict, _eldest(items), self.health, now, self._dice())
        if isinstance(decision, Again) and decision.apart:
            part(items)
        if before.failing != self.health.failing or before.gone != self.health.gone:
            self._tell_health()
        return [decision] * len(items)

    def _tell(self, parcel: Parcel, event: Event, tries: Tries, answer: Answer) -> None:
        """Count, record and log one event's attempt."""
        name, latest = self.destination.name, tries.history[-1]
        metrics.attempt(name, latest.failure or latest.verdict.value).inc()
        accepted = latest.verdict is Verdict.ACCEPTED
        self._facts.add(partial(letters.attempted, name, parcel.held, event, tries, answer), plain=accepted and tries.made == 1)
        if accepted:
            self._latency.observe(max(time.time() - event.data.received_at.timestamp(), 0.0))
            return
        self.trouble = latest.at, str(latest.status or latest.failure)
        facts = {"verdict": latest.verdict.value, "status": latest.status, "failure": latest.failure, "number": tries.made}
        shared = {"events": latest.events} if latest.events > 1 else {}  # then it is no verdict on this one
        log.info("delivery.failed", destination=name, event_id=event.id, **facts, **shared)

    def _tell_unsent(self, parcel: Parcel, event: Event, tries: Tries | None, why: letters.Unsent) -> None:
        """Count, record and log that an event goes nowhere."""
        name = self.destination.name
        metrics.attempt(name, why).inc()
        self._facts.add(partial(letters.unsent, name, parcel.held, event, tries, self.now(), why=why))
        log.info("delivery.cancelled", destination=name, event_id=event.id, why=why)

    def _tell_health(self) -> None:
        name = self.destination.name
        if self.health.gone:
            log.error("destination.gone", destination=name, meaning=f"it answered 410: {REMEDY.format(name)}")
        elif self.health.failing:
            log.warning("destination.failing", destination=name, meaning="fetching stops, one event probes, nothing is buried")
        else:
            if self.health.silence is None:  # else its silence is old, and it has answered nothing since
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

    def next_at(self) -> float | None:
        """Return when the next of those that wait in rows is due, in epoch seconds; None where none waits."""
        return min((due.timestamp() for lane in self.lanes if (due := lane.next_due())), default=None)

    def in_hand(self) -> int:
        """Return how many events of the log are held, over all lanes."""
        return sum(lane.open for lane in self.lanes)

    def has_untried(self) -> bool:
        """Say whether any lane holds an event that was never sent and may be."""
        return any(lane.has_untried(self.now()) for lane in self.lanes)
