"""Access tokens lent: valid ones, renewed by one linker alone, and never for an account that is not served."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

import pytest
from msgspec.structs import replace

from deploy.demo.ring.faults import Fault
from linker import refresh
from linker.advance import Advance
from linker.broker import Broker, Loan
from linker.ledger import Moved
from linker.moves import Move
from linker.rows import Grant
from tests.linker.rig import Rig
from tests.linker.ring import nonce


async def linked(rig: Rig, *, ago: float) -> str:
    """Link an account so long ago, and return its code's hash; from then on time is the real one."""
    rig.now = time.time() - ago
    code = await rig.code("acct-1")
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    await rig.state(rig.linker(), code, "completed")
    rig.now = time.time()
    return code


@asynccontextmanager
async def brokers(rig: Rig, count: int = 1, **more: float) -> AsyncIterator[list[Broker]]:
    """Run linkers on the one store, each with its broker."""
    stop = asyncio.Event()
    linkers = [rig.linker() for _ in range(count)]
    async with asyncio.TaskGroup() as group:
        for linker in linkers:
            group.create_task(linker.run(stop))
        try:
            yield [broker(rig, linker, **more) for linker in linkers]
        finally:
            stop.set()


def broker(rig: Rig, linker: Advance, **more: float) -> Broker:
    return Broker(rig.store, rig.vault, linker.wake, rig.clock, **more)


def lent(loan: Loan | None) -> str:
    assert loan is not None
    assert loan.access_token is not None, loan.words
    return loan.access_token


def living(rig: Rig) -> set[str]:
    """The access tokens that Ring takes."""
    return {
        token for grant in rig.ring.world.grants for token, end in grant.access.items() if end > rig.now and not grant.revoked
    }


async def test_a_token_that_lives_is_lent_without_asking_ring(rig: Rig) -> None:
    await linked(rig, ago=60)
    asked = len(rig.ring.seen)
    loan = await broker(rig, rig.linker()).lend("acct-1", None)
    assert lent(loan) in living(rig)
    assert loan is not None
    assert rig.now + 14_000 < loan.expires_at < rig.now + 14_400
    assert lent(loan) not in repr(loan)
    assert len(rig.ring.seen) == asked


async def test_a_token_that_ends_within_a_minute_is_renewed_once_for_all_who_ask(rig: Rig) -> None:
    await linked(rig, ago=14_380)
    async with brokers(rig, 2) as both:
        loans = await asyncio.gather(*(both[number % 2].lend("acct-1", None) for number in range(30)))
    assert {lent(loan) for loan in loans} <= living(rig)
    assert len({lent(loan) for loan in loans}) == 1
    assert rig.ring.count("refresh") == 1


async def test_a_token_that_ring_rejected_is_renewed_once_and_only_if_it_is_the_one(rig: Rig) -> None:
    await linked(rig, ago=600)
    async with brokers(rig) as [one]:
        old = lent(await one.lend("acct-1", None))
        assert lent(await one.lend("acct-1", sha256(b"another").hexdigest())) == old
        proof = sha256(old.encode()).hexdigest()
        new = lent(await one.lend("acct-1", proof.upper()))
        assert new != old
        assert lent(await one.lend("acct-1", proof)) == new  # a late word about the old one
        young = await one.lend("acct-1", sha256(new.encode()).hexdigest())
    assert young is not None
    assert young.access_token is None
    assert 50 < (young.wait or 0) <= 60
    assert rig.ring.count("refresh") == 1


@pytest.mark.parametrize(("fault", "least"), [(503, 0), (429, 5), ("cut", 20)])
async def test_while_ring_is_away_whoever_asks_is_told_when_to_come_again(rig: Rig, fault: int | str, least: int) -> None:
    rig.ring.retry_after = "9"
    await linked(rig, ago=20_000)
    rig.ring.spoil("refresh", *[fault] * 20)
    async with brokers(rig, patience=3.0) as [one]:
        loan = await one.lend("acct-1", None)
        assert loan is not None
        assert (loan.access_token, loan.wait is None) == (None, False)
        assert (loan.wait or 0) > least
        assert "renewed" in loan.words
        sent = rig.ring.count("refresh")
        again = await one.lend("acct-1", None)
        assert again is not None
        assert again.access_token is None
        if least:
            assert rig.ring.count("refresh") == sent


