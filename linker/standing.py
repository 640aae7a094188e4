"""The SQL of how links and accounts stand, for the roles that only tell it: no column with a secret is named here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from linker.rows import Account, AttemptSteps, GrantStanding, GrantSteps
from linker.selects import grants_of, list_accounts, look_up
from linker.tables import accounts, attempts, grants, subscriptions
from workers.runtime.database import Database


@dataclass(frozen=True)
class Standing:
    """What the pages and `/v1` tell."""

    database: Database

    async def attempt(self, attempt: str) -> AttemptSteps | None:
        """Return how far one sign-in is."""
        async with self.database.read() as connection:
            return await look_up(connection, AttemptSteps, attempts, attempts.c.attempt, attempt)

    async def grant(self, code_hash: str) -> GrantSteps | None:
        """Return how far one grant is."""
        async with self.database.read() as connection:
            return await look_up(connection, GrantSteps, grants, grants.c.code_hash, code_hash)

    async def account(self, account: str) -> tuple[Account, list[GrantStanding]] | None:
        """Return an account and its grants, the newest first."""
        async with self.database.read() as connection:
            found = await look_up(connection, Account, accounts, accounts.c.account, account)
            return (found, await grants_of(connection, GrantStanding, account)) if found else None

    async def subscription(self, account: str) -> Mapping[str, Any] | None:
        """Return how an account's subscription stands, None where Ring never told of one."""
        wanted = select(*(column for column in subscriptions.c if column.name != "account"))
        async with self.database.read() as connection:
            row = (await connection.execute(wanted.where(subscriptions.c.account == account))).mappings().first()
            return dict(row) if row else None

    async def listed(self, after: str, limit: int, *, at_risk: bool) -> list[tuple[Account, GrantStanding | None]]:
        """Return a page of the accounts that follow this id, each with the grant that decides how it stands."""
        async with self.database.read() as connection:
            return await list_accounts(connection, GrantStanding, after, limit, at_risk=at_risk)
