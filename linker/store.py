"""The linker's SQL. Every transition is a compare-and-swap on the row's counter; locks are taken account → grant → attempt."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from msgspec.structs import asdict, replace
from sqlalchemy import (
    ColumnElement,
    Row,
    ScalarSelect,
    Table,
    bindparam,
    delete,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from linker import claims, metrics, pool, saga, view
from linker.mishap import BEFORE, Mishap
from linker.moves import Move, Verdict
from linker.pool import Page, Place
from linker.rows import ASIDE, Account, Attempt, End, Grant, Risk, end_of
from linker.schedule import CODE_LAST
from linker.selects import columns, grants_of, list_accounts, look_up, value_of
from linker.tables import accounts, attempts, ended_unnamed, grants
from schemas.errors import Unavailable
from schemas.records import App
from workers.runtime import lease, stops
from workers.runtime.database import Database
from workers.runtime.rows import compare_and_swap, insert_ignore, insert_once
from workers.runtime.sealing import key_of

Counted = TypeVar("Counted", Grant, Attempt)


class Moved(Unavailable):
    """Another linker moved this row in the meantime: look again."""


class Due(NamedTuple):
    """When the first row of each kind is due, None where there is none."""

    links: float | None
    strangers: float | None
    aside: float | None
    attempts: float | None

    def first(self) -> float | None:
        """Return the earliest of them."""
        return min((due for due in self if due is not None), default=None)


@dataclass(frozen=True)
class Store:
    """What the linker keeps."""

    database: Database
    namespace: str = "ringhook"

    async def take_grants(self, *, owner: str, now: float, length: float, limit: int, queue: int) -> list[Grant]:
        """Lease due grants of one queue, the longest due first, and count that they were taken up."""
        async with self.database.once() as connection:
            bound = {"now": now, "of_queue": queue}
            held = await lease.take(connection, _GRANTS_DUE, bound, owner=owner, length=length, limit=limit)
            return [value_of(Grant, row) for row in held.rows]

    async def take_attempts(self, *, owner: str, now: float, length: float, limit: int) -> list[Attempt]:
        """Lease due attempts, the longest due first."""
        async with self.database.once() as connection:
            held = await lease.take(connection, _ATTEMPTS_DUE, {"now": now}, owner=owner, length=length, limit=limit)
            return [value_of(Attempt, row) for row in held.rows]

    async def reclaim(self) -> None:
        """Free what dead linkers hold; only for one who knows that no other lives."""
        async with self.database.begin() as connection:
            for table in (grants, attempts):
                await lease.reclaim(connection, table)

    async def next_due(self) -> Due:
        """Return when the next row of each kind that nobody holds is due."""
        async with self.database.read() as connection:
            return Due._make((await connection.execute(_NEXT_DUE)).one())

    async def expire_strangers(self, now: float, limit: int) -> int:
        """End strangers' codes that became too old in their line, many in one transaction; return how many."""
        async with self.database.begin() as connection:
            rows = await connection.execute(_TOO_OLD, {"before": now - CODE_LAST, "most": limit})
            moves = [(grant, saga.begin(grant, now)) for grant in (value_of(Grant, row) for row in rows)]
            over = [(before, move.grant) for before, move in moves if move.call is None]
            if over:
                values = [_columns(replace(after, counter=after.counter + 1)) | {"was": after.code_hash} for _, after in over]
                await connection.execute(_EXPIRING, values)
        metrics.ended(end for before, after in over for end in end_of(before, after))
        return len(over)

    async def intend(self, before: Grant, after: Grant) -> Grant:
        """Write down, durably, that a request is about to be made; the lease stays. Raises Moved."""
        async with self.database.once() as connection:
            return await _swap(connection, grants, before, after, keep_lease=True)

    async def apply(self, before: Grant, move: Move, now: float, *, keep_lease: bool = False) -> Grant | None:
        """Write a transition, what its attempt learns and what its account becomes, and give the lease back. Raises Moved.

        `keep_lease` keeps it, and returns the row, unless the account's other grants ended this one in the same moment.
        """
        async with self.database.once() if _is_alone(before, move) else self.database.begin() as connection:
            account = await _lock(connection, move.grant.account) if move.grant.account else None
            if account and before.account is None and await self._turned_away(connection, account):
                account, move = None, saga.unwelcome(before, now)
            keeps = keep_lease and move.grant.due_at is not None
            after, account, ends = await _apply(connection, before, move, now, account, keep_lease=keeps)
            if account and move.grant.state != before.state:
                await heed(connection, self.namespace, account, now)
        metrics.ended(ends)
        return after

    async def _turned_away(self, connection: AsyncConnection, account: Account) -> bool:
        """Turn away an account that was forgotten; its row is held, so that a forget comes before or after and not amid."""
        if await stops.why(connection, stops.fingerprint(self.namespace, account.account)) != "forgotten":
            return False
        await connection.execute(delete(accounts).where(accounts.c.account == account.account))
        return True

    async def claim(self, before: Attempt, after: Attempt, grant: Grant, move: Move, now: float) -> None:
        """Give a grant to an attempt: both change or neither. Raises Moved."""
        async with self.database.begin() as connection:
            account = await _lock(connection, grant.account) if grant.account else None
            _, _, ends = await _apply(connection, grant, replace(move, verdict=None), now, account)
            await _swap(connection, attempts, before, after)
        metrics.ended((*ends, *end_of(before, after)))

    async def settle(self, before: Attempt, after: Attempt) -> None:
        """Write an attempt's own transition. Raises Moved."""
        async with self.database.once() as connection:
            await _swap(connection, attempts, before, after)
        metrics.ended(end_of(before, after))

    async def page(self, apps: Sequence[App], after: Place | None, since: float | None, size: int) -> Page:
        """Return the next grants of these apps that a nonce may match, newest first; `since`: only those that opened since."""
        async with self.database.read() as connection:
            return await pool.page(connection, apps, after, since, size)

    async def newest(self, account: str, apps: Collection[App]) -> Grant | None:
        """Return the newest grant of the account under one of these apps that a nonce may match."""
        mine = (grants.c.account == account) & grants.c.app.in_(apps) & grants.c.pool.is_not(None)
        async with self.database.read() as connection:
            row = (await connection.execute(columns(Grant, grants).where(mine).order_by(grants.c.pool.desc()).limit(1))).first()
            return value_of(Grant, row) if row else None

    async def own(self, partner_user: str) -> Sequence[Grant]:
        """Return the newest links that stand for a user, whether or not they left the pool."""
        async with self.database.read() as connection:
            return await pool.own(connection, partner_user)

    async def mishap(self, before: float) -> Mishap | None:
        """Return the last code before that time, no stranger's, that ended within a sign-in's reach and named no account."""
        async with self.database.read() as connection:
            row = (await connection.execute(_MISHAP, {"before": before, "since": before - BEFORE})).first()
            return value_of(Mishap, row) if row else None

    async def grant(self, code_hash: str) -> Grant | None:
        """Return one grant."""
        async with self.database.read() as connection:
            return await look_up(connection, Grant, grants, grants.c.code_hash, code_hash)

    async def attempt(self, attempt: str) -> Attempt | None:
        """Return one attempt."""
        async with self.database.read() as connection:
            return await look_up(connection, Attempt, attempts, attempts.c.attempt, attempt)

    async def account(self, account: str) -> tuple[Account, list[Grant]] | None:
        """Return an account and its grants, the newest first."""
        async with self.database.read() as connection:
            found = await look_up(connection, Account, accounts, accounts.c.account, account)
            return (found, await grants_of(connection, Grant, account)) if found else None

    async def listed(self, after: str, limit: int, *, at_risk: bool) -> list[tuple[Account, Grant | None]]:
        """Return a page of the accounts that follow this id, each with the grant that decides how it stands."""
        async with self.database.read() as connection:
            return await list_accounts(connection, Grant, after, limit, at_risk=at_risk)

    async def risks(self, most: int) -> dict[Risk, int]:
        """Return how many accounts are at risk and why; beyond `most` of them nobody counts on."""
        some = select(accounts.c.risk).where(accounts.c.risk.is_not(None)).limit(most).subquery()
        async with self.database.read() as connection:
            counted = select(some.c.risk, func.count()).group_by(some.c.risk)
            return {risk: many for risk, many in await connection.execute(counted)}  # noqa: C416 - rows are no pairs to mypy

    async def behind(self, limit: int) -> list[Account]:
        """Return accounts whose last version was not announced yet."""
        async with self.database.read() as connection:
            wanted = columns(Account, accounts).where(accounts.c.behind).order_by(accounts.c.account).limit(limit)
            return [value_of(Account, row) for row in await connection.execute(wanted)]

    async def announced(self, told: Sequence[Account]) -> None:
        """Note which versions the world was told; a version that rose in the meantime stays to be told.

        An account that a link's step holds just now is left out, and told again: neither waits for the other.
        """
        if not told:
            return
        async with self.database.begin() as connection:
            await connection.execute(_ANNOUNCED, [{"told": account.account, "of": account.version} for account in told])


