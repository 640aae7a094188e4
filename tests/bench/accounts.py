"""The links of the accounts whose webhooks the bench sends: dispatch knows of them before any clock starts."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

from deploy.demo.installation import Installation
from schemas.records import AccountChanged
from schemas.topics import ACCOUNT_CHANGED
from tests.bench.ground import bus_of
from tests.bench.webhooks import ACCOUNTS, LINKED, publish
from workers.bus.contract import Record
from workers.dispatch import store
from workers.runtime import database

KNOWN_S: Final = 30.0


async def link(made: Installation, role: str) -> None:
    """Return once this role (dispatch, or up) has taken in that all accounts are linked; it is not running then."""
    async with bus_of(made) as bus:
        await publish(bus, _changes())
    async with made.running(role), asyncio.timeout(KNOWN_S):
        await _known(made.environment["RINGHOOK_STORE_URL"])
    del made.roles[role]


def _changes() -> Iterator[Record]:
    now = datetime.now(UTC)
    for name in ACCOUNTS:
        change = AccountChanged(
            account=name, version=1, generation=1, state="completed", linked=True, partner_user=LINKED.partner_user, at=now
        )
        yield Record(topic=ACCOUNT_CHANGED.name, key=name.encode(), value=msgspec.json.encode(change))


async def _known(url: str) -> None:
    async with database.connect(url) as opened:
        known = 0
        while known < len(ACCOUNTS):
            await asyncio.sleep(0.1)
            async with opened.read() as connection:
                known = len(await store.versions(connection, ACCOUNTS))
