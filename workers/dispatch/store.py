"""Dispatch's statements: few, and one for a whole batch. All run in the lane's step."""

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Integer, bindparam, delete, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.dispatch.accounts import Holding, Known, Version
from workers.dispatch.tables import accounts, claims, devices
from workers.runtime.database import StoreUnavailable
from workers.runtime.jobs import Step
from workers.runtime.rows import among, insert, insert_ignore, listed

FINAL: Final = ("published", "waiting")  # outcomes whose copies are duplicates; anything else may be claimed again
CHUNK: Final = 5_000  # rows that one pruning statement deletes


async def claim(step: Step, digests: Mapping[str, str], day: int) -> set[str]:
    """Claim ids (id → digest) for this step; return those that were free."""
    if not digests:
        return set()
    wanted = listed(step.connection, request_id=[*digests], digest=[*digests.values()])
    mine = {"outcome": "published", "day": day, "grp": step.group, "lane": step.index, "n": step.n}
    values = [literal(value, claims.c[name].type) for name, value in mine.items()]
    rows = select(wanted.c.request_id, wanted.c.digest, *values).where(text("true"))  # SQLite needs a WHERE before ON CONFLICT
    statement = insert(step.connection, claims).from_select(["request_id", "digest", *mine], rows)
    taken = statement.on_conflict_do_update(
        index_elements=["request_id"],
        set_={name: statement.excluded[name] for name in ("digest", *mine)},
        where=claims.c.outcome.not_in(FINAL),
    )
    return {*(await step.connection.scalars(taken.returning(claims.c.request_id)))}


async def holders(connection: AsyncConnection, ids: Collection[str]) -> dict[str, str]:
    """Return the digest under which each of these claimed ids is held; StoreUnavailable where a claim was undone meanwhile."""
    if not ids:
        return {}
    found = select(claims.c.request_id, claims.c.digest).where(among(connection, claims.c.request_id, ids))
    digests = {row.request_id: row.digest for row in await connection.execute(found)}
    if len(digests) < len(ids):
        raise StoreUnavailable("a claim was undone while it was looked at")
    return digests


async def versions(connection: AsyncConnection, names: Collection[str]) -> list[Version]:
    """Return what is known of these accounts, older versions first."""
    if not names:
        return []
    columns = [accounts.c[name] for name in Version.__struct_fields__]
    found = select(*columns).where(among(connection, accounts.c.account, names)).order_by(accounts.c.version)
    return [Version(*row) for row in await connection.execute(found)]


async def holdings(connection: AsyncConnection, names: Collection[str]) -> list[Holding]:
    """Return who has, or had, these devices, older rows first."""
    if not names:
        return []
    columns = [devices.c[name] for name in Holding.__struct_fields__]
    found = select(*columns).where(among(connection, devices.c.device, names)).order_by(devices.c.n)
    return [Holding(*row) for row in await connection.execute(found)]


async def learn(step: Step, known: Known) -> None:
    """Add what a batch has told of accounts and devices; drop versions that a committed one had replaced before."""
    await insert_ignore(step.connection, accounts, [_row(step, version) for version in known.new_versions])
    await insert_ignore(step.connection, devices, [_row(step, holding) for holding in known.new_holdings])
    if known.replaced:
        below = delete(accounts).where(accounts.c.account == bindparam("name"), accounts.c.version < bindparam("stands"))
        await step.connection.execute(below, [{"name": name, "stands": stands} for name, stands in known.replaced.items()])


def _row(step: Step, known: Version | Holding) -> dict[str, Any]:
    return msgspec.structs.asdict(known) | {"grp": step.group, "lane": step.index, "n": step.n}


async def prune_claims(connection: AsyncConnection, before: int) -> int:
    """Delete claims made before that day, at most a chunk; return how many there were."""
    old = select(claims.c.request_id).where(claims.c.day < literal(before, Integer)).limit(CHUNK)
    return (await connection.execute(delete(claims).where(claims.c.request_id.in_(old)))).rowcount
