"""Seam 2: what a job and a sweep are. They decide and move data; the drivers know offsets, retries and commits."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

import msgspec
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.errors import Rejected
from workers.bus.contract import Held, Record


class Step(msgspec.Struct, frozen=True):
    """One step of a lane: the open store transaction, and the `n` that every row it writes or marks must carry."""

    connection: AsyncConnection
    group: str
    index: int
    n: int


class Aside(Rejected):
    """A record that is buried, and yet tells something: what stands `beside` is published with its dead letter."""

    def __init__(self, message: str, *, reason: str, beside: Sequence[Record]) -> None:
        super().__init__(message, reason=reason)
        self.beside = beside


class Job(Protocol):
    """Turns records into records and rows. Knows no offsets, retries, commits or metrics of the bus."""

    @property
    def name(self) -> str:
        """Also the consumer group (before the namespace is added)."""
        ...

    @property
    def topics(self) -> Collection[str]:
        """What one lane reads together; another set of topics needs another name."""
        ...

    @property
    def stepped(self) -> Collection[Table]:
        """The tables whose rows carry (grp, lane, n): undone at the opening of a session above the note's `n`."""
        ...

    async def __call__(self, batch: Sequence[Held], step: Step, now: datetime) -> Sequence[Sequence[Record] | Rejected]:
        """Return one result per record, in order: what to publish, or why the record is buried."""
        ...

    async def due(self, step: Step, limit: int, now: datetime) -> Sequence[Record] | None:
        """Release what this lane owes (waiting rows); called between batches. None: nothing, and the step is rolled back."""
        ...


@runtime_checkable
class Owing(Protocol):
    """A job that knows when it may owe something; others are asked every second, if they have waiting rows at all."""

    def owes(self, index: int) -> bool:
        """Say whether `due` is worth a step of this lane now."""
        ...


@runtime_checkable
class Distrusting(Protocol):
    """A job whose rows may be out of date where the store was set back, though nobody undid them."""

    async def distrust(self, connection: AsyncConnection, index: int) -> None:
        """Count nothing as known of this lane that the lost steps may have changed; it is told again."""
        ...


class Sweep(Protocol):
    """Does work that rows and time make due."""

    @property
    def name(self) -> str:
        """As logs and metrics call it."""
        ...

    async def __call__(self, now: datetime) -> timedelta:
        """Do what is due, bounded; return how long to sleep."""
        ...