async def withdraw(
    connection: AsyncConnection, namespace: str, account: str, removed_at: float, now: float, *, app: App | None
) -> tuple[End, ...]:
    """Doubt every grant of an account by this app (None: by any) whose code came before its removal.

    Return what that ended; raises Moved.
    """
    if await look_up(connection, Account, accounts, accounts.c.account, account) is None:
        return ()
    known, ends = await _lock(connection, account), list[End]()
    for grant in await grants_of(connection, Grant, account):
        move = saga.withdrawn(grant, removed_at, now, app=app)
        if move.grant != grant:
            ends += end_of(grant, await _swap(connection, grants, grant, move.grant, keep_lease=True))
    if ends:
        known, _, more = await _see(connection, known, await grants_of(connection, Grant, account), now)
        await heed(connection, namespace, known, now)
        ends += more
    return tuple(ends)


async def heeds(connection: AsyncConnection, account: str, app: App | None) -> bool:
    """Say whether what this app tells of an account counts."""
    return app is None or view.heeds(await grants_of(connection, Grant, account), app)


async def heed(connection: AsyncConnection, namespace: str, account: Account, now: float) -> None:
    """Stop or free what is sent for an account, which is held, as it stands now, in the transaction that made it so."""
    name = stops.fingerprint(namespace, account.account)
    if account.linked:
        await stops.free(connection, name)
    elif account.state == "removed":
        await stops.stop(connection, name, "removed", now)


