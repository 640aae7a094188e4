"""`consume`: a member of the group for as long as it lasts, its pump, and a watch over its progress."""

import asyncio
import contextlib
import secrets
from collections.abc import Collection, Mapping
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError, NoOffsetForPartitionError, OffsetOutOfRangeError

from schemas.errors import Misconfigured, Unavailable
from workers.bus.kafka import group, hanging, standstill
from workers.bus.kafka.absent import Absence
from workers.bus.kafka.codes import Broken, Refused
from workers.bus.kafka.eos import Place
from workers.bus.kafka.group import Membership
from workers.bus.kafka.lane import Ahead
from workers.bus.kafka.patience import Patience
from workers.bus.kafka.reach import told
from workers.bus.kafka.session import Feed, Plan, Sessions
from workers.bus.kafka.transaction import Touched, Transactor
from workers.bus.kafka.url import Address
from workers.bus.kafka.wire import Wire, whole
from workers.bus.metrics import CONSUMERS_REBUILT

POLL_MS: Final = 500
LONG_POLL_MS: Final = 200  # a partition that is resumed waits for the poll under way
FETCH_BYTES: Final = 1024 * 1024  # a poll; its records take five times as much once they are objects
ANSWER: Final = 5.0  # seconds for a broker
LEAVING: Final = 3.0  # seconds to leave the group politely
STALLED: Final = 20.0  # seconds that records may wait at a position that does not move: a fetch takes 0.2
WATCH: Final = 5.0  # seconds between looks
UNASSIGNED: Final = 90.0  # seconds without any assignment, an empty one included
LASTED: Final = 10.0  # seconds after which sessions count as having gone well

Behind = Mapping[Place, tuple[int | None, float]]  # the position that does not move, and since when it was seen so

log = structlog.get_logger()


class Stalled(Unavailable):
    """The consumer hands out nothing although records wait."""


class Again(Unavailable):
    """This member must go: a commit of its generation is of unknown outcome and could still come through."""


async def consume(address: Address, plan: Plan) -> None:
    """Run `plan.work` per assigned lane and session until stop; wait for an absent broker for as long as it takes."""
    transactional_id = f"{plan.names.group(plan.group)}.{secrets.token_hex(8)}"
    patience, touched, absence = Patience(), Touched(), Absence()
    failing = ""
    while not plan.stop.is_set():
        member = Member(address, plan, transactional_id, touched, absence)
        try:
            await member.run()
            failing = ""
        except (KafkaError, OSError, TimeoutError, Broken, Refused, Stalled, Again) as error:
            reason = "stalled" if isinstance(error, Stalled) else "unknown" if isinstance(error, Again) else "broken"
            CONSUMERS_REBUILT.labels(reason).inc()
            if member.worked:
                patience.reset()
                failing = ""
            if failing != (failing := told(error)):
                log.warning("consumer.rebuilt", group=plan.group, reason=reason, why=failing)
            await patience.pause(plan.stop)


