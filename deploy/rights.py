"""Who may do what in the store: one PostgreSQL user a role, and for each the verbs on tables, or columns, that its work takes.

Nobody else has any right, and none of these may create or change a table: that is for the owner, as whom `ringhook migrate` runs.
What is sealed (codes, tokens, nonces) only the linker may select. A new table has its lines here, or a test says so.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Table, func, select

from ingress.admin.handled import handled
from ingress.admin.tables import attempt_claims
from linker import tables as linker
from linker.rows import AttemptSteps, GrantStanding, GrantSteps
from schemas.errors import Misconfigured
from workers.deliver import tables as deliver
from workers.deliver.closed import closed
from workers.deliver.copies import copies
from workers.deliver.replay import replays
from workers.deliver.resumed import resumed
from workers.deliver.untold import untold
from workers.dispatch import tables as dispatch
from workers.notice import contacts
from workers.runtime import waiting
from workers.runtime.database import Database
from workers.runtime.lane import lanes
from workers.runtime.namespace import installation
from workers.runtime.reloads import told
from workers.runtime.stops import stops

Verb = Literal["SELECT", "INSERT", "UPDATE", "DELETE"]
VERSION: Final = "alembic_version"  # Alembic's own table, which no MetaData holds
SAID: Final = 3  # rights that a refusal names


class Right(NamedTuple):
    """Verbs on a table, or on those columns of it alone."""

    verbs: tuple[Verb, ...]
    table: str
    columns: tuple[str, ...] = ()

    def __str__(self) -> str:
        columns = f" ({', '.join(self.columns)})" if self.columns else ""
        return f"{', '.join(self.verbs)}{columns} on {self.table}"


_VERBS: Final[Mapping[str, Verb]] = {"S": "SELECT", "I": "INSERT", "U": "UPDATE", "D": "DELETE"}


def _may(letters: str, *tables: Table) -> tuple[Right, ...]:
    """Return the right to these verbs, by their first letters, on whole tables."""
    return tuple(Right(tuple(_VERBS[letter] for letter in letters), table.name) for table in tables)


def _see(table: Table, *columns: str, of: type[msgspec.Struct] | None = None) -> Right:
    """Return the right to select these columns, and those of a value."""
    fields = of.__struct_fields__ if of else ()
    return Right(("SELECT",), table.name, tuple(dict.fromkeys((*columns, *fields))))


_START: Final = (Right(("SELECT",), VERSION), *_may("S", installation))  # what every role looks at before it begins
_MARK: Final = Right(("UPDATE",), installation.name, ("value",))  # that the store was set back: whoever drives a lane sees it
_RELOAD: Final = _may("SIUD", told)
_LANES: Final = (*_may("SIU", lanes), *_may("I", installation), _MARK)

RIGHTS: Final[Mapping[str, Sequence[Right]]] = {
    "ingress": (
        *_START,
        _see(linker.attempts, of=AttemptSteps),  # the live page
        _see(linker.grants, "code_hash", of=GrantSteps),
    ),
    "linker": (
        *_START,
        *_LANES,
        *_may("D", installation),  # the mark of a set-back store, once it is mended
        *_may("SIUD", linker.grants, linker.attempts, linker.accounts, linker.subscriptions, linker.removals),
        *_may("SIU", linker.keys, linker.budget),
        *_may("SUD", linker.forgets),
        *_may("SIU", stops),
    ),
    "dispatch": (
        *_START,
        *_LANES,
        *_may("SIUD", dispatch.claims, dispatch.accounts, dispatch.devices, waiting.waiting, waiting.lines),
        *_may("S", stops),
    ),
    "deliver": (
        *_START,
        *_LANES,
        *_RELOAD,
        *_may("SIUD", waiting.waiting, waiting.lines, deliver.tries, untold, copies),
        *_may("SI", closed),
        *_may("S", resumed),
        *_may("SUD", replays),
        *_may("D", lanes),  # of a replay that is over
        *_may("S", stops),
    ),
    "admin": (
        *_START,
        *_LANES,
        *_RELOAD,
        *_may("SIU", contacts),
        *_may("SID", attempt_claims),
        *_may("S", linker.accounts, linker.subscriptions),
        _see(linker.attempts, "requested_at", of=AttemptSteps),
        _see(linker.grants, "code_hash", "stranger", of=GrantStanding),
        *_may("SI", linker.forgets),
        *_may("SID", closed),
        *_may("SIU", resumed),
        *_may("SIUD", handled),
        *_may("S", copies),
        *_may("SIU", replays),
        *_may("SIU", stops),  # a forget replaces a removal
        _see(waiting.lines, "grp", "lane", "key", "rows", "release_n"),  # how many events wait, and since when
        _see(waiting.waiting, "grp", "lane", "since", "release_n"),
    ),
}


def user(namespace: str, role: str) -> str:
    """Return the name of a role's PostgreSQL user; users are of a whole server, so the namespace begins it."""
    return f"{namespace}_{role}"


async def check(database: Database, namespace: str, role: str) -> None:
    """Raise Misconfigured where PostgreSQL does not let a role's user do its work, naming what is lacking and what gives it."""
    if database.dialect != "postgresql" or role not in RIGHTS:
        return
    wanted = [*apart(RIGHTS[role])]
    async with database.read() as connection:
        answers = (await connection.execute(select(*map(_given, wanted)))).one()
    if lacking := [str(right) for right, given in zip(wanted, answers, strict=True) if not given]:
        more = f" and {len(lacking) - SAID} more" if len(lacking) > SAID else ""
        raise Misconfigured(
            f"PostgreSQL does not let the user of RINGHOOK_STORE_URL do what {role} needs ({'; '.join(lacking[:SAID])}{more}): "
            f"run what `ringhook grants` prints, and let {role} log in as {user(namespace, role)}"
        )


def apart(rights: Iterable[Right]) -> Iterator[Right]:
    """Return them one by one: each verb on each column, or on the whole table."""
    for verbs, table, columns in rights:
        for verb in verbs:
            yield from (Right((verb,), table, (column,)) for column in columns)
            if not columns:
                yield Right((verb,), table)


def _given(right: Right) -> ColumnElement[bool]:
    """Return the question to PostgreSQL; the table is found where the statements will find it."""
    (verb,), table = right.verbs, f'"{right.table}"'
    if right.columns:
        return func.has_column_privilege(table, *right.columns, verb)
    return func.has_table_privilege(table, verb)
