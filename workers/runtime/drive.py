"""The first driver: a batch of one lane in, records out; rows, position, note and outputs become true in one step.

The crash rule of house.md: before the store's commit `Unavailable` means the same batch again; from the store's commit on
whatever is raised ends the session; any other exception of a job is a bug, and the supervisor restarts this worker alone.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Final, Literal

import structlog

from schemas.errors import Rejected, Unavailable
from workers.bus.contract import Bus, BusBroken, Held, Lane, Record, Revoked, Stop, TooLarge, Unknown
from workers.runtime import metrics
from workers.runtime.clock import utc_now
from workers.runtime.database import Database
from workers.runtime.dead import letter
from workers.runtime.delay import Delay
from workers.runtime.insist import Insist
from workers.runtime.jobs import Aside, Distrusting, Job, Owing
from workers.runtime.lane import Session, note
from workers.runtime.poison import Suspicion
from workers.runtime.supervise import Fatal, wait_or_stop

log = structlog.get_logger()

SMALLEST, LARGEST = 16, 200  # records in a batch; twelve lanes with 500 each took 15 MB more, and were no faster
FIRST: Final = 200  # the first batch's bound; as a small batch costs nearly as much as a large one, smaller is slower yet
SWIFT, SLOW = 0.25, 1.0  # seconds of a step, other lanes' turns included, between which a batch is as large as it should be
PATIENCE: Final = 1.0  # seconds that a fetch waits, and that `due` may be late
RELEASES: Final = 10  # steps that release, between two batches
MENDING: Final = "the store was restored from a backup, and the linker has not mended it yet"


@dataclass(frozen=True)
class Drive:
    """Worker: runs a job on every lane this process is given, until `stop`."""

    bus: Bus
    job: Job
    database: Database
    clock: Callable[[], datetime] = utc_now
    start: Literal["first", "end"] | datetime = "first"  # where a group begins that has committed nothing
    suspicions: defaultdict[int, Suspicion] = field(default_factory=lambda: defaultdict(Suspicion))
    delay: Delay = field(default_factory=Delay)

    @property
    def name(self) -> str:
        """The job's name, which is also its consumer group."""
        return self.job.name

    async def run(self, stop: Stop) -> None:
        """Return soon after `stop`; raise what the job raised as a bug, or Fatal."""
        await self.bus.consume(self.job.topics, self.job.name, self._work, stop, atomic=True, start=self.start)

    async def _work(self, lane: Lane, stop: Stop) -> None:
        await _LaneDrive(self, lane, stop).run()


