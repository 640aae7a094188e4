"""The admin role's rows."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, select

from ingress.admin.tables import attempt_claims
from workers.runtime.database import Database
from workers.runtime.rows import insert_once

KEPT: Final = timedelta(hours=1)  # a nonce lives ten minutes; and whoever asks to be forgotten is named here no longer


class ClaimStore:
    """Claims (`ingress.link.signin.handoff`) as rows, unique by attempt."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, attempt: str, partner_user: str, now: datetime) -> bool:
        """Say whether the attempt is this user's; the first writer's it stays. Raises StoreUnavailable."""
        row = {"attempt": attempt, "partner_user": partner_user, "claimed_at": now.timestamp()}
        async with self._database.begin() as connection:
            if await insert_once(connection, attempt_claims, row):
                return True
            first = select(attempt_claims.c.partner_user).where(attempt_claims.c.attempt == attempt)
            return bool((await connection.execute(first)).scalar_one() == partner_user)

    async def claimed_at(self, attempt: str) -> float | None:
        """Return when the attempt was claimed, in epoch seconds; None: it was not, or long ago. Raises StoreUnavailable."""
        async with self._database.read() as connection:
            found: float | None = await connection.scalar(
                select(attempt_claims.c.claimed_at).where(attempt_claims.c.attempt == attempt)
            )
            return found

    async def prune(self, now: datetime) -> None:
        """Drop claims that are good for nothing any more."""
        old = attempt_claims.c.claimed_at < (now - KEPT).timestamp()
        async with self._database.begin() as connection:
            await connection.execute(delete(attempt_claims).where(old))


class Pruning:
    """A sweep that keeps the claims few."""

    name: Final = "claims.prune"

    def __init__(self, store: ClaimStore) -> None:
        self._store = store

    async def __call__(self, now: datetime) -> timedelta:
        """Drop old claims; once an hour is enough."""
        await self._store.prune(now)
        return timedelta(hours=1)
