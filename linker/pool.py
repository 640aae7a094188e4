"""The pool of grants that a nonce may match, read in pages from the newest on.

A page is one row, an array of accounts per app: a row for each grant, made by the driver, would cost more than its HMAC.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Executable, Text, bindparam, cast, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from linker.rows import Grant
from linker.selects import columns, value_of
from linker.tables import grants
from schemas.records import App

OWN: Final = 64  # Ring accounts of one user that a nonce is tried on


class Place(NamedTuple):
    """Where a grant stands in the pool; of one microsecond there may be several."""

    pool: int
    code_hash: str


class Page(NamedTuple):
    """The accounts of grants that follow one another in the pool, and the last one's place; None: none follows."""

    accounts: Mapping[App, str]  # each a JSON array, in no order: whoever reads it need not be the event loop
    end: Place | None
    others: bool = False  # there are grants of other apps among them


async def page(connection: AsyncConnection, apps: Sequence[App], after: Place | None, since: float | None, size: int) -> Page:
    """Return the grants of these apps that follow a place, newest first; `since`: only those that opened then or later."""
    bounds: dict[str, Any] = {"size": size, "last": size - 1}
    bounds |= after._asdict() if after else {}
    bounds |= {"since": since} if since is not None else {}
    row = (await connection.execute(_page(connection.dialect.name, frozenset(bounds), tuple(apps)), bounds)).one()
    end = Place(row.pool, row.code_hash) if row.code_hash else None
    return Page(dict(zip(apps, row, strict=False)), end, others=row.others > 0)


async def own(connection: AsyncConnection, partner_user: str) -> Sequence[Grant]:
    """Return the newest links that stand for a user, whether or not they left the pool."""
    return [value_of(Grant, row) for row in await connection.execute(_OWN, {"user": partner_user, "most": OWN})]


@cache
def _page(engine: str, bounds: frozenset[str], apps: tuple[App, ...]) -> Executable:
    """Select a page within these bounds: its accounts, and the place of its last grant where it is full."""
    inside: ColumnElement[bool] = grants.c.pool.is_not(None)
    if "pool" in bounds:
        after = tuple_(bindparam("pool", type_=grants.c.pool.type), bindparam("code_hash", type_=Text))
        inside &= tuple_(grants.c.pool, grants.c.code_hash) < after
    if "since" in bounds:
        inside &= grants.c.open_at >= bindparam("since")
    newest = select(grants.c.account, grants.c.app).where(inside).order_by(grants.c.pool.desc(), grants.c.code_hash.desc())
    full, last = newest.limit(bindparam("size")).subquery(), newest.limit(1).offset(bindparam("last"))
    gather = func.json_agg if engine == "postgresql" else func.json_group_array
    accounts = [cast(gather(full.c.account).filter(full.c.app == app), Text).label(app) for app in apps]
    others = func.count().filter(full.c.app.not_in(apps)).label("others")
    end = [last.with_only_columns(column).scalar_subquery().label(column.name) for column in (grants.c.pool, grants.c.code_hash)]
    return select(*accounts, others, *end)


_OWN: Final = (
    columns(Grant, grants)
    .where(grants.c.partner_user == bindparam("user"), grants.c.state == "completed")
    .order_by(grants.c.generation.desc())
    .limit(bindparam("most"))
)
