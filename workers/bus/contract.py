"""Seam 1: what every bus promises. Its unit is the assigned lane: (consumer group, partition index).

Topics are named without namespace and version here (`webhook.received`); each engine adds them.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import ClassVar, Final, Literal, Protocol

import msgspec

from schemas.errors import Rejected, RinghookError, Unavailable
from schemas.topics import Topic

GRACE: Final = 5.0  # seconds that a `work` may take to return once its session has ended, unless the group says another
NOTE_LIMIT: Final = 3_000  # bytes; Kafka's offset metadata holds 4,096


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One record to publish; its partition is murmur2(key) modulo the topic's declared partitions."""

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()

    def header(self, name: str) -> bytes | None:
        """Return the first header of that name."""
        return next((value for key, value in self.headers if key == name), None)


class Held(Record, frozen=True, kw_only=True):
    """A record the bus holds, with its coordinates and the time at which the bus took it (never the sender's)."""

    index: int
    offset: int
    time: datetime


class Start(msgspec.Struct, frozen=True):
    """Where a session of a lane begins: next offset by topic, the note as last committed (b"" if none), gaps by topic.

    A gap is how many offsets had expired below the log's start before they were read.
    """

    next: Mapping[str, int]
    note: bytes
    gaps: Mapping[str, int]


class BusUnavailable(Unavailable):
    """The bus did not confirm in time: some of the records may be held, now or later."""

    plight: ClassVar[str] = "the bus (RINGHOOK_BUS_URL) does not answer as it should"


class BusBroken(BusUnavailable):
    """The bus's own file failed: nothing more is acknowledged, and the process must end (a retried fsync lies)."""


class TooLarge(Rejected):
    """A record is larger than its topic allows: none of the records was published."""


class Revoked(RinghookError):
    """This session of the lane has ended; another session, here or elsewhere, owns the lane now."""


class Unknown(Revoked):
    """The commit's outcome is not known: only a new session can tell."""


class Stop(Protocol):
    """Says when to end; an `asyncio.Event` is one."""

    def is_set(self) -> bool:
        """Say whether the end was asked for."""
        ...

    async def wait(self) -> object:
        """Return once the end was asked for."""
        ...


class Publisher(Protocol):
    """Takes records."""

    async def publish(self, records: Sequence[Record]) -> None:
        """Return once all are held. TooLarge: none is. BusUnavailable: some may be, now or later."""
        ...


class Lane(Protocol):
    """One assigned index over the group's topics (usually one topic); a worker sees nothing else of the bus."""

    index: int

    async def open(self) -> Start:
        """Prove membership, then return where to start as last committed, once that is stable.

        A new group's first positions are committed here, by `start`. Called once, before any `fetch` or `commit`.
        """
        ...

    async def fetch(self, limit: int, wait: float) -> Sequence[Held]:
        """Return the next records, at most `limit`, none after `wait` seconds or once it is time to stop. Raises Revoked.

        Not calling it is the pause.
        """
        ...

    async def commit(self, next: Mapping[str, int], note: bytes, outputs: Sequence[Record] = ()) -> None:  # noqa: A002
        """Show positions, note and outputs together or neither.

        Revoked: another owns the lane now, nothing is visible. Unknown: ask by a new session. TooLarge: an output does not
        fit, nothing is visible and the session goes on. A `next` just after the last record handed out is raised past
        transaction markers. `next` names every topic of the lane.
        """
        ...


Work = Callable[[Lane, Stop], Awaitable[None]]


class Bus(Publisher, Protocol):
    """Everything ringhook asks of Kafka, and of the SQLite file that stands in for it on one machine."""

    async def consume(
        self,
        topics: Collection[str],
        group: str,
        work: Work,
        stop: Stop,
        *,
        atomic: bool,
        start: Literal["first", "end"] | datetime = "first",
        grace: float = GRACE,
    ) -> None:
        """Run one `work` per assigned lane and session until `stop` is set.

        When a session ends (rebalance, unknown outcome, fencing, rebuild) the Stop of every lane is set, their calls raise
        Revoked, each `work` is awaited at most `grace` seconds; every index still assigned then gets a new Lane and a new
        `work`. Where `stop` ended it, or a rebalance a group without outputs, calls go on to work meanwhile: the group is dealt
        anew once each `work` has returned, so `grace` stays below the bus's rebalance timeout. A `work` that raises Revoked
        ends all sessions; any other exception of `work` leaves `consume`. `atomic` allows outputs. `work` raises its epoch in
        the store first and then calls `lane.open()` (correctness: epoch, membership, position, in this order).
        """
        ...

    def exclusive(self, name: str) -> AbstractAsyncContextManager[Publisher]:
        """Entering fences the name's former holder, whose late records are never seen; its calls raise Revoked."""
        ...

    def available(self) -> bool:
        """Say whether the bus answered when it was last asked; costs nothing (readiness asks it)."""
        ...

    async def lag(self, group: str, topics: Collection[str]) -> "Lag":
        """Return how much a group has not yet committed of these topics, for metrics only."""
        ...

    async def committed(self, group: str, topic: str) -> Mapping[int, int]:
        """Return by index the position that a group has committed; where it never did, nothing. BusUnavailable: not known now."""
        ...

    async def declare(self, topics: Collection[Topic]) -> None:
        """Know these topics, too, as if they had been named at the start.

        Rejected: one is not there, or has another count of partitions; none of them is known then. BusUnavailable: nor now.
        """
        ...

    async def retention(self, topic: str) -> timedelta | None:
        """Return after what time records go, read or not; None: unread they do not go. BusUnavailable: not known now."""
        ...

    async def retain(self, topic: str, period: timedelta) -> None:
        """Let records go only after so long, and return once `retention` says so.

        Rejected: this user may not say so. BusUnavailable: perhaps it is, or will be.
        """
        ...

    def browse(self) -> AbstractAsyncContextManager["Browser"]:
        """Read without a group, for operators, never for jobs: nothing is committed, and no group notices."""
        ...


class Lag(msgspec.Struct, frozen=True):
    """What a group has not committed: how many records, and when the oldest of them was taken (None: nothing waits)."""

    records: int
    oldest: datetime | None


class Span(msgspec.Struct, frozen=True):
    """Which offsets of one index of a topic can be read: from the oldest that is kept to just after the newest visible one."""

    index: int
    first: int
    next: int


class Browser(Protocol):
    """Looks into topics; any number may ask at once. Each answer is bounded. BusUnavailable: the bus does not give one."""

    async def spans(self, topic: str) -> Sequence[Span]:
        """Return what can be read of each index, in order of the index."""
        ...

    async def since(self, topic: str, at: datetime) -> Mapping[int, int]:
        """Return by index from where on every record was taken at `at` or later; its `next` where there is none."""
        ...

    async def read(self, topic: str, index: int, offset: int, limit: int) -> Sequence[Held]:
        """Return the committed records from an offset on: at most `limit`, and none after the one that fills 1 MiB.

        Empty: there is none, now. An offset below the first begins at the first.
        """
        ...
