"""One session of one lane: fetches while there is use for more, commits what is finished, and ends without cutting in.

What takes longer than half a minute moves from the window to rows, with all that follows it in its key (correctness.md §4).
"""

import asyncio
from collections.abc import Collection, Hashable, Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from schemas.errors import Unavailable
from schemas.topics import EVENT_RECORDED
from workers.bus.contract import Held, Lane, Revoked, Stop
from workers.deliver import metrics
from workers.deliver.asked import Asked
from workers.deliver.buried import Buried
from workers.deliver.finished import Finished
from workers.deliver.flight import Flight
from workers.deliver.ledger import Ledger
from workers.deliver.parcel import Parcel, packed
from workers.deliver.parked import Parked, kind_of
from workers.deliver.policy import Again, Decision
from workers.deliver.store import Store
from workers.deliver.window import LIMIT, Item, Window, judge
from workers.runtime.clock import steady
from workers.runtime.insist import Insist

log = structlog.get_logger()
TOPIC: Final = EVENT_RECORDED.name
PACE_S: Final = 0.02  # commits of what is finished come no faster: what was accepted since comes twice after a kill
WAIT_S: Final = 0.1  # for something to do, where nothing was sent just now
PROVE_EVERY_S: Final = 3.0  # while anything is open, a commit proves that the lane is still ours
IDLE_COMMIT_S: Final = 6 * 3600.0  # offsets of a group that never commits expire
IDLE_WAIT_S: Final = 0.5
FAULT_WAIT_S: Final = 1.0  # where the destination is at fault: hundreds of lanes may have nothing else to do
BATCH_LEAST: Final = 64
LOT: Final = 500  # lines that are taken in at once
AHEAD: Final = 64  # events that may go to rows from one probe to the next, in search of one that was never sent
HELD: Final = 2 * AHEAD  # that each lane may hold while the destination is at fault, maybe for days, and all of them LIMIT
CROWDED: Final = "as much of this lane waits in rows as may: keys that fail now hold up those beside them, nothing is lost"
CROWDED_REMEDY: Final = (
    "`ringhook deliveries list --destination {0} --failed` tells what it answers; mend that, "
    "or let all of it wait with `ringhook destinations pause {0}`"
)
PARK_AFTER: Final = timedelta(seconds=30)  # from an event's first attempt; then its key waits in rows, and the log goes on


