"""The SQL of mending a store that was restored from a backup: a page at a time, each with the mark of how far it is."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from msgspec.structs import asdict
from sqlalchemy import Table, bindparam, case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from linker import refresh
from linker.held import hold_accounts
from linker.rows import ASIDE, ENDED, Account
from linker.tables import accounts, grants
from workers.runtime import setback, stops
from workers.runtime.database import Database
from workers.runtime.lease import store_time
from workers.runtime.rows import insert_once

LEAP: Final = 1_000_000  # versions: what is told while the bus is read, or reaches it late, is below the next one, too
PAGE: Final = 500


class Stood(NamedTuple):
    """How an account stood when the backup was made."""

    version: int
    generation: int
    linked: bool


@dataclass(frozen=True)
class Mending:
    """What a restored store needs."""

    database: Database
    namespace: str

    async def mark(self) -> str | None:
        """Return how far it is; None where nothing is to be mended."""
        async with self.database.read() as connection:
            return await setback.mark(connection)

    async def advance(self, before: str, after: str | None) -> None:
        """Go on to another part, unless somebody else did, or began anew."""
        async with self.database.begin() as connection:
            await setback.advance(connection, before, after)

    async def known(self, names: Collection[str]) -> dict[str, Stood]:
        """Return how those of these accounts stood that the store knows."""
        async with self.database.read() as connection:
            wanted = select(accounts.c.account, accounts.c.version, accounts.c.generation, accounts.c.linked)
            found = await connection.execute(wanted.where(accounts.c.account.in_(names)))
            return {row.account: Stood(row.version, row.generation, row.linked) for row in found}

    async def remember(self, lost: Collection[Account]) -> None:
        """Add accounts of which only the bus knows; what is there already stays as it is."""
        async with self.database.begin() as connection:
            await _add(connection, lost)

    async def note(self, stands: Account) -> None:
        """Write down how an account stands, unless an open grant can say it by now."""
        async with self.database.begin() as connection:
            await hold_accounts(connection, {stands.account})
            if await _open(connection, [stands.account]):
                return
            values = asdict(stands) | {"behind": True}
            await connection.execute(update(accounts).where(accounts.c.account == stands.account).values(**values))

    async def stop(self, gone: Mapping[str, int | None], unknown: Collection[Account], now: float) -> None:
        """Stop what is sent for accounts that were removed in the lost time, in whatever way they stand here; add the unknown.

        Each comes with the generation that was told of: where a grant of a later one is open the user has connected anew since.
        """
        async with self.database.begin() as connection:
            await _add(connection, unknown)
            await hold_accounts(connection, gone.keys())  # whoever names one now frees it after that
            newest = await _open(connection, gone)
            for name, generation in gone.items():
                if generation is None or newest.get(name, 0) <= generation:
                    await stops.stop(connection, stops.fingerprint(self.namespace, name), "removed", now)

    async def free(self, back: Mapping[str, float]) -> None:
        """Undo removals that a new connection has undone in the lost time: not one of which was known after that was told."""
        async with self.database.begin() as connection:
            held = await hold_accounts(connection, back.keys())
            mine = [name for name, told_at in back.items() if not (name in held and removed_after(held[name], told_at))]
            await stops.free(connection, dict.fromkeys((stops.fingerprint(self.namespace, name) for name in mine), 0.0))

    async def rise(self, told: Mapping[str, int]) -> None:
        """Let no account's version be below the one that was told of it; what is news to the store is not told by it any more."""
        async with self.database.begin() as connection:
            held = await hold_accounts(connection, told.keys())
            below = [{"of": name, "told": told[name]} for name, account in held.items() if account.version < told[name]]
            if below:
                await connection.execute(_RISEN, below)

    async def leap(self, before: str, after: str) -> str | None:
        """Announce a page of accounts again, above every version that was told; return the last, None after the last page.

        `rise` has been called for all of them.
        """
        async with self.database.begin() as connection:
            page = await _page(connection, accounts, after)
            changes = {"version": accounts.c.version + LEAP, "behind": True}
            await connection.execute(update(accounts).where(accounts.c.account.in_(page)).values(**changes))
            return await _passed(connection, before, "accounts", page, "grants:")

    async def renew(self, before: str, after: str, now: float) -> str | None:
        """Make the tokens of a page of grants due for renewal: Ring refuses those that were renewed since the backup."""
        aged = now - refresh.EVERY
        older = case((grants.c.tokens_at < aged, grants.c.tokens_at), else_=aged)
        due = {"due_at": now, "queue": ASIDE, "counter": grants.c.counter + 1, "tokens_at": older}
        rests = grants.c.stage.in_(("rest", "wait")) & grants.c.refresh.is_not(None)
        free = or_(grants.c.lease_until.is_(None), grants.c.lease_until < store_time())
        async with self.database.begin() as connection:
            page = await _page(connection, grants, after)
            mine = update(grants).where(grants.c.code_hash.in_(page), rests, free)
            await connection.execute(mine.values(**due))
            return await _passed(connection, before, "grants", page, "telling:")


def removed_after(account: Account, told_at: float) -> bool:
    """Say whether the account's removal is younger than what the bus tells of it: the store has lived on since it was restored.

    Versions cannot say it: those of a restored store begin again below what was told. Both times are a linker's own.
    """
    return account.state == "removed" and account.changed_at > told_at


_RISEN: Final = update(accounts).where(accounts.c.account == bindparam("of")).values(version=bindparam("told"))


async def _add(connection: AsyncConnection, unknown: Collection[Account]) -> None:
    for account in sorted(unknown, key=lambda account: account.account):  # the order in which links' steps make them
        await insert_once(connection, accounts, asdict(account) | {"behind": True})


async def _open(connection: AsyncConnection, names: Collection[str]) -> Mapping[str, int]:
    """Return the newest generation that is open, of those of these accounts that have one."""
    mine = grants.c.account.in_(names) & grants.c.state.not_in(ENDED)
    newest = select(grants.c.account, func.max(grants.c.generation)).where(mine).group_by(grants.c.account)
    return {account: generation for account, generation in await connection.execute(newest)}  # noqa: C416 - rows are no pairs to mypy


async def _page(connection: AsyncConnection, table: Table, after: str) -> list[str]:
    (key,) = table.primary_key.columns
    return [*(await connection.execute(select(key).where(key > after).order_by(key).limit(PAGE))).scalars()]


async def _passed(connection: AsyncConnection, before: str, part: str, page: list[str], then: str) -> str | None:
    """Note the page in the transaction that did it; where the mending began anew meanwhile, doing it once more does no harm."""
    last = page[-1] if len(page) == PAGE else None
    await setback.advance(connection, before, f"{part}:{last}" if last is not None else then)
    return last
