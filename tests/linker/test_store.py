"""Two linkers on one store, tokens that come late, a store that goes away, and a pool that grows."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import asdict, replace

from linker import claims, saga
from linker.held import Names, hold
from linker.ledger import Moved
from linker.rows import CODES, Account
from linker.store import Collision, Store, _collide, add_grants
from linker.tables import accounts
from schemas.errors import Unavailable
from tests.linker.rig import Rig
from tests.linker.ring import nonce
from workers.runtime.clock import steady
from workers.runtime.database import connect
from workers.runtime.rows import insert_ignore
from workers.runtime.storefault import OutcomeUnknown, StoreUnavailable


async def test_a_row_under_a_lease_is_not_taken_twice(rig: Rig) -> None:
    await rig.code("acct-1")
    first = await rig.store.take_grants(owner="a", now=rig.now, length=30, limit=10, queue=CODES)
    second = await rig.store.take_grants(owner="b", now=rig.now, length=30, limit=10, queue=CODES)
    assert (len(first), len(second)) == (1, 0)
    await rig.let_leases_end()
    [again] = await rig.store.take_grants(owner="b", now=rig.now, length=30, limit=10, queue=CODES)
    assert again.begun == 2


async def test_only_one_of_two_transitions_of_a_row_is_written(rig: Rig) -> None:
    code = await rig.code("acct-1")
    [grant] = await rig.grants(code)
    move = saga.begin(grant, rig.now)
    await rig.store.intend(grant, move.grant)
    with pytest.raises(Moved):
        await rig.store.intend(grant, move.grant)
    with pytest.raises(Moved):
        await rig.store.apply(grant, move, rig.now)


async def test_two_attempts_cannot_claim_one_grant(rig: Rig) -> None:
    code = await rig.code("acct-1")
    grant = await rig.state(rig.linker(), code, "unclaimed")
    for name in ("t1", "t2"):
        await rig.sign_in(name, nonce(rig.time(float(name[1])), "acct-1"), rig.time(float(name[1])), f"u{name[1]}")
    moves = [
        (attempt, saga.claimed(grant, attempt=name, partner_user="u", nonce_until=rig.now + 600, now=rig.now))
        for name in ("t1", "t2")
        if (attempt := await rig.store.attempt(name))
    ]
    results = await asyncio.gather(
        *(rig.store.claim(a, replace(a, state="claimed"), grant, move, rig.now) for a, move in moves), return_exceptions=True
    )
    assert sorted(type(result) for result in results if result is not None) == [Moved]
    states = [found.state for name in ("t1", "t2") if (found := await rig.store.attempt(name))]
    assert sorted(states) == ["claimed", "received"]


async def test_a_sign_in_that_was_matched_while_a_second_user_contested_it_is_looked_at_again(rig: Rig) -> None:
    """Between the contest's two looks at the first attempt its grant became known: contested without it, the link would go on."""
    grant = await rig.state(rig.linker(), await rig.code("acct-1"), "unclaimed")
    time, given = rig.time(), nonce(rig.time(), "acct-1")
    await rig.sign_in("t1", given, time, "u1")
    first = await rig.store.attempt("t1")
    assert first
    after, move = claims.matched(first, grant, rig.now)
    assert move
    await rig.store.claim(first, after, grant, move, rig.now)
    second = replace(first, attempt="t2", partner_user="u2", counter=0)

    async def contest() -> None:
        async with rig.database.begin() as connection:
            await _collide(connection, [Collision(first, second)], set(), rig.now)

    with pytest.raises(Unavailable):  # the driver brings the same batch again
        await contest()
    await rig.sign_in("t2", given, time, "u2")
    assert [found.state for name in ("t1", "t2") if (found := await rig.store.attempt(name))] == ["contested"] * 2
    [left] = await rig.grants(grant.code_hash)
    assert (left.state, left.attempt) == ("unclaimed", None)


class Away:
    """A store whose named call fails so often, before or after it did its work."""

    def __init__(self, inner: Store, call: str, times: int, error: type[Exception], *, done: bool) -> None:
        self._inner, self._call, self._left, self._error, self._done = inner, call, times, error, done

    def __getattr__(self, name: str) -> object:
        found = getattr(self._inner, name)
        return self._failing(found) if name == self._call else found

    def _failing(self, call: Any) -> object:  # noqa: ANN401 - any of the store's
        async def failing(*given: object, **named: object) -> object:
            self._left -= 1
            if self._left < 0:
                return await call(*given, **named)
            if self._done:
                await call(*given, **named)
            raise self._error

        return failing