class Member(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """One member of the group, from joining it to leaving it."""

    def __init__(self, address: Address, plan: Plan, transactional_id: str, touched: Touched, absence: Absence) -> None:
        self.worked = False
        self._absence = absence
        self._address = address
        self._plan = plan
        self._topics = plan.physical()
        self._wire = Wire(address, patience=ANSWER)
        self._id = transactional_id
        self._transactor = Transactor(self._wire, transactional_id, touched) if plan.atomic else None
        self._consumer = _consumer(address, plan.names.group(plan.group), plan.ahead)
        self._assigned: tuple[Membership, Feed, frozenset[int]] | None = None
        self._changed = asyncio.Event()
        self._sessions: Sessions | None = None
        self._since = asyncio.get_running_loop().time()  # when there was an assignment last

    async def run(self) -> None:
        """Be a member until stop. Raises what makes a new one necessary, or what a `work` raised."""
        try:
            await self._join()
            await self._first(self._pump(), self._watch(), self._serve())
        finally:
            await self._leave()

    async def on_partitions_revoked(self, revoked: Collection[Any]) -> None:
        """End all sessions before the group goes on without them; called by aiokafka, which swallows exceptions."""
        del revoked
        if self._assigned is not None:  # it may be told again, before another one comes
            self._assigned, self._since = None, asyncio.get_running_loop().time()
        if self._sessions is not None:
            await self._sessions.ended("rebalance")

    async def on_partitions_assigned(self, assigned: Collection[Any]) -> None:
        """Note who we are now and what is ours; nothing is fetched before a session opens it."""
        coordinator = self._consumer._coordinator  # noqa: SLF001 (member id and generation, as of this very moment)
        me = Membership(coordinator.group_id, coordinator.member_id, coordinator.generation)
        feed = Feed(self._consumer)
        feed.park()
        self._assigned = me, feed, complete(assigned, self._topics.values())
        self._changed.set()

    async def _join(self) -> None:
        await self._wire.open(self._plan.names.all_physical())  # outputs go to others than those read
        for topic, physical in self._topics.items():
            if (found := self._wire.count(physical)) is None:
                raise Broken(self._absence.words(physical, await self._wire.listed(), asyncio.get_running_loop().time()))
            _same_count(physical, found, self._plan.names.counts[topic])
        async with asyncio.timeout(ANSWER * 2):
            await whole(self._consumer.start(), ANSWER)
        self._consumer.subscribe(topics=list(self._topics.values()), listener=self)

    async def _serve(self) -> None:
        """Open sessions for each assignment, and again when they end within one."""
        patience = Patience()
        while not self._plan.stop.is_set():
            if (assigned := self._assigned) is None:
                await self._first(self._changed.wait(), self._plan.stop.wait())
                self._changed.clear()
                continue
            began = asyncio.get_running_loop().time()
            reason = await self._sit(*assigned)
            if reason == "unknown" and not self._plan.atomic:
                raise Again
            if asyncio.get_running_loop().time() - began > LASTED:
                patience.reset()
            if reason not in ("rebalance", "stop"):
                await patience.pause(self._plan.stop)

    async def _sit(self, me: Membership, feed: Feed, indexes: frozenset[int]) -> str:
        if self._transactor is not None and not self._transactor.fit:
            self._transactor.renounce()
            await self._transactor.begin()
            if self._assigned is None or self._assigned[0] != me:
                return "rebalance"
        feed.pause_all()
        self._sessions = sessions = Sessions(self._plan, me, feed, wire=self._wire, transactor=self._transactor, indexes=indexes)
        log.info("sessions.begun", group=self._plan.group, generation=me.generation, lanes=sorted(indexes))
        try:
            await sessions.run()
            self.worked = True
            if sessions.unstable:
                await self._end_hanging(Touched(group=me.group))
            return _outcome(sessions)
        finally:
            self._sessions = None

    async def _pump(self) -> None:
        """Poll always, so that the group keeps us; hand what comes to the lane it belongs to."""
        while True:
            try:
                fetched = await self._consumer.getmany(timeout_ms=POLL_MS)
            except NoOffsetForPartitionError:
                continue  # not open yet: its session seeks
            except OffsetOutOfRangeError as error:
                if self._sessions is not None and not self._sessions.reason:
                    log.warning("consumer.out_of_range", group=self._plan.group, detail=str(error))
                    self._sessions.end("expired")
                await asyncio.sleep(POLL_MS / 1000)  # what is under way in the sessions ends first
                continue
            if self._sessions is not None:
                for tp, records in fetched.items():
                    if lane := self._sessions.lanes.get(tp.partition):
                        lane.take(Place(*tp), records)

    async def _watch(self) -> None:
        """Raise Stalled when records wait and nothing is handed out, or no assignment comes."""
        behind: Behind = {}
        unreadable: hanging.Since = {}
        while True:
            await asyncio.sleep(WATCH)
            now = asyncio.get_running_loop().time()
            unreadable = await self._readable(unreadable, now)
            if self._assigned is None and now - self._since > UNASSIGNED and self._sessions is None:
                raise Stalled("no assignment")
            if self._assigned is not None and not self._assigned[2]:
                self._consumer._client.force_metadata_update()  # noqa: SLF001 (else it looks after a minute whether topics are back)
            ends = await self._ends(list(self._idle()))
            behind = still_behind(behind, self._idle(), ends, now)
            if late := standstill.longer_than(STALLED, behind, now):
                raise Stalled(f"{len(late)} partitions have records and none is handed out")

    async def _readable(self, seen: hanging.Since, now: float) -> hanging.Since:
        """See to it that what we write can be read: end what hangs before it. Nothing while the broker does not say."""
        if self._transactor is None:
            return {}
        with contextlib.suppress(Broken, Refused):
            seen = standstill.since(seen, await hanging.unreadable(self._wire, self._transactor.written), now)
            if places := standstill.longer_than(hanging.HANGS, seen, now):
                await self._end_hanging(Touched(places))
                return {}
        return seen

    async def _end_hanging(self, touched: Touched) -> None:
        await hanging.end(self._wire, f"{self._plan.names.group(self._plan.group)}.", self._id, touched)

    def _idle(self) -> dict[Place, int | None]:
        lanes = self._sessions.lanes.values() if self._sessions is not None else ()
        return {place: position for lane in lanes for place, position in lane.idle().items()}

    async def _ends(self, places: Collection[Place]) -> Mapping[Place, int]:
        """Return where what can be read ends; nothing while the broker does not say."""
        with contextlib.suppress(Broken, Refused):
            return await group.offsets(self._wire, places, group.LATEST)
        return {}

    async def _first(self, *coroutines: Any) -> None:  # noqa: ANN401 (coroutines)
        """Return or raise as the first of these does; the others are cancelled."""
        tasks = [asyncio.ensure_future(each) for each in coroutines]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for task in done:
            task.result()

    async def _leave(self) -> None:
        """Go politely if that is quick: aiokafka's `stop` may hang, or raise a CancelledError that nobody asked for."""
        hear(self._consumer)
        stopping = asyncio.ensure_future(self._consumer.stop())
        try:
            await asyncio.wait([stopping], timeout=LEAVING)
        finally:
            if not _succeeded(stopping):
                await _abandon(self._consumer, stopping)
            await self._wire.close()


def _outcome(sessions: Sessions) -> str:
    """Return why they ended; a commit that could still come through within this generation outweighs what ended them first."""
    return "unknown" if sessions.doubtful and sessions.reason not in ("rebalance", "stop") else sessions.reason


def still_behind(before: Behind, idle: Mapping[Place, int | None], ends: Mapping[Place, int], now: float) -> Behind:
    """Return the partitions at whose position records wait, each with since when it has been seen so at that position."""
    return standstill.since(before, {place: at for place, at in idle.items() if (at or 0) < ends.get(place, 0)}, now)


def complete(assigned: Collection[Any], topics: Collection[str]) -> frozenset[int]:
    """Return the indexes of which every topic's partition is assigned; the others stay closed."""
    by_index: dict[int, set[str]] = {}
    for topic, partition in assigned:
        by_index.setdefault(partition, set()).add(topic)
    return frozenset(index for index, found in by_index.items() if found == set(topics))


def _same_count(topic: str, found: int, declared: int) -> None:
    if found != declared:
        raise Misconfigured(f"topic {topic} has {found} partitions, {declared} are declared: growth is a new topic")


def _consumer(address: Address, group_id: str, ahead: Ahead) -> Any:  # noqa: ANN401 (aiokafka ships no types)
    session_ms = int(address.session_timeout * 1000)
    return AIOKafkaConsumer(
        **address.options(),
        client_id="ringhook",
        group_id=group_id,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        partition_assignment_strategy=(RangePartitionAssignor,),
        session_timeout_ms=session_ms,
        rebalance_timeout_ms=session_ms,
        heartbeat_interval_ms=min(2000, session_ms // 3),
        request_timeout_ms=session_ms + 5000,  # a join may take as long as the slowest member
        fetch_max_wait_ms=LONG_POLL_MS,
        fetch_max_bytes=FETCH_BYTES,
        max_partition_fetch_bytes=ahead.fetch,
        metadata_max_age_ms=60_000,
    )


def _succeeded(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def hear(consumer: Any) -> None:  # noqa: ANN401 (aiokafka ships no types)
    """Take what its tasks raise: `stop` never asks one that has ended, and asyncio would tell of it without a place."""
    for task in _tasks(consumer):
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


def _tasks(consumer: Any) -> list[asyncio.Task[None]]:  # noqa: ANN401 (aiokafka ships no types)
    coordinator, fetcher = consumer._coordinator, consumer._fetcher  # noqa: SLF001 (it gives no other way)
    owned = [
        getattr(coordinator, "_coordination_task", None),
        getattr(coordinator, "_heartbeat_task", None),
        getattr(coordinator, "_commit_refresh_task", None),
        getattr(fetcher, "_fetch_task", None),
        *getattr(fetcher, "_pending_tasks", ()),
    ]
    return [task for task in owned if task is not None]


async def _abandon(consumer: Any, stopping: asyncio.Task[None]) -> None:  # noqa: ANN401 (aiokafka ships no types)
    """End what `stop` could not: its tasks first, then its connections."""
    client = consumer._client  # noqa: SLF001 (stop hangs)
    tasks = [stopping, *_tasks(consumer)]
    for task in tasks:
        task.cancel()
    done, _ = await asyncio.wait(tasks, timeout=1)
    await asyncio.gather(*done, return_exceptions=True)
    for conn in client._conns.values():  # noqa: SLF001 (a frozen broker would be waited for)
        if conn._writer is not None:  # noqa: SLF001 (same)
            conn._writer.transport.abort()  # noqa: SLF001 (same)
    with contextlib.suppress(TimeoutError, KafkaError, OSError):
        async with asyncio.timeout(1):
            await client.close()
