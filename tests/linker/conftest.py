"""The linker beside Ring, on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator

import pytest

from linker.ringapi import connect as connect_ring
from linker.store import Store
from tests.linker.rig import APPS, Clock, Rig
from tests.linker.ring import Ring, serve
from workers.runtime.database import connect


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ring(clock: Clock) -> AsyncIterator[Ring]:
    async with serve(clock) as ring:
        yield ring


@pytest.fixture
async def rig(store_url: str, ring: Ring, clock: Clock) -> AsyncIterator[Rig]:
    async with (
        connect(store_url) as database,
        connect_ring(api_url=ring.url, oauth_url=ring.url, apps=APPS, timeout=8.0) as api,
    ):
        await database.create_all()
        yield Rig(database, ring, api, Store(database), clock)
