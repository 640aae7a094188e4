"""The linker's SQL. Every transition is a compare-and-swap on the row's counter; locks are taken account → grant → attempt."""

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import reduce
from operator import or_ as both
from typing import Any, Final, NamedTuple, TypeVar

from msgspec.structs import replace
from sqlalchemy import ColumnElement, Executable, Row, ScalarSelect, Table, bindparam, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from linker import claims, early, metrics, pool, saga, view
from linker.held import NONE, Names, columns_of, heed, hold, write
from linker.ledger import Ledger, made
from linker.mishap import BEFORE, Mishap
from linker.moves import Move
from linker.pool import Page, Place
from linker.rooms import LINES
from linker.rows import STRANGERS, Account, Attempt, End, Grant, Risk, end_of
from linker.schedule import CODE_LAST
from linker.selects import columns, grants_of, list_accounts, look_up, value_of
from linker.tables import accounts, attempts, ended_unnamed, grants, looking
from schemas.records import App
from workers.runtime import lease, stops
from workers.runtime.database import Database
from workers.runtime.group import Group
from workers.runtime.rows import among, insert_ignore, insert_once, lists, prepared

Result = TypeVar("Result")


class Transition(NamedTuple):
    """What is to be written: `make` does it in memory, to rows that are held."""

    names: Names
    make: Callable[[Ledger], Any]


class Collision(NamedTuple):
    """Two attempts with one nonce, of which `second` is not here yet."""

    first: Attempt
    second: Attempt


class Due(NamedTuple):
    """When the first row of each line is due that nobody holds, and the first sign-in; lines without one are left out."""

    lines: Mapping[int, float]
    attempts: float | None

    def first(self) -> float | None:
        """Return the earliest of them."""
        return min((due for due in (*self.lines.values(), self.attempts) if due is not None), default=None)