@pytest.mark.parametrize(
    ("call", "times", "error", "done"),
    [
        ("apply", 3, StoreUnavailable, False),
        ("apply", 1, OutcomeUnknown, True),
        ("apply", 1, OutcomeUnknown, False),
        ("intend", 1, OutcomeUnknown, True),
    ],
)
async def test_an_exchange_survives_a_store_that_goes_away(
    rig: Rig,
    call: str,
    times: int,
    error: type[Exception],
    done: bool,  # noqa: FBT001 - a table
) -> None:
    code = await rig.code("acct-1")
    grant = await rig.state(rig.linker(store=Away(rig.store, call, times, error, done=done)), code, "unclaimed")
    assert grant.access is not None
    assert rig.ring.count("exchange") == 1


async def test_tokens_that_come_after_another_linker_gave_up_are_kept(rig: Rig) -> None:
    code = await rig.code("acct-1")

    class Paused:
        """Ring's answer comes so late that the lease is over and somebody else has looked."""

        timeout, longest = rig.api.timeout, rig.api.longest

        def __getattr__(self, name: str) -> object:
            return getattr(rig.api, name)

        async def exchange(self, app: Any, text: str, within: float) -> object:  # noqa: ANN401 - handed through
            answer = await rig.api.exchange(app, text, within)
            await rig.let_leases_end()
            lost = await rig.state(rig.linker(), code, "lost")
            assert lost.reason
            return answer

    grant = await rig.state(rig.linker(api=Paused()), code, "unclaimed")
    assert grant.account == "acct-1"
    assert rig.ring.ledger.codes_sent_twice() == []


async def test_the_newest_of_a_thousand_grants_is_found_and_the_oldest_too(rig: Rig) -> None:
    template = saga.received(code_hash="0" * 64, code=b"", app="first", stranger=False, at=rig.now)
    async with rig.database.begin() as connection:
        for number in range(1_000):
            at = rig.now - 3_000 + number
            known = replace(template, code_hash=f"{number:064x}", state="unclaimed", stage="wait", account=f"old-{number}")
            known = replace(known, received_at=at, generation=int(at * 1e6), pool=int(at * 1e6), open_at=at, due_at=at + 1e6)
            await add_grants(connection, [known])
            await insert_ignore(connection, accounts, [asdict(Account(account=f"old-{number}")) | {"behind": False}])
    for attempt, account in (("t1", "old-999"), ("t2", "old-0")):
        await rig.sign_in(attempt, nonce(rig.time(), account), rig.time())

    async def both() -> bool:
        found = [await rig.store.attempt(name) for name in ("t1", "t2")]
        return all(attempt and attempt.grant for attempt in found)

    linker = rig.linker()
    async with linker:
        await rig.turn(linker, both, 20)
    assert [found.grant for name in ("t1", "t2") if (found := await rig.store.attempt(name))] == [f"{n:064x}" for n in (999, 0)]


async def test_a_strangers_codes_wait_behind_and_are_counted_out(rig: Rig) -> None:
    junk = [await rig.code(f"junk-{number}", stranger=True) for number in range(30)]
    mine = await rig.code("acct-1")
    linker, began = rig.linker(), steady()
    async with linker:
        for _ in range(3):
            await rig.turn_once(linker)
            if linker._running:
                await asyncio.wait(linker._running)
    [grant] = await rig.grants(mine)
    assert grant.state == "unclaimed"
    assert sum(found.state != "received" for found in await rig.grants(*junk)) <= 10 * (steady() - began) + 10


@pytest.mark.postgres
async def test_what_was_announced_is_noted_beside_an_account_whose_link_moves(postgres_url: str) -> None:
    async with connect(postgres_url) as database:
        await database.create_all()
        store, names = Store(database), ("acct-1", "acct-2")
        async with database.begin() as connection:
            rows = [asdict(Account(account=name, version=1)) | {"behind": True} for name in names]
            await insert_ignore(connection, accounts, rows)
        told = await store.behind(10)
        async with database.begin() as connection:
            await hold(connection, Names(accounts={"acct-1"}))
            async with asyncio.timeout(3):
                await store.announced(told)
        assert [account.account for account in await store.behind(10)] == ["acct-1"]
        await store.announced(told)
        assert await store.behind(10) == []
