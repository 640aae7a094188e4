"""The job that takes in what Ring's webhooks say of accounts: that the app was removed, and how the subscription stands."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from linker import early, forgetting, metrics, store
from linker.held import hold_accounts
from schemas.errors import UNREADABLE, Rejected
from schemas.records import AccountTold
from schemas.topics import ACCOUNT_TOLD
from workers.bus.contract import Held, Record
from workers.runtime import stops
from workers.runtime.jobs import Step


@dataclass(frozen=True)
class Told:
    """Changes rows so that a repeated or late record changes nothing more; then wakes advance, which asks Ring."""

    namespace: str
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    name: str = "linker.told"
    topics: Collection[str] = (ACCOUNT_TOLD.name,)
    stepped: Collection[Table] = ()  # others act on these rows: they carry no n and are never undone

    async def __call__(self, batch: Sequence[Held], step: Step, now: datetime) -> Sequence[Sequence[Record] | Rejected]:
        """Return no records for each record taken in, or why it is buried."""
        told = [_read(record) for record in batch]
        removed = {one.account for one in told if isinstance(one, AccountTold) and one.removed}
        made = await early.made(step.connection, removed)
        await hold_accounts(step.connection, removed)  # all at once, in the order in which links' steps make and hold them
        results = [one if isinstance(one, Rejected) else await self._take(one, step.connection, now.timestamp()) for one in told]
        await early.unmade(step.connection, made)
        self.wake.set()
        return results

    async def due(self, step: Step, limit: int, now: datetime) -> Sequence[Record]:
        """Owe nothing."""
        del step, limit, now
        return ()

    async def _take(self, told: AccountTold, connection: AsyncConnection, now: float) -> Sequence[Record]:
        if await stops.forgotten(connection, self.namespace, [told.account]):
            return ()  # nothing is learnt of it any more
        if told.subscription and await store.heeds(connection, told.account, told.app):  # not of an app that does not serve
            await forgetting.subscribed(connection, told.account, told.subscription, told.at.timestamp())
        if told.removed:
            await early.note(connection, told.account, told.app, told.at.timestamp(), now)
            ends = await store.withdraw(connection, self.namespace, told.account, told.at.timestamp(), now, app=told.app)
            metrics.ended(ends)
        return ()


def _read(record: Held) -> AccountTold | Rejected:
    try:
        return msgspec.json.decode(record.value, type=AccountTold)
    except UNREADABLE:
        return Rejected("not a record that ringhook writes to this topic", reason="malformed")
