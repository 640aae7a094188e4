"""Dispatch's statements: few, and one for a whole batch. All run in the lane's step."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import BigInteger, Executable, Integer, and_, bindparam, delete, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.events import suffixed
from workers.dispatch.accounts import DISTRUSTED, Holding, Known, Version
from workers.dispatch.tables import accounts, claims, devices
from workers.runtime.database import StoreUnavailable
from workers.runtime.jobs import Step
from workers.runtime.rows import among, insert_ignore, into, listed, lists, prepared
from workers.runtime.stops import FORGOTTEN, fingerprint, stops

FINAL: Final = ("published", "waiting", "stopped")  # outcomes whose copies are duplicates; anything else may be claimed again
NOBODY: Final = ""  # no event has this digest
CHUNK: Final = 5_000  # rows that one pruning statement deletes


@prepared
def _claiming(engine: str) -> Executable:
    wanted = listed(engine, "request_id", "digest", "suffixed")
    mine = {name: bindparam(f"my_{name}", type_=claims.c[name].type) for name in ("outcome", "day", "grp", "lane", "n")}
    out = claims.alias("out")
    apart = select(out.c.request_id).where(out.c.request_id == wanted.c.suffixed, out.c.outcome.in_(FINAL))
    rows = select(wanted.c.request_id, wanted.c.digest, *mine.values()).where(~apart.exists())  # SQLite needs a WHERE here
    statement = into(engine, claims).from_select(["request_id", "digest", *mine], rows)
    taken = statement.on_conflict_do_update(
        index_elements=["request_id"],
        set_={name: statement.excluded[name] for name in ("digest", *mine)},
        where=claims.c.outcome.not_in(FINAL),
    )
    return taken.returning(claims.c.request_id)


async def claim(step: Step, digests: Mapping[str, str], day: int) -> set[str]:
    """Claim ids (id → digest) for this step; return those that were free.

    An event that has its id with a suffix keeps to that, also where the plain one has been given back meanwhile.
    """
    if not digests:
        return set()
    mine = {"my_outcome": "published", "my_day": day, "my_grp": step.group, "my_lane": step.index, "my_n": step.n}
    names = [suffixed(*wish) for wish in digests.items()]
    wanted = lists(step.connection, request_id=[*digests], digest=[*digests.values()], suffixed=names)
    return {*(await step.connection.scalars(_claiming(step.connection), wanted | mine))}


@prepared
def _holders(engine: str) -> Executable:
    return select(claims.c.request_id, claims.c.digest).where(among(engine, claims.c.request_id, "name"))


async def holders(connection: AsyncConnection, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return the digest under which each of these ids is held, for which that of an event that wants it is given.

    NOBODY: it is free, and not for that event, which has it with a suffix. StoreUnavailable: a claim was undone meanwhile.
    """
    if not wanted:
        return {}
    apart = {name: suffixed(name, digest) for name, digest in wanted.items()}
    found = await connection.execute(_holders(connection), lists(connection, name=[*apart, *apart.values()]))
    digests = {row.request_id: row.digest for row in found}
    if any(name not in digests and own not in digests for name, own in apart.items()):
        raise StoreUnavailable("a claim was undone while it was looked at")
    return {name: digests.get(name, NOBODY) for name in apart}


@prepared
def _versions(engine: str) -> Executable:
    columns = [accounts.c[name] for name in Version.__struct_fields__]
    known = select(*columns).where(among(engine, accounts.c.account, "name"), accounts.c.release_n.is_(None))
    return known.order_by(accounts.c.version)


async def versions(connection: AsyncConnection, names: Collection[str]) -> list[Version]:
    """Return what is known of these accounts, older versions first."""
    if not names:
        return []
    return [Version(*row) for row in await connection.execute(_versions(connection), lists(connection, name=[*names]))]


@prepared
def _standing(engine: str) -> Executable:
    wanted = listed(engine, "name", "hash")
    columns = [accounts.c[name] for name in Version.__struct_fields__]
    known = and_(accounts.c.account == wanted.c.name, accounts.c.release_n.is_(None))
    over = and_(stops.c.account_hash == wanted.c.hash, stops.c.why == FORGOTTEN)
    told = wanted.outerjoin(accounts, known).outerjoin(stops, over)
    return select(wanted.c.name, stops.c.why, *columns).select_from(told).order_by(accounts.c.version)


