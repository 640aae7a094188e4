"""One session of one lane: fetches while there is use for more, commits what is finished, and ends without cutting in."""

import asyncio
import time
from datetime import datetime
from typing import Final

import structlog

from schemas.topics import EVENT_RECORDED
from workers.bus.contract import Held, Lane, Revoked, Stop, Unknown
from workers.deliver import metrics
from workers.deliver.flight import Flight
from workers.deliver.parcel import Parcel, packed
from workers.deliver.window import Item, Window

log = structlog.get_logger()
TOPIC: Final = EVENT_RECORDED.name
PACE_S: Final = 0.1  # commits of what is finished come no faster
PROVE_EVERY_S: Final = 3.0  # while anything is open, a commit proves that the lane is still ours
PROVEN_FOR_S: Final = 8.0  # no request starts on an older proof
IDLE_COMMIT_S: Final = 6 * 3600.0  # offsets of a group that never commits expire
IDLE_WAIT_S: Final = 0.5
DRAIN_S: Final = 4.0  # the bus waits 5 s for a lane to end, its last commit included
COMMIT_DEADLINE_S: Final = 15.0
BATCH_LEAST: Final = 64
_CLOCK: Final = getattr(
    time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC
)  # runs on while the machine is suspended, where there is one


def awake() -> float:
    """Return seconds on a clock that nothing stops or turns back."""
    return time.clock_gettime(_CLOCK)


class Session:
    """A lane while it is ours."""

    def __init__(self, lane: Lane, flight: Flight, stop: Stop) -> None:
        self.index = lane.index
        self.window: Window[Parcel] = Window(0)
        self._lane, self._flight, self._stop = lane, flight, stop
        self._revoked: Revoked | None = None
        self._proven = self._committed_at = 0.0
        self._committed = 0  # the window's changes when it was last committed
        self._flying: dict[int, asyncio.Task[object] | None] = {}  # by offset
        self._nudge = asyncio.Event()  # something ended that the loop may want to know of
        self._enough = max(BATCH_LEAST, 2 * flight.destination.concurrency)

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
            raise self._revoked
        await self._commit_last()

    async def _open(self) -> None:
        asked = awake()
        start = await self._lane.open()
        self._proven = self._committed_at = asked
        self.window = Window.from_note(start.next[TOPIC], start.note)
        if gap := start.gaps.get(TOPIC, 0):
            name = self._flight.destination.name
            metrics.GAPS.labels(destination=name).inc(gap)
            log.error("delivery.gap_found", destination=name, lane=self.index, expired=gap)

    async def _fly(self) -> None:
        try:
            while not self._stop.is_set():
                await self._turn()
        except Revoked as revoked:
            self._revoked = revoked
        await self._drain()

    async def _turn(self) -> None:
        if limit := self._wanted():
            batch = await self._lane.fetch(limit, PACE_S if self.window.open else IDLE_WAIT_S)
            now = self._flight.now()
            for held in batch:
                self._admit(held, now)
        else:
            await self._wait()
        self._flight.pump()
        if self._commit_due():
            await self._commit()
            self._flight.pump()

    def _wanted(self) -> int:
        """Return how many records to fetch: none while enough wait here and may be sent, or the destination is at fault."""
        health, now = self._flight.health, self._flight.now()
        if health.gone:
            return 0
        if health.failing:
            return int(not self._flight.anything_open())
        if self.window.open >= self._enough and not (health.room(now) and self.window.idle(now)):
            return 0
        return min(self.window.free, self._enough)

    def _admit(self, held: Held, now: datetime) -> None:
        destination = self._flight.destination
        parcel = packed(held)
        if parcel.event and not self._flight.wants(parcel.event):
            self.window.skip(held.offset)
            metrics.SKIPPED.labels(destination=destination.name).inc()
            return
        self.window.admit(held.offset, parcel.key(destination.key), parcel, now, len(held.value))

    async def _wait(self) -> None:
        """Wait until something was settled, or a moment."""
        self._nudge.clear()
        try:
            async with asyncio.timeout(PACE_S):
                await self._nudge.wait()
        except TimeoutError:
            return

    def may_start(self) -> bool:
        """Say whether the lane was proven to be ours within the last seconds, and no end was asked for."""
        return not self.closing() and awake() - self._proven < PROVEN_FOR_S

    def closing(self) -> bool:
        """Say whether the session ends."""
        return self._revoked is not None or self._stop.is_set()

    def began(self, item: Item[Parcel]) -> None:
        """Hear that the current task is about to send an item."""
        self._flying[item.offset] = asyncio.current_task()

    def ended(self, item: Item[Parcel]) -> None:
        """Hear that it was settled, or given up."""
        del self._flying[item.offset]
        if 2 * self.window.open < self._enough or self.window.idle(self._flight.now()):
            self._nudge.set()

    async def _drain(self) -> None:
        """Let requests in flight end for as long as the bus waits."""
        until = awake() + DRAIN_S
        while self._flying and awake() < until:
            await self._wait()

    def _cut(self) -> None:
        """Cut the requests that took too long: they are sent again."""
        for task in self._flying.values():
            if task:
                task.cancel()

    def _commit_due(self) -> bool:
        since = awake() - self._committed_at
        if self.window.changes != self._committed:
            return since >= PACE_S
        return since >= (PROVE_EVERY_S if self.window.open else IDLE_COMMIT_S)

    async def _commit(self) -> None:
        asked, changes = awake(), self.window.changes
        try:
            async with asyncio.timeout(COMMIT_DEADLINE_S):
                await self._lane.commit({TOPIC: self.window.next()}, self.window.note(self.window.n + 1))
        except TimeoutError:
            raise Unknown("a commit missed its deadline") from None
        self._proven = self._committed_at = asked
        self._committed = changes

    async def _commit_last(self) -> None:
        if self.window.changes == self._committed:
            return
        try:
            await self._commit()
        except Revoked:
            return  # the next owner sends again what it does not know to be finished
