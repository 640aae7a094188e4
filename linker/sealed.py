"""The SQL of the vault's keys: which of them seal how many rows, and the re-sealing of a few rows at a time."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import bindparam, case, func, or_, select, update

from linker.held import columns_of
from linker.rows import Grant
from linker.store import grant_of
from linker.tables import grants, keys
from workers.runtime.database import Database
from workers.runtime.lease import store_time
from workers.runtime.rows import insert_once

AWAKE: Final = 90.0  # seconds after which a linker that said nothing more seals no more
INTENTS: Final = ("exchanging", "posting", "refreshing")  # a request may be under way: what comes of it is written to this row

Again = Callable[[Grant], Grant | None]  # the row as it shall be, or None where it cannot be opened


class Key(msgspec.Struct, frozen=True):
    """What the store knows of one key of the vault; ages in seconds, by the store's clock."""

    key: str
    proof: bytes
    began_ago: float | None  # since linkers began to seal with it
    seen_ago: float | None  # since one last said so


class Page(msgspec.Struct, frozen=True):
    """What became of a few rows; `last` is None where there are no more."""

    last: str | None
    resealed: int
    shut: int


@dataclass(frozen=True)
class Sealed:
    """What the store holds under which key."""

    database: Database

    async def known(self) -> dict[str, Key]:
        """Return every key the vault ever had."""
        async with self.database.read() as connection:
            began, seen = store_time() - keys.c.since, store_time() - keys.c.seen_at
            found = await connection.execute(select(keys.c.key, keys.c.proof, began, seen))
            return {row[0]: Key(*row) for row in found}

    async def prove(self, proofs: Mapping[str, bytes]) -> None:
        """Write down the proofs of keys that are new; the first that is written stands."""
        async with self.database.begin() as connection:
            for key, proof in proofs.items():
                await insert_once(connection, keys, {"key": key, "proof": proof})

    async def sealing(self, key: str, *, alone: bool = False) -> None:
        """Note that a linker seals with this key now; where none did lately, that it begins now. `alone`: nobody else does."""
        slept = or_(keys.c.seen_at.is_(None), keys.c.seen_at < store_time() - AWAKE)
        since = case((slept, store_time()), else_=keys.c.since)
        async with self.database.begin() as connection:
            await connection.execute(update(keys).where(keys.c.key == key).values(since=since, seen_at=store_time()))
            if alone:
                await connection.execute(update(keys).where(keys.c.key != key).values(seen_at=None))

    async def in_use(self) -> list[str]:
        """Return the ids of all keys that hold rows: one look into an index for each."""
        found, last = list[str](), ""
        async with self.database.read() as connection:
            while last is not None:
                last = await connection.scalar(select(func.min(grants.c.sealed_with)).where(grants.c.sealed_with > last))
                found += [last] if last else []
        return found

    async def counts(self, among: Collection[str]) -> dict[str, int]:
        """Return how many rows each of these keys holds."""
        wanted = select(grants.c.sealed_with, func.count()).where(grants.c.sealed_with.in_(among))
        async with self.database.read() as connection:
            found = {row[0]: row[1] for row in await connection.execute(wanted.group_by(grants.c.sealed_with))}
        return {key: found.get(key, 0) for key in among}

    async def some(self, key: str, limit: int) -> list[Grant]:
        """Return a few rows that this key sealed."""
        async with self.database.read() as connection:
            found = await connection.execute(select(grants).where(grants.c.sealed_with == key).limit(limit))
            return [grant_of(row) for row in found]

    async def unmarked(self, key: str, limit: int) -> list[Grant]:
        """Return a few rows that this key sealed, of which nothing is expected soon, and which are not known to be at risk."""
        idle = grants.c.risk.is_(None) & grants.c.stage.in_(("rest", "wait")) & grants.c.lease_until.is_(None)
        async with self.database.read() as connection:
            found = await connection.execute(select(grants).where(grants.c.sealed_with == key, idle).limit(limit))
            return [grant_of(row) for row in found]

    async def marked(self, key: str, after: str, limit: int) -> list[Grant]:
        """Return the next rows that this key sealed, of which nothing is expected soon, and which are marked as unreadable."""
        idle = grants.c.stage.in_(("rest", "wait")) & grants.c.lease_until.is_(None)
        mine = (grants.c.risk == "unreadable") & (grants.c.sealed_with == key) & (grants.c.code_hash > after) & idle
        async with self.database.read() as connection:
            found = await connection.execute(select(grants).where(mine).order_by(grants.c.code_hash).limit(limit))
            return [grant_of(row) for row in found]

    async def reseal(self, key: str, after: str, limit: int, again: Again) -> Page:
        """Write the next rows that this key sealed as `again` has them; all of them or none.

        Rows that a step holds, or whose request may be under way or may have brought tokens that are not written yet, are left
        for later: those are sealed for the row's next write, and anew anyway.
        """
        free = or_(grants.c.lease_until.is_(None), grants.c.lease_until < store_time())
        mine = (grants.c.sealed_with == key) & (grants.c.code_hash > after)
        settled = grants.c.stage.not_in(INTENTS) & grants.c.settles_at.is_(None)
        wanted = select(grants).where(mine, free, settled).order_by(grants.c.code_hash).limit(limit)
        async with self.database.begin() as connection:
            rows = [grant_of(row) for row in await connection.execute(wanted.with_for_update(skip_locked=True))]
            written = [sealed for row in rows if (sealed := again(row)) is not None]
            if written:
                await connection.execute(_SEALED, [_bound(sealed) for sealed in written])
        return Page(rows[-1].code_hash if len(rows) == limit else None, len(written), len(rows) - len(written))


_SEALED: Final = (  # one statement for a page, whose rows this transaction has locked
    update(grants)
    .where(grants.c.code_hash == bindparam("my_code_hash"), grants.c.counter == bindparam("my_counter"))
    .values(
        access=bindparam("my_access"),
        refresh=bindparam("my_refresh"),
        writes=bindparam("my_writes"),
        sealed_with=bindparam("my_sealed_with"),
        counter=grants.c.counter + 1,
    )
)


def _bound(after: Grant) -> dict[str, object]:
    row = columns_of(after)
    return {f"my_{name}": row[name] for name in ("code_hash", "counter", "access", "refresh", "writes", "sealed_with")}