async def test_what_is_not_served_gets_no_token_and_hears_why(rig: Rig) -> None:
    async def asked() -> Loan:
        loan = await broker(rig, rig.linker()).lend("acct-1", None)
        assert loan is not None
        assert (loan.access_token, loan.wait) == (None, None)
        return loan

    assert await broker(rig, rig.linker()).lend("acct-1", None) is None
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    assert "unclaimed: its link is not complete" in (await asked()).words
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    await rig.state(rig.linker(), code, "completed")
    rig.ring.world.remove(rig.ring.world.accounts["acct-1"])
    rig.now += 86_400
    await rig.state(rig.linker(), code, "lost")
    assert "remove the app in the Ring app and connect it again" in (await asked()).words


async def test_only_the_serving_generation_is_lent(rig: Rig) -> None:
    await linked(rig, ago=600)
    newer = await rig.code("acct-1", "canary-code-newer")
    await rig.state(rig.linker(), newer, "unclaimed")
    tokens = lent(await broker(rig, rig.linker()).lend("acct-1", None))
    assert tokens in rig.ring.world.grants[0].access
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time(), "u2")
    await rig.state(rig.linker(), newer, "completed")
    assert lent(await broker(rig, rig.linker()).lend("acct-1", None)) in rig.ring.world.grants[1].access


async def test_a_token_that_cannot_be_opened_is_not_lent(rig: Rig) -> None:
    code = await linked(rig, ago=60)
    [grant] = await rig.grants(code)
    await rig.store.apply(grant, Move(replace(grant, writes=grant.writes + 1)), rig.now)
    loan = await broker(rig, rig.linker()).lend("acct-1", None)
    assert loan is not None
    assert loan.access_token is None
    assert "cannot be opened" in loan.words


async def told_again(rig: Rig) -> Grant:
    """Let a link that stands be told to Ring again; the PATCH is put off for longer than its token lives, which ends now."""
    code = await linked(rig, ago=14_350)
    rig.now -= 300
    rig.ring.allow("a code that never comes", "acct-1")
    rig.ring.down("patch", 300, Fault(503, headers=(("Retry-After", "3000"),)))
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    linker = rig.linker()

    async def put_off() -> bool:
        [grant] = await rig.grants(code)
        return (grant.stage, grant.begun) == ("patch", 0) and (grant.due_at or 0.0) > rig.now

    async with linker:
        await rig.turn(linker, put_off)
    rig.now = time.time()
    [grant] = await rig.grants(code)
    return grant


async def test_a_link_whose_patch_is_put_off_lends_its_token_renewed_and_the_patch_keeps_its_time(rig: Rig) -> None:
    before = await told_again(rig)
    assert (before.expires_at or 0.0) - rig.now < refresh.BEFORE < (before.due_at or 0.0) - rig.now
    patches = rig.ring.count("patch")
    async with brokers(rig, 2) as both:
        loans = await asyncio.gather(*(both[number % 2].lend("acct-1", None) for number in range(10)))
    assert {lent(loan) for loan in loans} <= living(rig)
    assert (rig.ring.count("refresh"), rig.ring.count("patch")) == (1, patches)
    [after] = await rig.grants(before.code_hash)
    assert (after.stage, after.due_at, after.attempt) == ("patch", before.due_at, "t2")
    [done] = await rig.settle(rig.linker(), before.code_hash)
    assert (done.state, rig.ring.standing("acct-1")) == ("completed", "completed")


async def test_a_renewal_is_not_asked_for_where_a_linker_took_the_step_up_meanwhile(rig: Rig) -> None:
    before = await told_again(rig)
    rig.now = (before.due_at or 0.0) + 1
    [taken] = await rig.store.take_grants(owner="another", now=rig.now, length=30.0, limit=1, queue=before.queue)
    wish = refresh.wanted(before, rig.now)
    assert wish is not None
    with pytest.raises(Moved):
        await rig.store.ask_for(before, wish, rig.now)
    assert (await rig.grants(before.code_hash)) == [taken], "its PATCH may be on the way"
