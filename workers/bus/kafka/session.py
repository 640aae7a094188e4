"""The sessions of all lanes of one member: they live within one generation of the group and one epoch of the producer."""

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

import msgspec
import structlog

from workers.bus.contract import Record, Revoked, Stop, Unknown, Work
from workers.bus.kafka import group
from workers.bus.kafka.codes import REBALANCE_IN_PROGRESS, UNSTABLE_OFFSETS, Broken, Refused
from workers.bus.kafka.eos import Place
from workers.bus.kafka.group import Membership
from workers.bus.kafka.lane import SINGLY, STEPS, Ahead, Committed, Found, KafkaLane
from workers.bus.kafka.merge import Merger
from workers.bus.kafka.names import Names
from workers.bus.kafka.plain import Plain
from workers.bus.kafka.transaction import Transactor
from workers.bus.kafka.wire import Wire
from workers.bus.metrics import COMMIT_SECONDS, COMMITS, SESSIONS_ENDED
from workers.bus.session import stray

PACE: Final = 0.01  # seconds from one plain commit to the next: what is done meanwhile goes in it, of all lanes
HEARD: Final = 10.0  # seconds for a rebalance to reach our client, whose heartbeats go out every two
Begin = Literal["first", "end"] | datetime

log = structlog.get_logger()


class Plan(msgspec.Struct, frozen=True):
    """What one call of `consume` asked for."""

    names: Names
    topics: tuple[str, ...]
    group: str  # without namespace
    work: Work
    stop: Stop
    atomic: bool
    start: Begin
    grace: float  # seconds that a `work` may take to return once its session has ended

    @property
    def ahead(self) -> Ahead:
        """How far its lanes read ahead."""
        return STEPS if self.atomic else SINGLY

    def physical(self) -> dict[str, str]:
        """Return the broker's name by topic."""
        return {topic: self.names.physical(topic) for topic in self.topics}


class Feed:
    """The part of aiokafka's consumer that sessions steer, for one assignment; nothing happens once that is over."""

    def __init__(self, consumer: Any) -> None:  # noqa: ANN401 (aiokafka ships no types)
        self._consumer = consumer
        self._assignment = consumer._subscription.subscription.assignment  # noqa: SLF001 (the public one follows rebalances)

    def pause_all(self) -> None:
        """Fetch nothing: what no session has opened is not for us."""
        if self._assignment.active:
            self._consumer.pause(*self._assignment.tps)

    def park(self) -> None:
        """Give every partition some position: aiokafka fetches nothing from a node while one of its partitions has none."""
        self.pause_all()
        for tp in self._assignment.tps:
            self._consumer.seek(tp, 0)

    def seek(self, positions: Mapping[Place, int]) -> None:
        """Fetch from here on."""
        if not self._assignment.active:
            raise Revoked
        for tp in self._assignment.tps:
            if tp in positions:
                self._consumer.seek(tp, positions[tp])

    def flow(self, places: Collection[Place], *, on: bool) -> None:
        """Fetch these or pause them."""
        if self._assignment.active:
            chosen = [tp for tp in self._assignment.tps if tp in places]
            (self._consumer.resume if on else self._consumer.pause)(*chosen)

    def position(self, place: Place) -> int | None:
        """Return up to where a partition has been fetched."""
        state = self._assignment.state_value(place)
        return state.position if state is not None and state.has_valid_position else None


