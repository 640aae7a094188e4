"""The store's side of a lane: its epoch, its n, its steps, and the undoing of what never became true (correctness.md §2).

A session opens in this order and no other: raise the epoch, prove membership on the bus, read where to start, undo, work.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from sqlalchemy import BigInteger, Column, ColumnElement, Integer, Table, Text, and_, bindparam, delete, update
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.bus.contract import Lane, Revoked, Start
from workers.runtime import setback
from workers.runtime.database import Database, metadata
from workers.runtime.jobs import Step
from workers.runtime.rows import insert

Distrust = Callable[[AsyncConnection, int], Awaitable[None]]
Insist = Callable[[Callable[[], Awaitable[int]]], Awaitable[int]]
Noted = Callable[[bytes], int | None]

lanes: Final = Table(
    "lane",
    metadata,
    Column("grp", Text, primary_key=True),
    Column("lane", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),  # whose session may write
    Column("n", BigInteger, nullable=False),  # the last step known to be committed on the bus
)

_CLAIM: Final = (  # built once, as it begins every step
    update(lanes)
    .where(lanes.c.grp == bindparam("my_grp"), lanes.c.lane == bindparam("my_lane"), lanes.c.epoch == bindparam("my_epoch"))
    .values(n=bindparam("my_n"))
)


def note(n: int) -> bytes:
    """Return the note that makes step `n` true once the bus holds it."""
    return str(n).encode()


def noted(held: bytes) -> int | None:
    """Return the step that a note names; None where there is no note."""
    return int(held) if held else None


class Session:
    """One session of one lane, as the store sees it; `n` is its last committed step, `read` finds it in a note."""

    def __init__(
        self,
        database: Database,
        group: str,
        index: int,
        stepped: Collection[Table],
        *,
        read: Noted = noted,
        distrust: Distrust | None = None,
    ) -> None:
        self.group, self.index = group, index
        self.n = 0
        self._database, self._stepped, self._read, self._distrust = database, stepped, read, distrust
        self._epoch = 0

    async def open(self, lane: Lane, insist: Insist) -> Start:
        """Open the session and return where it starts; `insist` repeats what the store refuses for now.

        Revoked: another member's session opened meanwhile, or `insist` gave up.
        """
        copy = await insist(self._raise_epoch)
        start = await lane.open()
        held = self._read(start.note)
        self.n = copy if held is None else held  # where an operator's reset has wiped the note, the lane's row knows
        if setback.is_set_back(self.n, copy) or await insist(partial(self._may_lack, copy)):
            await insist(partial(self._set_back, copy))
        await insist(self.undo)
        return start

    @asynccontextmanager
    async def step(self) -> AsyncIterator[Step]:
        """Open the transaction of step n + 1; it commits when the block ends, and is true once the bus holds its note.

        Revoked: another session owns the lane. StoreUnavailable: nothing was written. OutcomeUnknown: end the session.
        """
        async with self._database.begin() as connection:
            await self._claim(connection)
            yield Step(connection, self.group, self.index, self.n + 1)

    async def undo(self) -> int:
        """Remove rows and marks of steps that never became true, and rows whose release did; return the last true step.

        Revoked: another session owns the lane. StoreUnavailable: undo again before working on.
        """
        async with self._database.begin() as connection:
            await self._claim(connection)
            for table in self._stepped:
                await _undo(connection, table, self._mine(table), self.n)
        return self.n

    async def is_set_back(self) -> bool:
        """Say whether the store was set back, and is not mended yet."""
        async with self._database.read() as connection:
            return await setback.mark(connection) is not None

    async def settle(self) -> None:
        """Note the last committed step in the lane's row, so that not even a reset right after the end forgets it."""
        async with self._database.begin() as connection:
            await self._claim(connection)

    async def _may_lack(self, copy: int) -> bool:
        """Say whether the bus's last step may be one that a store known to be set back has lost, and that matters here."""
        return self._distrust is not None and self.n > copy and await self.is_set_back()

    async def _set_back(self, copy: int) -> int:
        """Write down that the store was restored, before the bus's n is written into it; what it holds may be out of date."""
        await setback.found(self._database, self.group, self.index, self.n, copy)
        async with self._database.begin() as connection:
            await self._claim(connection)
            if self._distrust:
                await self._distrust(connection, self.index)
        return copy

    async def _raise_epoch(self) -> int:
        """Take the lane's row over from every other session; return its copy of n."""
        async with self._database.begin() as connection:
            first = insert(connection, lanes).values(grp=self.group, lane=self.index, epoch=1, n=0)
            raised = first.on_conflict_do_update(index_elements=["grp", "lane"], set_={"epoch": lanes.c.epoch + 1})
            row = (await connection.execute(raised.returning(lanes.c.epoch, lanes.c.n))).one()
        self._epoch = row.epoch
        return int(row.n)

    async def _claim(self, connection: AsyncConnection) -> None:
        """Lock the lane's row, which puts this transaction before or after a takeover and never across it."""
        mine = {"my_grp": self.group, "my_lane": self.index, "my_epoch": self._epoch, "my_n": self.n}
        if (await connection.execute(_CLAIM, mine)).rowcount != 1:
            raise Revoked

    def _mine(self, table: Table) -> ColumnElement[bool]:
        return and_(table.c.grp == self.group, table.c.lane == self.index)


async def _undo(connection: AsyncConnection, table: Table, mine: ColumnElement[bool], n: int) -> None:
    await connection.execute(delete(table).where(mine, table.c.n > n))
    if "release_n" in table.c:
        await connection.execute(update(table).where(mine, table.c.release_n > n).values(release_n=None))
        await connection.execute(delete(table).where(mine, table.c.release_n <= n))
