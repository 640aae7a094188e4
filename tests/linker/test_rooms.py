"""A kind of call to Ring that hangs, or that thousands repeat, holds up no other; in real time, as hanging takes it."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import pytest
from msgspec.structs import asdict, replace

from deploy.demo.ring.faults import Fault
from linker import claims, moves, saga
from linker.broker import Broker
from linker.budget import Budget
from linker.held import columns_of
from linker.ringapi import connect as connect_ring
from linker.rooms import rooms
from linker.rows import ASIDE, CODES, PATCHES, STRANGERS, Account, Attempt, Grant, Stage
from linker.store import Store, add_grants
from linker.tables import accounts, attempts
from schemas.ring import api
from tests.linker.rig import APPS, Clock, Rig
from tests.linker.ring import ENDPOINTS, nonce, serve
from workers.runtime.database import connect
from workers.runtime.rows import insert_ignore

MANY = 300  # rows whose call hangs: for eight seconds, 64 at a time
HANGS = Fault(delay=60)
SOON = 6.0  # seconds: before the first that hang are given up


class Real(Clock):
    """The time, which nobody moves."""

    def __init__(self) -> None:
        """Hold nothing."""

    @property
    def now(self) -> float:  # type: ignore[override] # read alone
        return time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def rig(store_url: str) -> AsyncIterator[Rig]:
    clock = Real()
    async with (
        serve(clock) as ring,
        connect(store_url) as database,
        connect_ring(api_url=ring.url, oauth_url=ring.url, apps=APPS) as calls,
    ):
        await database.create_all()
        yield Rig(database, ring, calls, Store(database), clock)


@dataclass
class Links:
    """Links of other users, all due, at one stage."""

    rig: Rig
    stage: Stage

    async def fill(self) -> None:
        rows = [self._one(number) for number in range(MANY)]
        async with self.rig.database.begin() as connection:
            await add_grants(connection, rows)
            named = [asdict(Account(account=row.account)) | {"behind": False} for row in rows if row.account]
            await insert_ignore(connection, accounts, named)
            await insert_ignore(connection, attempts, [columns_of(self._signed_in(number)) for number in range(MANY)])

    def _signed_in(self, number: int) -> Attempt:
        asked = self.rig.request(f"a{number}", "x" * 43, self.rig.time(), f"u{number}")
        known = {"attempt": asked.attempt, "secret": asked.secret, "time": asked.time, "partner_user": asked.partner_user}
        one = claims.requested(**known, nonce_hash=asked.attempt, at=self.rig.now)
        return replace(one, state="claimed", due_at=None)

    def _until(self, now: float) -> float | None:
        return None if self.stage == "refresh" else now + 540

    def _one(self, number: int) -> Grant:
        now = self.rig.now - 1
        state = {"patch": "awaiting", "refresh": "completed"}.get(self.stage, "claimed")
        one = saga.received(code_hash=f"{number:064x}", code=b"", app="first", stranger=False, at=now - 60 + number / 1e3)
        one = replace(one, state=state, account=f"other-{number}", open_at=now, code=None, partner_user=f"u{number}")
        one = moves.to(replace(one, attempt=f"a{number}", nonce_until=self._until(now), posts=1), self.stage, now)
        one = replace(one, resume="rest" if self.stage == "refresh" else None)
        tokens = api.Tokens(access_token=f"a{number}", refresh_token=f"r{number}", expires_in=14_400)
        return moves.hold(one, self.rig.vault.seal(one, tokens, now))


async def all_are(rig: Rig, state: str, codes: Sequence[str], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while {grant.state for grant in await rig.grants(*codes)} != {state}:  # noqa: ASYNC110 - another's row has no event
            await asyncio.sleep(0.05)


async def sign_in(rig: Rig, account: str) -> None:
    at = rig.time()
    await rig.sign_in(f"t-{account}", nonce(at, account), at)


async def served(rig: Rig, account: str) -> Grant:
    """Let an account be linked, its access token be as good as expired, and nothing be due."""
    code = await rig.code(account)
    await sign_in(rig, account)
    await all_are(rig, "completed", [code], SOON)
    [grant] = await rig.grants(code)
    await rig.store.apply(grant, saga.Move(replace(grant, expires_at=rig.now + 1)), rig.now)
    return grant


@pytest.mark.parametrize("call", ["patch", "post"])
async def test_while_one_call_hangs_codes_are_exchanged_sign_ins_find_them_and_the_broker_lends(rig: Rig, call: Stage) -> None:
    stop, linker = asyncio.Event(), rig.linker(budget=Budget(rig.places, 100))
    broker = Broker(rig.store, rig.vault, linker.wake, rig.clock)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(linker.run(stop))
        await served(rig, "served")
        rig.ring.inner.faults.often(ENDPOINTS[call], 1.0, HANGS)
        await Links(rig, call).fill()
        await asyncio.sleep(1.0)
        codes = [await rig.code(f"acct-{number}") for number in range(10)]
        linker.wake.set()
        await all_are(rig, "unclaimed", codes, SOON)
        loan = await broker.lend("served", None)
        assert loan is not None
        assert loan.access_token is not None
        await sign_in(rig, "acct-1")
        linker.wake.set()
        await all_are(rig, "awaiting" if call == "patch" else "claimed", codes[1:2], SOON)
        running.cancel()


async def test_while_renewals_that_the_broker_asked_for_hang_the_tokens_of_a_sign_in_are_asked_for(rig: Rig) -> None:
    linker = rig.linker(budget=Budget(rig.places, 100))
    async with asyncio.TaskGroup() as group:
        running = group.create_task(linker.run(asyncio.Event()))
        code = await rig.code("acct-1")
        await all_are(rig, "unclaimed", [code], SOON)
        [grant] = await rig.grants(code)
        await rig.store.apply(grant, saga.Move(replace(grant, expires_at=rig.now + 1)), rig.now)
        rig.ring.inner.faults.often(ENDPOINTS["refresh"], 1.0, HANGS)
        await Links(rig, "refresh").fill()
        linker.wake.set()
        await asyncio.sleep(1.0)
        await sign_in(rig, "acct-1")
        linker.wake.set()
        async with asyncio.timeout(SOON):
            while (await rig.grants(code))[0].stage != "refreshing":  # noqa: ASYNC110 - another's row has no event
                await asyncio.sleep(0.05)
        running.cancel()


async def test_while_thousands_are_refused_at_once_a_new_code_waits_for_none_of_them(rig: Rig) -> None:
    linker = rig.linker(budget=Budget(rig.places, 20))
    rig.ring.inner.faults.often(ENDPOINTS["patch"], 1.0, Fault(503))
    await Links(rig, "patch").fill()
    async with asyncio.TaskGroup() as group:
        running = group.create_task(linker.run(asyncio.Event()))
        await asyncio.sleep(2.0)
        code = await rig.code("acct-1")
        linker.wake.set()
        await all_are(rig, "unclaimed", [code], SOON)
        running.cancel()


def test_who_moves_to_a_line_takes_room_there_and_leaves_its_own_and_stays_where_that_is_full() -> None:
    mine = rooms(8)
    assert {line: mine.free(line) for line in (CODES, PATCHES, ASIDE, STRANGERS)} == {
        CODES: 8,
        PATCHES: 8,
        ASIDE: 4,
        STRANGERS: 2,
    }
    seat, others = mine.enter(CODES), [mine.enter(PATCHES) for _ in range(8)]
    assert not seat.moves(PATCHES)
    assert (mine.free(CODES), mine.free(PATCHES)) == (7, 0)
    others.pop().leave()
    assert seat.moves(PATCHES)
    assert seat.moves(PATCHES), "it is there"
    assert (mine.free(CODES), mine.free(PATCHES)) == (8, 0)
    seat.leave()
    assert mine.free(PATCHES) == 1