async def standing(
    connection: AsyncConnection, namespace: str, names: Collection[str]
) -> tuple[Sequence[Version], Collection[str]]:
    """Return what is known of these accounts, older versions first, and those of them that the operator had forgotten.

    The stop says it first: while no linker runs nobody else does, and a forgotten account may still stand as linked.
    """
    if not names:
        return (), ()
    wanted = lists(connection, name=[*names], hash=[fingerprint(namespace, name) for name in names])
    rows = [*await connection.execute(_standing(connection), wanted)]
    return [Version(*row[2:]) for row in rows if row.account is not None], {row.name for row in rows if row.why}


async def distrust(connection: AsyncConnection, group: str, lane: int) -> None:
    """Believe of no account of a lane how it stands; whose it was stays known."""
    mine = (accounts.c.grp == group) & (accounts.c.lane == lane)
    await connection.execute(update(accounts).where(mine).values(state=DISTRUSTED))


@prepared
def _holdings(engine: str) -> Executable:
    columns = [devices.c[name] for name in Holding.__struct_fields__]
    known = select(*columns).where(among(engine, devices.c.device, "name"), devices.c.release_n.is_(None))
    return known.order_by(devices.c.n)


async def holdings(connection: AsyncConnection, names: Collection[str]) -> list[Holding]:
    """Return who has, or had, these devices, older rows first."""
    if not names:
        return []
    return [Holding(*row) for row in await connection.execute(_holdings(connection), lists(connection, name=[*names]))]


async def learn(step: Step, known: Known) -> None:
    """Add what a batch has told of accounts and devices; drop versions that a committed one had replaced before."""
    await _forget(step, known.forgotten)
    await insert_ignore(step.connection, accounts, [_row(step, version) for version in known.new_versions])
    await insert_ignore(step.connection, devices, [_row(step, holding) for holding in known.new_holdings])
    if known.replaced:
        below = delete(accounts).where(accounts.c.account == bindparam("name"), accounts.c.version < bindparam("stands"))
        await step.connection.execute(below, [{"name": name, "stands": stands} for name, stands in known.replaced.items()])


@prepared
def _forgetting(engine: str) -> Sequence[Executable]:
    gone = {"release_n": bindparam("my_n", type_=BigInteger)}
    return [
        update(table).where(among(engine, table.c.account, "name"), table.c.release_n.is_(None)).values(gone)
        for table in (accounts, devices)
    ]


async def _forget(step: Step, names: Collection[str]) -> None:
    for statement in _forgetting(step.connection) if names else ():
        await step.connection.execute(statement, lists(step.connection, name=[*names]) | {"my_n": step.n})


@prepared
def _noting(engine: str) -> Executable:
    return update(claims).where(among(engine, claims.c.request_id, "name")).values(outcome=bindparam("my_outcome"))


async def note(step: Step, ids: Collection[str], outcome: Literal["waiting", "stopped"]) -> None:
    """Note what became of events whose ids this step has claimed, where it was not to be published."""
    if ids:
        wanted = lists(step.connection, name=[*ids])
        await step.connection.execute(_noting(step.connection), wanted | {"my_outcome": outcome})


@prepared
def _freeing(engine: str) -> Executable:
    return update(claims).where(among(engine, claims.c.request_id, "name")).values(release_n=bindparam("my_n", type_=BigInteger))


async def free(step: Step, ids: Collection[str]) -> None:
    """Give the claims of buried events back, so that they can come again."""
    if ids:
        await step.connection.execute(_freeing(step.connection), lists(step.connection, name=[*ids]) | {"my_n": step.n})


def _row(step: Step, known: Version | Holding) -> dict[str, Any]:
    return msgspec.structs.asdict(known) | {"grp": step.group, "lane": step.index, "n": step.n}


async def prune_claims(connection: AsyncConnection, before: int) -> int:
    """Delete claims made before that day, at most a chunk; return how many there were."""
    old = select(claims.c.request_id).where(claims.c.day < literal(before, Integer)).limit(CHUNK)
    return (await connection.execute(delete(claims).where(claims.c.request_id.in_(old)))).rowcount
