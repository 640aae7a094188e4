"""The stop table: accounts for which nothing is sent any more, under a hash that names nobody (security 18).

The linker writes it in the transaction that ends a link, so that no event can be a step ahead of it; deliver looks there before
each attempt. What is free may be remembered for five seconds; what is stopped is looked up each time, since a re-link frees it.
A removal that a new connection undid leaves the time of that: what came before, and waits still, was cancelled by the removal.
A removal that stands in a restored store may be undone since: until the store is mended nobody knows (decision 15).
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, Literal

from sqlalchemy import Column, Double, Executable, Row, Table, Text, bindparam, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.runtime import setback
from workers.runtime.database import Database, StoreUnavailable, metadata
from workers.runtime.group import Group
from workers.runtime.rows import among, insert, lists, prepared, upsert

Why = Literal["removed", "forgotten"]  # by the user, which a re-link undoes; by the operator, which nothing does
FORGOTTEN: Final[Why] = "forgotten"
RETURNED: Final = "returned"  # in place of "removed", once that is undone; `since` is when the new connection's code came
CACHED_S: Final = 5.0
PATIENCE_S: Final = 5.0
REMEMBERED: Final = 20_000  # accounts; beyond it those whose time is over are dropped
YOUNG_S: Final = 60.0  # after a start of all roles together; by then somebody has seen whether the store was set back
DOUBTED: Final = (
    "the store was restored from a backup in which this account's removal stands, and the linker has not said yet whether it was "
    "linked again since: its events wait until the linker has mended the store"
)
YOUNG: Final = (
    "this account's removal is older than this process, and whether the store was restored from a backup is only seen as the "
    f"other roles begin: its events wait until the process is {YOUNG_S:.0f} s old"
)

stops: Final = Table(
    "stop",
    metadata,
    Column("account_hash", Text, primary_key=True),
    Column("why", Text, nullable=False),
    Column("since", Double, nullable=False),
)


_removed = (stops.c.account_hash == bindparam("name")) & (stops.c.why == "removed")
_FREED: Final = update(stops).where(_removed).values(why=RETURNED, since=bindparam("at"))


def fingerprint(namespace: str, account: str) -> str:
    """Return what stands for an account: SHA-256 of namespace and account id, in hex."""
    return sha256(f"{len(namespace)}:{namespace}:{account}".encode()).hexdigest()


async def stop(connection: AsyncConnection, account_hash: str, why: Why, now: float) -> None:
    """Send nothing for this account from the commit on; a removal leaves a forget as it is."""
    row: dict[str, Any] = {"account_hash": account_hash, "why": why, "since": now}
    if why == FORGOTTEN:
        await upsert(connection, stops, [row])
    else:
        undone = stops.c.why == RETURNED
        fresh = insert(connection, stops).values(**row)
        await connection.execute(fresh.on_conflict_do_update(index_elements=["account_hash"], set_=row, where=undone))


async def free(connection: AsyncConnection, came: Mapping[str, float]) -> None:
    """Undo removals, and nothing else; by hash, when the code of the new connection came."""
    if came:
        await connection.execute(_FREED, [{"name": name, "at": at} for name, at in sorted(came.items())])


@prepared
def _among(engine: str) -> Executable:
    return select(stops.c.account_hash, stops.c.why).where(among(engine, stops.c.account_hash, "name"))


async def stopped(connection: AsyncConnection, namespace: str, accounts: Collection[str]) -> Mapping[str, Why]:
    """Return why, for those of these accounts for which nothing is sent."""
    if not accounts:
        return {}
    hashes = {fingerprint(namespace, account): account for account in accounts}
    rows = await connection.execute(_among(connection), lists(connection, name=[*hashes]))
    return {hashes[row.account_hash]: row.why for row in rows if row.why != RETURNED}


async def forgotten(connection: AsyncConnection, namespace: str, accounts: Collection[str]) -> Collection[str]:
    """Return those of these accounts that the operator had forgotten, for ever; whoever removed the app may connect it again."""
    return {account for account, why in (await stopped(connection, namespace, accounts)).items() if why == FORGOTTEN}


@prepared
def _doubtful(engine: str) -> Executable:
    return select(stops, setback.STANDING.label("mark")).where(among(engine, stops.c.account_hash, "name"))


@dataclass
class StopTable:
    """Looks accounts up: those that wait for an answer at one time share one statement.

    For `young` seconds removals from before are doubted, too: deliver may begin before whoever sees that the store was set back.
    """

    database: Database
    namespace: str
    clock: Callable[[], float] = time.monotonic
    young: float = 0.0
    began: float = field(default_factory=time.time)
    _free: dict[str, float] = field(default_factory=dict)  # until when an account counts as free
    _came: dict[str, float] = field(default_factory=dict)  # of those, when the connection came that undid a removal

    def __post_init__(self) -> None:
        self._looks = Group[str, Why | None](self._look)
        self._grown = self.clock() + self.young

    def free(self, account: str) -> bool:
        """Say whether an account is known to be free, without asking the store."""
        return self._free.get(account, 0.0) > self.clock()

    def since(self, account: str) -> float:
        """Return, of an account that is free, from when on what came for it is sent, in epoch seconds; 0: from ever."""
        return self._came.get(account, 0.0)

    async def why(self, account: str) -> Why | None:
        """Return why nothing may be sent for this account, None where it is free. Raises StoreUnavailable: nobody knows."""
        if self.free(account):
            return None
        return await self._looks(account)

    async def _look(self, accounts: Sequence[str]) -> Sequence[Why | StoreUnavailable | None]:
        """Return why for each, or that nobody knows, and remember those that are free."""
        until = self.clock() + CACHED_S
        found = await self._read({*accounts})
        self._drop_old()
        self._free.update((account, until) for account in accounts if account not in found)
        return [found.get(account) for account in accounts]

    def _drop_old(self) -> None:
        if len(self._free) > REMEMBERED:
            now = self.clock()
            for account in [account for account, until in self._free.items() if until <= now]:
                del self._free[account]
                self._came.pop(account, None)

    async def _read(self, accounts: Collection[str]) -> Mapping[str, Why | StoreUnavailable]:
        hashes = {fingerprint(self.namespace, account): account for account in accounts}
        try:
            async with asyncio.timeout(PATIENCE_S), self.database.read() as connection:
                rows = [*await connection.execute(_doubtful(connection), lists(connection, name=[*hashes]))]
        except TimeoutError as error:
            raise StoreUnavailable("the store did not say in time which accounts are stopped") from error
        self._came.update((hashes[row.account_hash], row.since) for row in rows if row.why == RETURNED)
        return {hashes[row.account_hash]: self._believed(row) for row in rows if row.why != RETURNED}

    def _believed(self, row: Row[Any]) -> Why | StoreUnavailable:
        """Return a stop, unless it is a removal that may have been undone in a time that the store has lost."""
        why: Why = row.why
        if why == FORGOTTEN:
            return why
        if row.mark is not None:
            return StoreUnavailable(DOUBTED)
        return StoreUnavailable(YOUNG) if row.since < self.began and self.clock() < self._grown else why