class Sessions:
    """Runs one `work` per assigned lane until the first thing ends them all."""

    def __init__(
        self, plan: Plan, me: Membership, feed: Feed, *, wire: Wire, transactor: Transactor | None, indexes: Collection[int]
    ) -> None:
        self.group = plan.group
        self.me = me
        self.lanes = {index: KafkaLane(self, index, plan.physical(), plan.ahead) for index in sorted(indexes)}
        self.reason = ""
        self.unstable = False  # a transaction with our positions has no end
        self._plan = plan
        self._feed = feed
        self._wire = wire
        self._committer = transactor or Plain(wire)
        self._merger = Merger(self._committer, me, self.end, pace=0.0 if plan.atomic else PACE)
        self._ended = asyncio.Event()
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Return once all sessions have ended, for whatever `reason`; raise what a `work` raised, unless Revoked."""
        works = [asyncio.create_task(self._work(lane), name=f"bus.lane.{self.group}.{i}") for i, lane in self.lanes.items()]
        try:
            await self._until_ended(works)
            await self._finish(works, "failed" if any(map(_failed, works)) else "returned")
        except BaseException:
            await self._finish(works, "broken")
            raise
        finally:
            self._over.set()
        for work in works:
            if not work.cancelled() and (error := work.exception()):
                raise error

    @property
    def doubtful(self) -> bool:
        """Say whether a plain commit was sent whose answer is missing."""
        return isinstance(self._committer, Plain) and self._committer.doubtful

    def end(self, reason: str, detail: str = "") -> None:
        """End all sessions; the first reason stands."""
        self._told(reason, detail)
        for lane in self.lanes.values():
            lane.revoke()
        self._ended.set()

    def _told(self, reason: str, detail: str = "") -> None:
        if not self.reason:
            self.reason = reason
            SESSIONS_ENDED.labels(reason).inc(len(self.lanes))
            log.info("sessions.ended", group=self.group, reason=reason, detail=detail, lanes=len(self.lanes))

    async def ended(self, reason: str) -> None:
        """End all sessions and return once no `work` of them runs any more.

        One without outputs may commit until then what it has done: we are a member of this generation still.
        """
        if not self._plan.atomic:
            self._told(reason)
            for lane in self.lanes.values():
                lane.finish()
            self._ended.set()
        else:
            self.end(reason)
        await self._over.wait()

    async def find(self, places: Collection[Place]) -> Found:
        """Prove membership, then read: a former owner can change nothing from here on."""
        try:
            await group.prove(self._wire, self.me)
            committed = await group.committed(self._wire, self.me.group, places)
            first, end = await asyncio.gather(
                group.offsets(self._wire, places, group.EARLIEST), group.offsets(self._wire, places, group.LATEST)
            )
            missing = [place for place in places if place not in committed]
            return Found(committed, first, end, await self._fresh(missing, first, end))
        except (Broken, Refused) as error:
            code = error.code if isinstance(error, Refused) else None
            if code == REBALANCE_IN_PROGRESS and not self._plan.atomic and await self._dealt_anew():
                raise Revoked(str(error)) from error
            self.unstable = code == UNSTABLE_OFFSETS
            self.end("unreachable" if code is None else "refused", str(error))
            raise Revoked(str(error)) from error

    async def _dealt_anew(self) -> bool:
        """Wait until our client hears of the rebalance, too, and say whether it did: who is open then commits what is done."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARD):
                await self._ended.wait()
        return self._ended.is_set()

    async def commit(self, offsets: Committed, outputs: Sequence[Record]) -> None:
        """Commit once: in the next transaction, or plainly where the group has no outputs."""
        began = asyncio.get_running_loop().time()
        outcome = "refused"
        try:
            await self._commit(offsets, outputs)
            outcome = "done"
        except Unknown:
            outcome = "unknown"
            raise
        finally:
            COMMITS.labels(outcome).inc()
            COMMIT_SECONDS.observe(asyncio.get_running_loop().time() - began)

    def seek(self, positions: Mapping[Place, int]) -> None:
        """Fetch from these positions on."""
        self._feed.seek(positions)

    def position(self, place: Place) -> int | None:
        """Return up to where a partition has been fetched."""
        return self._feed.position(place)

    def flow(self, places: Collection[Place], *, on: bool) -> None:
        """Fetch these partitions or pause them."""
        self._feed.flow(places, on=on)

    async def _commit(self, offsets: Committed, outputs: Sequence[Record]) -> None:
        if outputs and not self._plan.atomic:
            raise TypeError("outputs need consume(atomic=True)")
        placed = [(self._plan.names.place(record), record) for record in outputs]
        await self._merger.commit(offsets, placed)

    async def _fresh(self, places: Collection[Place], first: Mapping[Place, int], end: Mapping[Place, int]) -> dict[Place, int]:
        start = self._plan.start
        if not isinstance(start, datetime):
            return {place: (first if start == "first" else end)[place] for place in places}
        found = await group.offsets(self._wire, places, int(start.timestamp() * 1000)) if places else {}
        return {place: offset if (offset := found[place]) >= 0 else end[place] for place in places}

    async def _work(self, lane: KafkaLane) -> None:
        try:
            await self._plan.work(lane, lane.stop)
        except Revoked:
            if not self.reason:  # else they end as that says, and may have something to commit still
                self.end("revoked")
        except asyncio.CancelledError:
            if stray():
                self.end("broken", "a work was cancelled, and nobody asked for it")
            raise

    async def _until_ended(self, works: Collection[asyncio.Task[None]]) -> None:
        watched = {asyncio.ensure_future(self._ended.wait()), asyncio.ensure_future(self._plan.stop.wait())}
        try:
            working = set(works)  # one that returns early is done; the others go on
            while not any(map(_failed, works)) and (working or not works):
                done, _ = await asyncio.wait({*watched, *working}, return_when=asyncio.FIRST_COMPLETED)
                if done & watched:
                    return
                working -= done
        finally:
            for each in watched:
                each.cancel()
            await asyncio.gather(*watched, return_exceptions=True)

    async def _finish(self, works: Collection[asyncio.Task[None]], reason: str) -> None:
        """Let works finish what they do if stopped from outside, else let their calls raise Revoked; within the grace."""
        if self._plan.stop.is_set() and not self.reason:
            self.reason = "stop"
            SESSIONS_ENDED.labels("stop").inc(len(self.lanes))
            for lane in self.lanes.values():
                lane.finish()
        elif not self.reason:
            self.end(reason)
        self._ended.set()
        if works:
            await asyncio.wait(works, timeout=self._plan.grace)
        for lane in self.lanes.values():
            lane.revoke()
        await self._merger.close()
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)


def _failed(work: asyncio.Task[None]) -> bool:
    return work.done() and not work.cancelled() and work.exception() is not None
