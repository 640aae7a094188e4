"""The newest links and sign-ins, as the findings read them."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select

from linker.rows import LOST, AttemptSteps, GrantStanding
from linker.saga import REFUSED_CLIENT
from linker.selects import columns, value_of
from linker.tables import accounts, attempts, grants
from schemas.findings.facts import Cause, Link, SignIn
from workers.runtime.database import Database

NEWEST: Final = 20
LOOKED: Final = 500  # rows of the newest codes; a flood of strangers' hides the others behind it
MANY: Final = 1_000  # accounts to be connected again that are counted one by one
_LATEST: Final = (
    columns(GrantStanding, grants)
    .add_columns(grants.c.stranger)
    .order_by(grants.c.generation.desc())
    .limit(LOOKED)
    .subquery("latest")
)
_EVERY: Final = select(_LATEST).order_by(_LATEST.c.generation.desc())
_RINGS: Final = _EVERY.where(_LATEST.c.account.is_not(None) | ~_LATEST.c.stranger).limit(NEWEST)
_ATTEMPTS: Final = columns(AttemptSteps, attempts).order_by(attempts.c.requested_at.desc()).limit(NEWEST)
_LOST: Final = select(accounts.c.account).where(accounts.c.risk.is_not(None), accounts.c.risk.in_(sorted(LOST))).limit(MANY)


@dataclass(frozen=True)
class Recent:
    """Reads no column with a secret."""

    database: Database

    async def links(self) -> tuple[Link, ...]:
        """Return the newest, first; codes of strangers that came to nothing count only where nothing else ever came."""
        async with self.database.read() as connection:
            rows = (await connection.execute(_RINGS)).all() or (await connection.execute(_EVERY)).all()
        shown = rows[:NEWEST] if len(rows) < LOOKED else []
        return tuple(_link(value_of(GrantStanding, row)) for row in shown)

    async def sign_ins(self) -> tuple[SignIn, ...]:
        """Return the newest, first."""
        async with self.database.read() as connection:
            rows = [value_of(AttemptSteps, row) for row in await connection.execute(_ATTEMPTS)]
        return tuple(
            SignIn(state=one.state, marks=one.marks, reason=one.reason, matched=one.grant is not None)
            for one in rows
            if one.follows is None
        )

    async def reconnect(self) -> int:
        """Return how many accounts must be connected again, at most so many as are counted."""
        async with self.database.read() as connection:
            return int(await connection.scalar(select(func.count()).select_from(_LOST.subquery())) or 0)


def _link(grant: GrantStanding) -> Link:
    return Link(state=grant.state, marks=grant.marks, reason=grant.reason, account=grant.account, cause=cause(grant))


def cause(grant: GrantStanding) -> Cause | None:
    """Return why a code never became tokens, None where it did, or may still."""
    if any(what == "exchanged" for what, _ in grant.marks):
        return None
    match grant.state:
        case "expired":
            return "late"
        case "lost":
            return "unanswered"
        case "rejected":
            return "client" if (grant.reason or "").startswith(REFUSED_CLIENT) else "refused"
        case _:
            return None