def _free(table: Table) -> ColumnElement[bool]:
    return or_(table.c.lease_until.is_(None), table.c.lease_until < lease.store_time())


def _first_due(table: Table, *where: ColumnElement[bool]) -> ScalarSelect[float]:
    """Select the first due time by its index."""
    first = select(table.c.due_at).where(table.c.due_at.is_not(None), _free(table), *where).order_by(table.c.due_at)
    return first.limit(1).scalar_subquery()


# Statements of every step, made once: making one costs more than running it.
_of_queue = (grants.c.queue == bindparam("of_queue")) & (grants.c.due_at <= bindparam("now"))
_GRANTS_DUE: Final = lease.taking(grants, _of_queue, order=grants.c.due_at, counts=grants.c.begun)
_ATTEMPTS_DUE: Final = lease.taking(attempts, attempts.c.due_at <= bindparam("now"), order=attempts.c.due_at)
_NEXT_DUE: Final = select(*(_first_due(grants, grants.c.queue == queue) for queue in (0, 1, ASIDE)), _first_due(attempts))
_unsent = (grants.c.queue == 1) & (grants.c.stage == "exchange") & (grants.c.due_at < bindparam("before")) & _free(grants)
_oldest = columns(Grant, grants).where(_unsent).order_by(grants.c.due_at).limit(bindparam("most"))
_TOO_OLD: Final = _oldest.with_for_update(skip_locked=True)
_EXPIRING: Final = update(grants).where(grants.c.code_hash == bindparam("was"))
_held = accounts.alias("held")
_free_one = select(_held.c.account).where(_held.c.account == bindparam("told")).with_for_update(skip_locked=True)
_while = grants.c.received_at.between(bindparam("since"), bindparam("before"))
_MISHAP: Final = columns(Mishap, grants).where(ended_unnamed, _while).order_by(grants.c.received_at.desc()).limit(1)
_ANNOUNCED: Final = (
    update(accounts)
    .where(accounts.c.account == _free_one.scalar_subquery(), accounts.c.announced < bindparam("of"))
    .values(announced=bindparam("of"), behind=accounts.c.version > bindparam("of"))
)