@dataclass(frozen=True)
class Store:
    """What the linker keeps."""

    database: Database
    namespace: str = "ringhook"
    _group: Group[Transition, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_group", Group[Transition, Any](self._written))

    async def take_grants(self, *, owner: str, now: float, length: float, limit: int, queue: int) -> list[Grant]:
        """Lease due grants of one line, the longest due first, and count that they were taken up."""
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
            *lines, attempts = (await connection.execute(_NEXT_DUE)).one()
        return Due({line: due for line, due in zip(LINES, lines, strict=True) if due is not None}, attempts)

    async def expire_strangers(self, now: float, limit: int) -> int:
        """End strangers' codes that became too old in their line, many in one transaction; return how many."""
        async with self.database.begin() as connection:
            rows = await connection.execute(_TOO_OLD, {"before": now - CODE_LAST, "most": limit})
            moves = [(grant, saga.begin(grant, now)) for grant in (value_of(Grant, row) for row in rows)]
            over = [(before, move.grant) for before, move in moves if move.call is None]
            if over:
                values = [columns_of(replace(after, counter=after.counter + 1)) | {"was": after.code_hash} for _, after in over]
                await connection.execute(_EXPIRING, values)
        metrics.ended(end for before, after in over for end in end_of(before, after))
        return len(over)

    async def intend(self, before: Grant, after: Grant) -> Grant:
        """Write down, durably, that a request is about to be made; the lease stays. Raises Moved."""
        return await self._write(_names(before, after), lambda ledger: ledger.swap(before, after, keep_lease=True))

    async def apply(self, before: Grant, move: Move, now: float, *, keep_lease: bool = False) -> Grant | None:
        """Write a transition, what its attempt learns and what its account becomes, and give the lease back. Raises Moved.

        `keep_lease` keeps it, and returns the row, unless the account's other grants ended this one in the same moment.
        """
        names = _names(before, move.grant)
        return await self._write(names, lambda ledger: ledger.arrive(before, move, now, keep_lease=keep_lease))

    async def ask_for(self, before: Grant, move: Move, now: float) -> None:
        """Write a transition of a row that is not ours, unless a linker has taken it up since it was read. Raises Moved."""
        await self._write(_names(before, move.grant), lambda ledger: ledger.ask_for(before, move, now))

    async def claim(self, before: Attempt, after: Attempt, grant: Grant, move: Move, now: float) -> None:
        """Give a grant to an attempt: both change or neither. Raises Moved."""

        def made(ledger: Ledger) -> None:
            ledger.apply(grant, replace(move, verdict=None), now)
            ledger.swap(before, after)

        await self._write(_names(grant, move.grant) | Names(attempts={before.attempt}), made)

    async def settle(self, before: Attempt, after: Attempt) -> None:
        """Write an attempt's own transition. Raises Moved."""
        await self._write(Names(attempts={before.attempt}), lambda ledger: ledger.swap(before, after))

    async def _write(self, names: Names, make: Callable[[Ledger], Result]) -> Result:
        """Return what `make` does once that is committed, together with what others write at this time; raises as it does."""
        written: Result = await self._group(Transition(names, make))
        return written

    async def _written(self, group: Sequence[Transition]) -> Sequence[Any]:
        """Make each transition, or what it raises, in one transaction."""
        async with self.database.begin() as connection:
            names = reduce(both, (one.names for one in group))
            before = await hold(connection, names)
            before.forgotten = await stops.forgotten(connection, self.namespace, names.fresh)  # held: a forget is not amid
            before.early = await early.told(connection, names.fresh)  # nor is a removal
            after, results = made(before, [one.make for one in group])
            await write(connection, before, after)
            await heed(connection, self.namespace, after)
        metrics.ended(after.ends)
        return results

    async def page(self, apps: Sequence[App], after: Place | None, since: float | None, size: int) -> Page:
        """Return the next grants of these apps that a nonce may match, newest first; `since`: only those that opened since."""
        async with self.database.read() as connection:
            return await pool.page(connection, apps, after, since, size)

    async def newest(self, account: str, apps: Collection[App], received_by: float) -> Grant | None:
        """Return the newest grant of the account under one of these apps that a nonce may match, its code received by a time."""
        known = grants.c.pool <= round(received_by * 1_000_000)
        mine = (grants.c.account == account) & grants.c.app.in_(apps) & known
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
    """Doubt every grant of an account, which is there, by this app (None: by any) whose code came before its removal.

    Return what that ended; raises Moved.
    """
    before = await hold(connection, Names(accounts={account}))
    after = before.copy()
    after.withdraw(account, removed_at, now, app)
    await write(connection, before, after)
    await heed(connection, namespace, after)
    return tuple(after.ends)


async def heeds(connection: AsyncConnection, account: str, app: App | None) -> bool:
    """Say whether what this app tells of an account counts."""
    return app is None or view.heeds(await grants_of(connection, Grant, account), app)


def _names(before: Grant, after: Grant) -> Names:
    """Return what a transition of a grant needs to hold."""
    account = {after.account} if after.account else NONE
    return Names(account, NONE if before.account else account, {before.code_hash}, {before.attempt} if before.attempt else NONE)


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
_NEXT_DUE: Final = select(*(_first_due(grants, grants.c.queue == queue) for queue in LINES), _first_due(attempts))
_unsent = (grants.c.queue == STRANGERS) & (grants.c.stage == "exchange") & (grants.c.due_at < bindparam("before")) & _free(grants)
_oldest = columns(Grant, grants).where(_unsent).order_by(grants.c.due_at).limit(bindparam("most"))
_TOO_OLD: Final = _oldest.with_for_update(skip_locked=True)
_EXPIRING: Final = update(grants).where(grants.c.code_hash == bindparam("was"))
_held = accounts.alias("held")
_free_one = select(_held.c.account).where(_held.c.account == bindparam("told")).with_for_update(skip_locked=True)
_mine = looking & (attempts.c.partner_user == bindparam("user"))
_last = select(attempts.c.attempt).where(_mine).order_by(attempts.c.requested_at.desc())
_OLDEST: Final = _last.offset(bindparam("most")).limit(64)
_while = grants.c.received_at.between(bindparam("since"), bindparam("before"))
_MISHAP: Final = columns(Mishap, grants).where(ended_unnamed, _while).order_by(grants.c.received_at.desc()).limit(1)
_ANNOUNCED: Final = (
    update(accounts)
    .where(accounts.c.account == _free_one.scalar_subquery(), accounts.c.announced < bindparam("of"))
    .values(announced=bindparam("of"), behind=accounts.c.version > bindparam("of"))
)


@prepared
def _CROWDED(engine: str) -> Executable:  # noqa: N802 - a statement
    mine = select(attempts.c.partner_user).where(looking, among(engine, attempts.c.partner_user, "name"))
    return mine.group_by(attempts.c.partner_user).having(func.count() > bindparam("most"))


async def add_grants(connection: AsyncConnection, came: Sequence[Grant]) -> None:
    """Insert each code's row once; a repeated record changes nothing."""
    await insert_ignore(connection, grants, [columns_of(grant) for grant in came])


async def add_attempts(connection: AsyncConnection, came: Collection[Attempt], now: float) -> tuple[End, ...]:
    """Insert each attempt once; one whose nonce another brought first follows it, or contests it. Return what that ended.

    A second user of one attempt contests it under an id of their own. The oldest sign-ins of a user with too many end. Raises
    Moved, upon which the same batch comes again. Two batches never wait for each other: each takes its nonces in their order,
    and then all other rows at once.
    """
    met = dict[str, Collision]()
    for one in sorted(came, key=lambda one: one.nonce_hash or ""):
        if collision := await _met(connection, one, met):
            met[collision.second.attempt] = collision
    return await _collide(connection, met.values(), await _crowding(connection, {one.partner_user for one in came}), now)


async def _met(connection: AsyncConnection, attempt: Attempt, met: Mapping[str, Collision]) -> Collision | None:
    """Insert an attempt, or return with whose it collides; `met`: what its batch has come to before."""
    if attempt.attempt not in met and await insert_once(connection, attempts, columns_of(attempt)):
        return None
    known = await _known(connection, attempt.attempt, met)
    if known and known.partner_user != attempt.partner_user:
        attempt = replace(attempt, attempt=claims.apart(attempt.attempt, attempt.partner_user))
        known = await _known(connection, attempt.attempt, met)
    first = None if known else await look_up(connection, Attempt, attempts, attempts.c.nonce_hash, attempt.nonce_hash)
    return Collision(first, attempt) if first else None


async def _known(connection: AsyncConnection, name: str, met: Mapping[str, Collision]) -> Attempt | None:
    return met[name].second if name in met else await look_up(connection, Attempt, attempts, attempts.c.attempt, name)


async def _crowding(connection: AsyncConnection, users: Collection[str]) -> AbstractSet[str]:
    """Return the oldest sign-ins of those users who have more than so many that look for their grants."""
    if not users:
        return NONE
    crowded = await connection.scalars(_CROWDED(connection), lists(connection, name=[*users]) | {"most": claims.LOOKING})
    return {name for user in [*crowded] for name in await connection.scalars(_OLDEST, {"user": user, "most": claims.LOOKING})}


async def _collide(
    connection: AsyncConnection, met: Collection[Collision], crowding: AbstractSet[str], now: float
) -> tuple[End, ...]:
    """Let attempts collide, and end those that are too many of one user's; return what that ended."""
    names = reduce(both, [await _touched(connection, one.first) for one in met], Names(attempts=crowding))
    before = await hold(connection, names)
    after = before.copy()
    added = [(one.second, after.collide(one.first, one.second, now)) for one in met]
    for one in (after.attempts[name] for name in crowding & after.attempts.keys()):
        if one.due_at is not None:
            after.swap(one, claims.crowded(one, now))
    await write(connection, before, after)
    for _, two in added:
        await insert_once(connection, attempts, columns_of(two))
    return (*after.ends, *(end for second, two in added for end in end_of(second, two)))


async def _touched(connection: AsyncConnection, first: Attempt) -> Names:
    """Return what a collision with this attempt needs to hold."""
    grant = await look_up(connection, Grant, grants, grants.c.code_hash, first.grant) if first.grant else None
    return Names(attempts={first.attempt}) | (_names(grant, grant) if grant else Names())


def grant_of(row: Row[Any]) -> Grant:
    """Return the row as the grant it holds."""
    return value_of(Grant, row)
