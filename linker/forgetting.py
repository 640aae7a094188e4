"""Forgetting an account, and what else is kept of it beside its link. SQL, in the order that survives a crash.

The operator's wish is a row first, together with the stop that ends all deliveries. A linker then sweeps the store, and only
when nothing there can announce the account again is the topic told; the wish, the last row that names it, goes last.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from msgspec.structs import asdict
from sqlalchemy import delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from linker import claims, metrics
from linker.held import Names, columns_of, hold
from linker.rows import OVER, Attempt, end_of
from linker.selects import columns, value_of
from linker.tables import accounts, attempts, forgets, grants, removals, subscriptions
from schemas.records import SubscriptionTold
from workers.runtime import stops
from workers.runtime.database import Database
from workers.runtime.rows import insert, insert_once


@dataclass(frozen=True)
class Forgetting:
    """The wishes, and how far each is done."""

    database: Database
    namespace: str

    async def ask(self, account: str, now: float) -> bool:
        """Hold the wish; nothing is sent for the account from now on. Asked again, it is done again.

        Says whether anything was kept of it: a mistyped id is stopped too, and does not make the right one forgotten.
        """
        async with self.database.begin() as connection:
            await stops.stop(connection, stops.fingerprint(self.namespace, account), "forgotten", now)
            await insert_once(connection, forgets, {"account": account, "asked_at": now, "swept": False})
            return await _kept(connection, account)

    async def pending(self, account: str) -> bool:
        """Say whether a wish is not done yet."""
        async with self.database.read() as connection:
            return (await connection.scalar(select(forgets.c.account).where(forgets.c.account == account))) is not None

    async def wished(self, limit: int, *, swept: bool) -> Sequence[str]:
        """Return accounts to be swept from the store, or those that were."""
        wanted = select(forgets.c.account).where(forgets.c.swept.is_(swept)).order_by(forgets.c.asked_at).limit(limit)
        async with self.database.read() as connection:
            return [*await connection.scalars(wanted)]

    async def sweep(self, account: str, now: float) -> None:
        """Delete all that the linker keeps of an account; its row is held, or made, so that no step that names it is amid.

        Of a sign-in under way it stays how it ended, for whoever still looks at its page, and nothing of whose it was.
        """
        async with self.database.begin() as connection:
            await hold(connection, Names(accounts={account}, fresh={account}))
            over = [(one, claims.swept(one, now)) for one in await _cleared(connection, account) if one.state not in OVER]
            for _, after in over:
                await insert_once(connection, attempts, columns_of(after))
            await connection.execute(delete(grants).where(grants.c.account == account))
            for table in (subscriptions, removals):
                await connection.execute(delete(table).where(table.c.account == account))
            await connection.execute(delete(accounts).where(accounts.c.account == account))
            await connection.execute(update(forgets).where(forgets.c.account == account).values(swept=True))
        metrics.ended(end for before, after in over for end in end_of(before, after))

    async def done(self, told: Sequence[str]) -> None:
        """Forget the wishes too: the topic holds their tombstones."""
        async with self.database.begin() as connection:
            await connection.execute(delete(forgets).where(forgets.c.account.in_(told), forgets.c.swept))


async def _kept(connection: AsyncConnection, account: str) -> bool:
    looks = (select(table.c.account).where(table.c.account == account).limit(1) for table in (grants, subscriptions, accounts))
    return any([await connection.scalar(look) is not None for look in looks])


async def _cleared(connection: AsyncConnection, account: str) -> Sequence[Attempt]:
    """Delete an account's sign-ins, those first that follow another; return them."""
    mine = grants.c.account == account
    signed_in = select(grants.c.attempt).where(mine, grants.c.attempt.is_not(None))
    matched = attempts.c.grant.in_(select(grants.c.code_hash).where(mine))
    of_it = or_(matched, attempts.c.attempt.in_(signed_in))
    followed = select(attempts.c.attempt).where(of_it).scalar_subquery()
    gone = list[Attempt]()
    for one in (attempts.c.follows.in_(followed), of_it):
        gone += [value_of(Attempt, row) for row in await connection.execute(columns(Attempt, attempts).where(one))]
        await connection.execute(delete(attempts).where(one))
    return gone


async def subscribed(connection: AsyncConnection, account: str, said: SubscriptionTold, told_at: float) -> None:
    """Keep Ring's last word on an account's subscription; an older word changes nothing."""
    row: dict[str, Any] = asdict(said) | {"account": account, "told_at": told_at}
    fresh = insert(connection, subscriptions).values(**row)
    newer = subscriptions.c.told_at < fresh.excluded.told_at
    await connection.execute(fresh.on_conflict_do_update(index_elements=["account"], set_=row, where=newer))