async def add_grants(connection: AsyncConnection, came: Sequence[Grant]) -> None:
    """Insert each code's row once; a repeated record changes nothing."""
    await insert_ignore(connection, grants, [_columns(grant) for grant in came])


async def add_attempt(connection: AsyncConnection, attempt: Attempt, now: float) -> tuple[End, ...]:
    """Insert an attempt once; one whose nonce another brought first follows it, or contests it. Return what that ended.

    A second user of one attempt contests it under an id of their own. Raises Moved, upon which the same batch comes again.
    """
    if await insert_once(connection, attempts, _columns(attempt)):
        return ()
    known = await look_up(connection, Attempt, attempts, attempts.c.attempt, attempt.attempt)
    if known and known.partner_user != attempt.partner_user:
        attempt = replace(attempt, attempt=claims.apart(attempt.attempt, attempt.partner_user))
        known = await look_up(connection, Attempt, attempts, attempts.c.attempt, attempt.attempt)
    if known:
        return ()
    first = await look_up(connection, Attempt, attempts, attempts.c.nonce_hash, attempt.nonce_hash)
    return await _collide(connection, first, attempt, now) if first else ()


async def _collide(connection: AsyncConnection, first: Attempt, second: Attempt, now: float) -> tuple[End, ...]:
    grant = await look_up(connection, Grant, grants, grants.c.code_hash, first.grant) if first.grant else None
    account: Account | None = None
    if grant and grant.account:  # the order of locks: account, grant, attempt
        account = await _lock(connection, grant.account)
        grant = await look_up(connection, Grant, grants, grants.c.code_hash, grant.code_hash, lock=True)
    known, first = (
        first.grant,
        await look_up(connection, Attempt, attempts, attempts.c.attempt, first.attempt, lock=True) or first,
    )
    if first.grant != known:
        raise Moved  # it was matched since we looked, and the grant that must be opened again is not in our hands
    one, two = claims.collided(first, second, now)
    if one.state == "contested" and grant and grant.attempt == first.attempt:
        move = saga.unclaimed(grant, Verdict("contested", claims.CONTESTED), now)
        await _apply(connection, grant, replace(move, verdict=None), now, account)
    if one is not first:
        await _swap(connection, attempts, first, one)
    await insert_once(connection, attempts, _columns(two))
    return (*end_of(first, one), *end_of(second, two))


def _is_alone(before: Grant, move: Move) -> bool:
    """Say whether a transition changes its own row and no other."""
    return move.grant.account is None and (move.verdict is None or before.attempt is None)


async def _apply(
    connection: AsyncConnection, before: Grant, move: Move, now: float, account: Account | None, *, keep_lease: bool = False
) -> tuple[Grant | None, Account | None, list[End]]:
    """Write a transition of a grant, whose account is held, and all that follows from it.

    Return the row where its lease is kept, the account as it is now, and what ended.
    """
    in_flight = before.stage == move.grant.stage == "refreshing"  # whoever awaits Ring's answer keeps the row
    after = await _swap(connection, grants, before, move.grant, keep_lease=keep_lease or in_flight)
    ends = [*end_of(before, after), *await _teach(connection, before.attempt, move.verdict, now)]
    shows = (before.state, before.account, before.risk) != (after.state, after.account, after.risk)
    completes = after.completed_at != before.completed_at
    replaced = list[Grant]()
    if account and (shows or completes):
        owned = await grants_of(connection, Grant, account.account)
        if shows:
            account, replaced, more = await _see(connection, account, owned, now)
            ends += more
        if completes:
            for other in view.overtaken([grant for grant in owned if grant not in replaced]):
                await _swap(connection, grants, other, replace(other, patched=True))
    return after if keep_lease and after not in replaced else None, account, ends