class _LaneDrive:
    """One session of one lane."""

    def __init__(self, drive: Drive, lane: Lane, stop: Stop) -> None:
        self._job, self._clock, self._lane, self._stop = drive.job, drive.clock, lane, stop
        distrust = drive.job.distrust if isinstance(drive.job, Distrusting) else None
        self._session = Session(drive.database, drive.job.name, lane.index, drive.job.stepped, distrust=distrust)
        self._suspicion = drive.suspicions[lane.index]
        self._insist = Insist(drive.job.name, stop, drive.delay)
        self._next: dict[str, int] = {}
        self._limit = FIRST
        self._owes = any("release_n" in table.c for table in drive.job.stepped)  # only waiting rows can become due
        self._released = 0.0
        self._rejected = 0  # of the step at hand

    async def run(self) -> None:
        """Step through the lane until the session ends or is asked to."""
        await self._open()
        rest: Sequence[Held] = ()
        while not self._stop.is_set():
            batch = rest or await self._lane.fetch(self._limit, PATIENCE)
            size = min(len(batch), self._suspicion.limit or len(batch))
            done = await self._step(batch[:size]) if batch else 0
            rest = batch[done:]
            await self._release()
        with suppress(Unavailable, Revoked):
            await self._session.settle()

    async def _open(self) -> None:
        start = await self._session.open(self._lane, self._insist)
        if isinstance(self._job, Distrusting):
            await self._until_mended()
        self._next = dict(start.next)
        metrics.SESSIONS.labels(job=self._job.name).inc()
        for topic, gap in start.gaps.items():
            metrics.GAPS.labels(job=self._job.name).inc(gap)
            log.error("lane.gap_found", job=self._job.name, lane=self._lane.index, topic=topic, records=gap)

    async def _until_mended(self) -> None:
        """Wait while the store, set back, is being mended: what is to be told again of all there is has not been told yet."""
        while not self._stop.is_set() and await self._insist(self._session.is_set_back):
            self._insist.delay.waits("lane.waits_for_mending", MENDING, job=self._job.name)
            await wait_or_stop(self._stop, PATIENCE)

    async def _step(self, batch: Sequence[Held]) -> int:
        """Take one batch through; return how many of its records are done: all, or none where it must be smaller."""
        began, position = monotonic(), after(self._next, batch)
        try:
            outputs = await self._insist(lambda: self._store(batch))
            await self._commit(position, outputs)
        except (Unavailable, Revoked, Fatal):
            raise
        except Rejected as error:  # TooLarge from the bus, or a job that refuses a batch as a whole
            return await self._refused(batch, position, error)
        except Exception as error:
            metrics.CRASHES.labels(job=self._job.name).inc()
            if not self._suspicion.crashed(self._next, position, len(batch)):
                raise
            log.exception("batch.crashed", job=self._job.name, lane=self._lane.index, records=len(batch))
            return await self._bury(batch, position, "crashed", error)
        self._passed(batch, position, monotonic() - began)
        return len(batch)

    async def _store(self, batch: Sequence[Held]) -> Sequence[Record]:
        """Run the job in a transaction; return what it wants published, dead letters included.

        All of the job's answer is read before the commit: a bug found after it would leave rows for a later step to make true.
        """
        now = self._clock()
        async with self._session.step() as step:
            results = await self._job(batch, step, now)
            if len(results) != len(batch):
                raise AssertionError(f"{self._job.name} returned {len(results)} results for {len(batch)} records")
            outputs = [record for held, result in zip(batch, results, strict=True) for record in self._outcome(held, result, now)]
        self._rejected = sum(isinstance(result, Rejected) for result in results)
        return outputs

    def _outcome(self, held: Held, result: Sequence[Record] | Rejected, now: datetime) -> Sequence[Record]:
        if not isinstance(result, Rejected):
            return result
        log.warning("record.rejected", job=self._job.name, reason=result.reason, lane=held.index, offset=held.offset)
        beside = result.beside if isinstance(result, Aside) else ()
        return (letter(held, result.reason, at=now), *beside)

    async def _commit(self, position: dict[str, int], outputs: Sequence[Record]) -> None:
        """Make the step true on the bus. TooLarge: it is not, and the session goes on; anything else ends the session."""
        n = self._session.n + 1
        try:
            await self._lane.commit(position, note(n), outputs)
        except (Revoked, TooLarge, Fatal, BusBroken):
            raise
        except Exception as error:
            log.warning("commit.failed", job=self._job.name, lane=self._lane.index, why=str(error), error=type(error).__name__)
            raise Unknown(f"the bus did not say whether step {n} holds") from error
        self._session.n, self._next = n, position

    async def _refused(self, batch: Sequence[Held], position: dict[str, int], error: Rejected) -> int:
        """Undo what the refused step wrote, and go on with less of the batch, or bury its one record."""
        await self._insist(self._session.undo)
        if len(batch) > 1:
            self._suspicion.split(position, len(batch))
        return await self._bury(batch, position, error.reason, error)

    async def _bury(self, batch: Sequence[Held], position: dict[str, int], reason: str, error: Exception) -> int:
        """Bury the batch's record if it is alone, loudly; return how many records are done."""
        if len(batch) > 1:
            return 0
        (held,) = batch
        await self._insist(self._empty_step)
        await self._commit(position, [letter(held, reason, at=self._clock(), attempts=max(1, self._suspicion.crashes))])
        metrics.BURIED.labels(job=self._job.name).inc()
        metrics.RECORDS.labels(job=self._job.name, outcome="buried").inc()
        where = {"topic": held.topic, "lane": held.index, "offset": held.offset}
        log.error("record.buried", job=self._job.name, reason=reason, error=type(error).__name__, **where)
        self._suspicion.passed(position)
        return 1

    async def _empty_step(self) -> int:
        async with self._session.step() as step:
            return step.n

    def _passed(self, batch: Sequence[Held], position: dict[str, int], seconds: float) -> None:
        self._suspicion.passed(position)
        self._limit = sized(self._limit, len(batch), seconds)
        metrics.BATCHES.labels(job=self._job.name).inc()
        metrics.STEP_SECONDS.labels(job=self._job.name).observe(seconds)
        metrics.RECORDS.labels(job=self._job.name, outcome="done").inc(len(batch) - self._rejected)
        metrics.RECORDS.labels(job=self._job.name, outcome="rejected").inc(self._rejected)

    async def _release(self) -> None:
        """Publish what waiting rows owe by now, in steps of their own; new records come to their turn in between."""
        with suppress(_NothingDue):
            for _ in range(RELEASES):
                if self._stop.is_set() or not self._is_due():
                    return
                self._released = monotonic()
                await self._commit(self._next, await self._insist(self._due))

    def _is_due(self) -> bool:
        if isinstance(self._job, Owing):
            return self._job.owes(self._lane.index)
        return self._owes and monotonic() - self._released >= PATIENCE

    async def _due(self) -> Sequence[Record]:
        async with self._session.step() as step:
            outputs = await self._job.due(step, self._limit, self._clock())
            if outputs is None:
                raise _NothingDue  # rolls back: no n is spent
        return outputs


class _NothingDue(Exception):
    """No waiting row is due."""


def after(position: dict[str, int], batch: Sequence[Held]) -> dict[str, int]:
    """Return the position behind a batch, naming every topic of the lane."""
    return position | {held.topic: held.offset + 1 for held in batch}


def sized(limit: int, size: int, seconds: float) -> int:
    """Return the next batch's bound: smaller after a slow step, larger after a full swift one."""
    if seconds > SLOW:
        return max(SMALLEST, limit // 2)
    return min(LARGEST, limit * 2) if size >= limit and seconds < SWIFT else limit
