import asyncio
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import select

from schemas.errors import Misconfigured
from workers.runtime import namespace
from workers.runtime.database import Database, connect


async def test_roles_that_start_together_on_a_new_store_agree_on_its_namespace(store_url: str) -> None:
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(connect(store_url)) for _ in range(8)]
        await stores[0].create_all()
        await asyncio.gather(*(connected(store) for store in stores))
        await asyncio.gather(*(namespace.check(store, "production") for store in stores))


async def connected(store: Database) -> None:
    async with store.read() as connection:
        await connection.execute(select(1))


async def test_a_store_of_another_namespace_is_refused(store_url: str) -> None:
    async with connect(store_url) as store:
        await store.create_all()
        await namespace.check(store, "production")
        with pytest.raises(Misconfigured, match="belongs to namespace 'production'"):
            await namespace.check(store, "staging")


async def test_of_two_namespaces_that_claim_a_new_store_together_one_is_refused(store_url: str) -> None:
    async with connect(store_url) as one, connect(store_url) as other:
        await one.create_all()
        claims = (namespace.check(one, "production"), namespace.check(other, "staging"))
        outcomes = await asyncio.gather(*claims, return_exceptions=True)
    assert sorted(type(outcome) for outcome in outcomes if outcome is not None) == [Misconfigured]