class Session:
    """A lane while it is ours."""

    def __init__(
        self,
        lane: Lane,
        flight: Flight,
        stop: Stop,
        store: Store,
        *,
        finished: Finished,
        topic: str = TOPIC,
        asked: Asked | None = None,
    ) -> None:
        """`finished` outlives the lane's sessions.

        `asked`: what it delivers is no live traffic, which it must not delay; what nobody asks for any more is left out.
        """
        self.index, self.aside = lane.index, asked is not None
        self._finished, self._topic, self._replays = finished, topic, asked
        self._unsure: Sequence[Held] = ()  # fetched, and nobody could say yet whether it is asked for
        self.window: Window[Parcel] = Window(0)
        self.parked: Parked[Parcel] = Parked((), flight.now())
        self._lane, self._flight, self._stop = lane, flight, stop
        self._insist = Insist(store.group, stop, store.delay)
        self._ledger = Ledger(lane, topic, store, flight=flight, finished=finished, insist=self._insist)
        self._began_at = 0.0  # when something was last sent
        self._waited_last = False
        self._probe = self._passed = 0  # events that went to rows since that probe
        self._moved_at = 0  # probes that had failed when the foremost were last moved there, too
        self._slow: Hashable | None = None  # a key that goes to rows as soon as its first is settled
        self._crowded = False  # as it was told
        self._revoked: Revoked | None = None
        self._flying: dict[Item[Parcel], asyncio.Task[object] | None] = {}
        self._nudge = asyncio.Event()  # something ended that the loop may want to know of
        self._enough = max(BATCH_LEAST, 2 * flight.destination.concurrency * flight.destination.most)

    async def run(self) -> None:
        """Deliver until the stop; then what is in flight may end, and is committed if the lane is still ours."""
        await self._open()
        self._flight.lanes.append(self)
        try:
            await self._fly()
        finally:
            self._flight.lanes.remove(self)
            self._cut()
        if self._revoked:
            await self._ledger.leave()
            raise self._revoked
        await self._ledger.close()

    async def _open(self) -> None:
        start, kept, marks = await self._ledger.open()
        kind, resumed_at = kind_of(self._flight.destination.key), self._flight.resumed_at
        buried = Buried(kind, marks)
        self.window = Window.from_note(start.next[self._topic], start.note, buried)
        latest = self._flight.latest
        self.parked = Parked((), self._flight.now(), kind=kind, buried=buried, latest=latest, resumed_at=resumed_at)
        for at in range(0, len(kept), LOT):
            self.parked.take_in(kept[at : at + LOT], self._flight.now())
            await asyncio.sleep(0)  # there may be thousands, and others run on
        if self._flight.resumed_at != resumed_at:
            self.hurry(self._flight.now())
        self._ledger.begin(self.window, self.parked)
        if self.parked.foreign:
            meaning = "what waits began under another `key`: until it is done nothing new is read, so that order is kept"
            log.warning("delivery.key_changed", destination=self._flight.destination.name, lane=self.index, meaning=meaning)
        if gap := start.gaps.get(self._topic, 0):
            name = self._flight.destination.name
            metrics.GAPS.labels(destination=name).inc(gap)
            log.error("delivery.gap_found", destination=name, lane=self.index, expired=gap)

    async def _fly(self) -> None:
        try:
            while not self._stop.is_set():
                await self._turn()
            await self._ledger.commit_early()
        except Revoked as revoked:
            self._revoked = revoked
            await self._ledger.leave()
        await self._drain()

    async def _turn(self) -> None:
        if limit := self._wanted():
            patience = self._patience if self.window.open else IDLE_WAIT_S
            await self._take_up(self._unsure or await self._lane.fetch(limit, patience))
        else:
            await self._wait(self._patience)
        await self._read()
        self._park()  # before a probe is spent on what failed before
        self._tell_crowded()
        self._flight.pump()
        if self._commit_due():
            await self._ledger.commit()
            self._flight.pump()
        await self._ledger.tidy()

    @property
    def _patience(self) -> float:
        """How long to wait for something to do: there is little where the destination is at fault."""
        if self._flight.shut or self._flight.health.failing:
            return FAULT_WAIT_S
        return PACE_S if steady() - self._began_at < WAIT_S else WAIT_S

    def _wanted(self) -> int:
        """Return how many records to fetch: none while enough wait here and may be sent, or the destination is at fault."""
        health, now = self._flight.health, self._flight.now()
        if self._flight.shut:
            return 0
        if self.parked.foreign or not self.window.free:
            return 0
        if health.failing:
            return 0 if self._flight.has_untried() else min(self._searched, self._may_pass())
        if self.parked.full:
            return 0
        if self.window.open >= self._enough and not (health.room(now) and not self.presses(now)):
            return 0
        return min(self.window.free, self._enough)

    @property
    def _searched(self) -> int:
        """How many more events may be held while the destination is at fault, in search of one that was never sent."""
        return max(min(self.window.free, max(HELD - self.window.open, LIMIT - self._flight.in_hand())), 0)

    def _may_pass(self) -> int:
        """Return how many more events may go to rows until the next probe: in a long outage the backlog stays where it is."""
        if self._probe != self._flight.health.probes:
            self._probe, self._passed = self._flight.health.probes, 0
        return max(AHEAD - self._passed, 0)

    async def _take_up(self, batch: Sequence[Held]) -> None:
        """Admit what was fetched; where the store is away that knows what is asked for, another time."""
        try:
            over = await self._replays.over(batch) if self._replays else ()
        except Unavailable as error:
            self._unsure = batch
            self._insist.refused(error)
            await self._wait(self._patience)
            return
        self._unsure, now = (), self._flight.now()
        for held in batch:
            self._admit(held, now, over)

    def _admit(self, held: Held, now: datetime, over: Collection[str]) -> None:
        destination = self._flight.destination
        parcel = packed(held)
        if over and parcel.replay in over:
            self.window.skip(held.offset)
            return
        if parcel.event and not self.aside and not self._flight.wants(parcel.event):
            self.window.skip(held.offset)
            metrics.SKIPPED.labels(destination=destination.name).inc()
            return
        if fate := self._finished.fate(held):
            self.window.skip(held.offset)
            self._finished.add(held, fate)
            judge(self.window.buried, parcel.key(destination.key), fate)
            return
        item = parcel.item(destination.key, now)
        if not self.parked.blocks(item.key, known=not self._ledger.refused):
            self.window.admit(item)
        elif self.window.hold(item):
            self.parked.join([item])
            self._passed += 1

    def _park(self) -> None:
        """Let keys wait in rows whose first event does not get through: while the destination works, or they hide others."""
        now = self._flight.now()
        well = self._flight.state(now) == "well"
        held_up = well and self.window.held_up(now)
        self._slow = self.window.slow() if held_up else None
        if well:
            for item in self.window.stuck(now if held_up else now - PARK_AFTER, now):
                self._let_wait(item)
        elif self._flight.health.failing and self._hides():
            self._moved_at = self._flight.health.probes
            for item in self.window.foremost(AHEAD, now):  # whatever bound is reached: else nobody could ever show life
                self.parked.join(self.window.take(item))

    def _let_wait(self, item: Item[Parcel]) -> None:
        if not self.parked.crowded:
            self.parked.join(self.window.take(item))

    def _tell_crowded(self) -> None:
        """Log once that no further key may wait in rows, and once that this is over."""
        name, was = self._flight.destination.name, self._crowded
        self._crowded = not self.parked.eased if was else self.parked.crowded
        if self._crowded == was:
            return
        facts = {"destination": name, "lane": self.index, "keys": self.parked.keys, "rows": self.parked.rows}
        if self._crowded:
            log.warning("delivery.lane_crowded", **facts, meaning=CROWDED, remedy=CROWDED_REMEDY.format(name))
        else:
            log.info("delivery.lane_eased", **facts)

    def _hides(self) -> bool:
        """Say whether nothing is in hand, nor can be read, that was never sent: others may be behind. Once a probe."""
        may = not self._flight.shut and self._moved_at != self._flight.health.probes
        return may and self._searched < AHEAD and not self._flight.has_untried()

    async def _read(self) -> None:
        """Bring rows that are due into memory; where the store is away, another time."""
        now = self._flight.now()
        wanted = self.parked.wanted(now)
        if not wanted:
            return
        read: dict[str, list[Item[Parcel]]] = {}
        try:
            read = await self._ledger.shelf.read(wanted, now)
        except Unavailable as error:
            self._insist.refused(error)
        for name in wanted:
            self.parked.load(name, read.get(name, []))

    @property
    def waiting(self) -> int:
        """How many events wait in rows."""
        return self.parked.rows

    def next_due(self) -> datetime | None:
        """Return when the first of those that wait in rows is due; None where none waits."""
        return self.parked.next_due()

    def hurry(self, now: datetime) -> None:
        """Let all that failed before, and what waits for it, be due now."""
        self.window.hurry(now)
        self.parked.hurry(now)
        self._nudge.set()

    @property
    def open(self) -> int:
        """How many events of the log are held."""
        return self.window.open

    def idle(self, now: datetime) -> bool:
        """Say whether there is nothing that could be sent now."""
        return self.window.idle(now) and self.parked.idle(now)

    def presses(self, now: datetime) -> bool:
        """Say whether an event of the log could be sent now that was never sent."""
        return self.window.has_untried(now)

    def take(self, now: datetime, dice: float | None, *, rows: bool, again: bool) -> Item[Parcel] | None:
        """Return an event that may be sent now: what is new, and what waits or failed before, take turns."""
        turn = not (self._waited_last and self.presses(now))
        item = self._waiting(now, rows=rows and not self._ledger.refused, again=again) if turn else None
        self._waited_last = item is not None
        return item or (self.window.untried(now) if dice is None else self.window.sample(now, dice))

    def _waiting(self, now: datetime, *, rows: bool, again: bool) -> Item[Parcel] | None:
        item = self._of_rows(now, again=again) if rows else None
        return item or (self.window.again(now) if again else None)

    def _of_rows(self, now: datetime, *, again: bool) -> Item[Parcel] | None:
        """Return an event of a row that may be sent now; one that a former session finished is not."""
        while (item := self.parked.ready(now, again=again)) and (fate := self._finished.fate(item.load.held)):
            self.settle(item, fate)
        return item

    def another(self, now: datetime, like: Parcel) -> Item[Parcel] | None:
        """Return one more event of the log that may go in one request with this one."""
        return self.window.another(now, like.joins)

    def fellows(self, now: datetime, item: Item[Parcel]) -> Sequence[Item[Parcel]]:
        """Return those that are to go in one request with one that was refused with them."""
        return self.window.fellows(item, now)

    def single(self, item: Item[Parcel]) -> bool:
        """Say whether an event of its key was buried and none succeeded since."""
        return item.key in self.window.buried

    def settle(self, item: Item[Parcel], decision: Decision) -> None:
        """Hear what becomes of an event."""
        if not isinstance(decision, Again):
            self._finished.add(item.load.held, decision)
        if item.line is None:
            self.window.settle(item.offset, decision)
            self._let_wait_if_slow(item.key)
        else:
            self.parked.settle(item, decision)

    def _let_wait_if_slow(self, key: Hashable | None) -> None:
        """Let what follows in a key wait in rows, and what failed of it, if it holds up its neighbours."""
        if key is not None and key == self._slow and (first := self.window.first(key)):
            self._let_wait(first)

    def oldest(self) -> float | None:
        """Return since when the bus has the oldest event that is not finished, in epoch seconds."""
        known = [since for since in (self.window.oldest(), self.parked.oldest()) if since is not None]
        return min(known, default=None)

    def untried(self, now: datetime, dice: float) -> Item[Parcel] | None:
        """Return an event of the log that was never sent."""
        return self.window.sample(now, dice)

    def has_untried(self, now: datetime) -> bool:
        """Say whether there is one that may be sent now."""
        return self.window.has_untried(now)

    async def _wait(self, seconds: float = WAIT_S) -> None:
        """Wait until something was settled, or a moment."""
        self._nudge.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._nudge.wait()
        except TimeoutError:
            return

    def may_start(self) -> bool:
        """Say whether the lane was proven to be ours within the last seconds, the bus answers, and no end was asked for."""
        return not self.closing() and self._ledger.ours()

    def closing(self) -> bool:
        """Say whether the session ends."""
        return self._revoked is not None or self._stop.is_set()

    def began(self, item: Item[Parcel], task: asyncio.Task[object] | None) -> None:
        """Hear that this task is about to send an item."""
        self._flying[item], self._began_at = task, steady()

    def ended(self, item: Item[Parcel]) -> None:
        """Hear that it was settled, or given up."""
        del self._flying[item]
        if item.line or 2 * self.window.open < self._enough or not self.presses(self._flight.now()):
            self._nudge.set()

    async def _drain(self) -> None:
        """Let requests in flight end, however long they may take: what is cut is sent again."""
        began = steady()
        while self._flying and steady() - began < self._flight.ends_s:
            await self._wait()

    def _cut(self) -> None:
        """Cut the requests that took too long: they are sent again."""
        for task in self._flying.values():
            if task:
                task.cancel()

    def _commit_due(self) -> bool:
        if self._ledger.news:
            return self._ledger.age >= PACE_S
        # On no old proof does anything start; and who looks whether all that was put aside is sent must see how far that is.
        waits = self.aside or (self._flight.may_send() and (self.window.open or not self.parked.idle(self._flight.now())))
        return self._ledger.age >= (PROVE_EVERY_S if waits else IDLE_COMMIT_S)
