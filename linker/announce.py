"""The sweep that tells the world how accounts stand: rows with `announced` < `version` → account.changed."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from linker.metrics import ANNOUNCED
from linker.rows import LOST, Account
from linker.store import Store
from schemas.records import AccountChanged
from schemas.topics import ACCOUNT_CHANGED
from workers.bus.contract import Bus, BusUnavailable, Record

BATCH: Final = 500
IDLE: Final = timedelta(seconds=1)
AGAIN: Final = timedelta(seconds=0.05)  # until more is told, among it again what a link's step held just now
DEADLINE: Final = 30.0  # seconds


@dataclass(frozen=True)
class Announce:
    """A Sweep. Rows are read only after entering `exclusive`: whoever read earlier is fenced, so versions never go back."""

    store: Store
    bus: Bus
    name: str = "linker.announce"

    async def __call__(self, now: datetime) -> timedelta:
        """Publish what changed, at most BATCH accounts. Raises Unavailable, and Revoked where another linker took over."""
        del now
        if not await self.store.behind(1):
            return IDLE
        try:
            async with asyncio.timeout(DEADLINE):
                return await self._tell()
        except TimeoutError as error:
            raise BusUnavailable from error

    async def _tell(self) -> timedelta:
        async with self.bus.exclusive("announce") as publisher:
            told = await self.store.behind(BATCH)
            await publisher.publish([record(account) for account in told])
            await self.store.announced(told)
        ANNOUNCED.inc(len(told))
        return AGAIN


def record(account: Account) -> Record:
    """Return what the world is told of an account."""
    changed = AccountChanged(
        account=account.account,
        version=account.version,
        generation=account.generation,
        state=account.state,
        linked=account.linked,
        partner_user=account.user,
        last_partner_user=account.last_user,
        at=datetime.fromtimestamp(account.changed_at, UTC),
        since=datetime.fromtimestamp(account.since, UTC) if account.linked and account.since else None,
        apps=account.app_ids,
        reconnect=account.risk in LOST,
    )
    return Record(topic=ACCOUNT_CHANGED.name, key=account.account.encode(), value=msgspec.json.encode(changed))
