"""Steps of links that share a transaction: what is stale beside what is good, and in which order rows are held."""

import asyncio
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from sqlalchemy import text

from linker import saga
from linker.held import Names, hold
from linker.ledger import Moved
from linker.moves import Move
from linker.told import Told
from schemas.records import AccountTold
from tests.linker.rig import AT, Rig, held
from tests.linker.ring import nonce
from workers.runtime.database import Database, connect
from workers.runtime.jobs import Step


async def test_a_stale_write_beside_a_good_one_leaves_only_the_good_one(rig: Rig) -> None:
    codes = [await rig.code(f"acct-{number}") for number in range(3)]
    first, stale, other = await rig.grants(*codes)
    await rig.store.intend(stale, replace(stale, stage="exchanging"))
    moves = [(grant, saga.begin(grant, rig.now)) for grant in (first, stale, other)]
    results = await asyncio.gather(*(rig.store.intend(one, move.grant) for one, move in moves), return_exceptions=True)
    assert [type(result) is Moved for result in results] == [False, True, False]
    assert [grant.counter for grant in await rig.grants(*codes)] == [1, 1, 1]


async def test_two_grants_of_one_account_that_complete_in_one_transaction_leave_the_newer_one(rig: Rig) -> None:
    codes = [await rig.code("acct-1", f"canary-code-{number}", at=rig.now + number) for number in range(2)]
    grants = [await rig.state(rig.linker(), code, "unclaimed") for code in codes]
    moves = [Move(replace(grant, state="completed", stage="rest", completed_at=rig.now)) for grant in grants]
    applied = (rig.store.apply(one, move, rig.now) for one, move in zip(grants, moves, strict=True))
    await asyncio.gather(*applied, return_exceptions=True)
    assert [grant.state for grant in await rig.grants(*codes)] == ["removed", "completed"]
    found = await rig.store.account("acct-1")
    assert found
    assert (found[0].linked, found[0].generation) == (True, grants[1].generation)


async def test_a_claim_whose_sign_in_moved_leaves_its_grant_as_it_was(rig: Rig) -> None:
    grant = await rig.state(rig.linker(), await rig.code("acct-1"), "unclaimed")
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    stale = await rig.store.attempt("t1")
    assert stale
    await rig.store.settle(stale, replace(stale, horizon=rig.now))
    move = saga.claimed(grant, attempt="t1", partner_user="u1", nonce_until=rig.now + 600, now=rig.now)
    with pytest.raises(Moved):
        await rig.store.claim(stale, replace(stale, state="claimed"), grant, move, rig.now)
    assert await rig.grants(grant.code_hash) == [grant]


@pytest.mark.postgres
async def test_removals_and_steps_hold_accounts_in_one_order(postgres_url: str) -> None:
    """Were they held as the records come, each would wait for the other's account, until PostgreSQL ends one of them."""
    async with connect(postgres_url) as database:
        await database.create_all()
        both, told = Names(accounts={"acct-1", "acct-2"}, fresh={"acct-1", "acct-2"}), Told("test")
        async with database.begin() as connection:
            await hold(connection, both)
        at = datetime.fromtimestamp(AT, UTC)
        came = [held("account.told", name, AccountTold(account=name, at=at, removed=True)) for name in ("acct-2", "acct-1")]

        async def removed() -> None:
            async with database.begin() as connection:
                await told(came, Step(connection=connection, group="linker.told", index=0, n=1), at)

        async with database.begin() as connection:
            await hold(connection, Names(accounts={"acct-1"}))
            removing = asyncio.create_task(removed())
            await some_wait_for_a_lock(database)
            await hold(connection, both)
        await removing


async def some_wait_for_a_lock(database: Database, many: int = 1) -> None:
    """Return once so many sessions of this database wait for a row."""
    waits = text("select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'")
    async with asyncio.timeout(5), database.read() as connection:
        while (await connection.scalar(waits) or 0) < many:  # noqa: ASYNC110 - another session's wait has no event
            await asyncio.sleep(0.01)