async def _see(
    connection: AsyncConnection, account: Account, owned: Sequence[Grant], now: float
) -> tuple[Account, list[Grant], list[End]]:
    """Let the account follow its grants; what a newer completed grant replaced is removed. Return it, those, and what ended."""
    ends = list[End]()
    replaced = view.replaced(owned)
    for old in replaced:
        move = saga.removed(old, "a newer link of this Ring account replaced it", now)
        await _swap(connection, grants, old, move.grant)
        ends += (*end_of(old, move.grant), *await _teach(connection, old.attempt, move.verdict, now))
    after = view.seen(account, await grants_of(connection, Grant, account.account) if replaced else owned, now)
    if after != account:
        values = asdict(after) | {"behind": after.version > after.announced}
        await compare_and_swap(connection, accounts, {"account": account.account}, values)
    return after, replaced, ends


async def _teach(connection: AsyncConnection, attempt: str | None, verdict: Verdict | None, now: float) -> tuple[End, ...]:
    if attempt is None or verdict is None:
        return ()
    before = await look_up(connection, Attempt, attempts, attempts.c.attempt, attempt, lock=True)
    return end_of(before, await _swap(connection, attempts, before, claims.learned(before, verdict, now))) if before else ()


async def hold(connection: AsyncConnection, account: str) -> None:
    """Hold the account's row until the transaction ends, one that is not there too."""
    await _lock(connection, account)


async def _lock(connection: AsyncConnection, account: str) -> Account:
    """Hold the account's row: whoever changes one of its grants does so alone."""
    if found := await look_up(connection, Account, accounts, accounts.c.account, account, lock=True):
        return found
    fresh = Account(account=account)
    if await insert_once(connection, accounts, asdict(fresh) | {"behind": False}):
        return fresh  # whoever inserts a row holds it
    return await look_up(connection, Account, accounts, accounts.c.account, account, lock=True) or fresh


async def _swap(
    connection: AsyncConnection, table: Table, before: Counted, after: Counted, *, keep_lease: bool = False
) -> Counted:
    """Write `after` where the row still has `before`'s counter, and return it with its own; else raise Moved."""
    key = table.primary_key.columns.keys()[0]
    counter = before.counter
    raised = replace(after, counter=counter + 1)
    changes = _changes(before, raised) if keep_lease else _changes(before, raised) | {"lease_owner": None, "lease_until": None}
    if not await compare_and_swap(connection, table, {key: getattr(before, key), "counter": counter}, changes):
        raise Moved
    return raised


def _changes(before: Counted, after: Counted) -> dict[str, Any]:
    """Return the columns that a transition changes, and how often a stage was taken up: a lease raises that, and no counter."""
    held = _columns(before)
    return {name: value for name, value in _columns(after).items() if value != held[name] or name == "begun"}


def columns_of(grant: Grant) -> dict[str, Any]:
    """Return a grant as the row that holds it."""
    return _columns(grant)


def grant_of(row: Row[Any]) -> Grant:
    """Return the row as the grant it holds."""
    return value_of(Grant, row)


def _columns(value: Grant | Attempt) -> dict[str, Any]:
    columns = asdict(value) | {"marks": msgspec.json.encode(value.marks).decode()}
    if isinstance(value, Attempt):
        return columns
    sealed = value.access or value.refresh
    return columns | {"sealed_with": key_of(sealed) if sealed else None}
