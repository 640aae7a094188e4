"""An account is forgotten: nothing of it is stored, nothing is sent, the topic is told, and no code brings it back."""

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from deploy.demo.ring.faults import Fault
from linker import saga
from linker.announce import Announce
from linker.forget import Forget
from linker.forgetting import Forgetting
from linker.held import Names, hold
from linker.ledger import Moved
from linker.mishap import FORGOTTEN
from linker.tables import accounts, attempts, forgets, grants, subscriptions
from schemas import topics
from schemas.errors import Unavailable
from schemas.records import SubscriptionTold
from schemas.topics import ACCOUNT_CHANGED
from tests.linker.rig import AT, Rig, held
from tests.linker.ring import ENDPOINTS, nonce
from tests.linker.test_group import some_wait_for_a_lock
from tests.linker.test_killed import Fuse, Fused, is_kill
from tests.linker.test_removal import linked, stopped, told
from workers.bus import memory
from workers.bus.contract import Bus, Held, Lane, Stop
from workers.runtime.database import connect

NOW = datetime(2026, 2, 15, tzinfo=UTC)


async def stored(rig: Rig) -> str:
    async with rig.database.read() as connection:
        tables = (grants, attempts, accounts, subscriptions, forgets)
        return " ".join([str((await connection.execute(select(table))).all()) for table in tables])


async def heard(bus: Bus, wanted: int) -> Sequence[Held]:
    found, over = list[Held](), asyncio.Event()

    async def work(lane: Lane, ends: Stop) -> None:
        await lane.open()
        while not ends.is_set() and not over.is_set():
            found.extend(await lane.fetch(100, 0.02))
            if len(found) >= wanted:
                over.set()

    async with asyncio.timeout(20):
        await bus.consume([ACCOUNT_CHANGED.name], f"reader-{wanted}", work, over, atomic=False)
    return found


async def test_nothing_is_stored_of_it_and_the_topic_is_told_last(rig: Rig) -> None:
    await linked(rig, "t1", "acct-1")
    await linked(rig, "t2", "acct-2")
    await told(rig, "acct-1", rig.now, removed=False, subscription=SubscriptionTold(state="active"))
    forgetting = Forgetting(rig.database, rig.store.namespace)
    async with memory.connect("memory:", namespace="t", topics=[ACCOUNT_CHANGED]) as bus:
        await Announce(rig.store, bus)(NOW)
        assert await forgetting.ask("acct-1", rig.now)
        assert not await forgetting.ask("acct-1 ", rig.now)  # a mistyped one
        assert await stopped(rig, "acct-1") == "forgotten"
        assert await forgetting.pending("acct-1")
        await Forget(forgetting, bus)(NOW)
        assert not await forgetting.pending("acct-1")
        records = await heard(bus, 3)
    last = {record.key: record.value for record in records}
    assert last[b"acct-1"] == b""
    assert last[b"acct-2"] != b""
    rows = await stored(rig)
    assert "acct-1" not in rows
    assert "'t1'" not in rows
    assert "acct-2" in rows


async def test_whoever_was_forgotten_is_not_linked_again(rig: Rig) -> None:
    await Forgetting(rig.database, rig.store.namespace).ask("acct-1", rig.now)
    code = await rig.code("acct-1")
    grant = await rig.state(rig.linker(), code, "rejected")
    assert (grant.account, grant.access, grant.refresh) == (None, None, None)
    assert "forgotten" in (grant.reason or "")
    await told(rig, "acct-1", rig.now + 1, subscription=SubscriptionTold(state="active"))
    async with rig.database.read() as connection:
        for table in (accounts, subscriptions):
            assert (await connection.execute(select(table))).all() == []


async def test_a_forget_amid_a_link_leaves_nothing_of_it(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    forgetting, linker = Forgetting(rig.database, rig.store.namespace), rig.linker()
    async with linker, memory.connect("memory:", namespace="t", topics=[ACCOUNT_CHANGED]) as bus:
        for _ in range(6):
            await rig.turn_once(linker)
        await forgetting.ask("acct-1", rig.now)
        for _ in range(12):
            await rig.turn_once(linker)
            await Forget(forgetting, bus)(NOW)
    assert "acct-1" not in await stored(rig)
    assert [grant for grant in await rig.grants(code) if grant.account or grant.access] == []


async def test_a_sign_in_amid_which_its_account_is_forgotten_ends_at_once_with_the_reason_and_names_nobody(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    rig.ring.spoil("post", *[503] * 99)
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time(), user="user-1")
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time(), user="user-1")
    await rig.state(rig.linker(), code, "claimed")
    forgetting = Forgetting(rig.database, rig.store.namespace)
    async with memory.connect("memory:", namespace="t", topics=[ACCOUNT_CHANGED]) as bus:
        await forgetting.ask("acct-1", rig.now)
        await Forget(forgetting, bus)(NOW)
    for attempt, user in (("t1", "user-1"), ("t1", None), ("t2", "user-1"), ("t1", "another who confirmed it there")):
        told = await rig.explain.progress(attempt, user)
        assert told is not None
        assert (told.state, told.finding) == ("rejected", FORGOTTEN)
    assert not {"acct-1", "user-1", code} & {*await stored_words(rig)}
    again = rig.request("t1", nonce(rig.time(), "acct-1"), rig.time(), "user-1")
    await rig.feed(held("link.requested", "t1", again))
    assert (await rig.explain.progress("t1")) == told, "a record read twice begins nothing anew"


@pytest.mark.parametrize("call", ["refresh", "patch"])
async def test_a_call_to_ring_amid_which_its_account_is_forgotten_brings_no_row_of_it_back(rig: Rig, call: str) -> None:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    if call == "refresh":
        rig.now += 90_000
    else:
        await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    rig.ring.inner.faults.next(ENDPOINTS[call], Fault(delay=1.0))
    forgetting, linker = Forgetting(rig.database, rig.store.namespace), rig.linker()
    async with linker, memory.connect("memory:", namespace="t", topics=[ACCOUNT_CHANGED]) as bus:
        while not rig.ring.count(call):
            await rig.turn_once(linker)
        await forgetting.ask("acct-1", rig.now)
        await Forget(forgetting, bus)(NOW)
        while linker._running:
            await asyncio.wait(linker._running, timeout=0.1)
    assert "acct-1" not in await stored(rig)
    assert await rig.grants(code) == []


async def test_a_code_that_names_an_account_being_forgotten_breaks_no_step_of_its_other_links(rig: Rig) -> None:
    linked_one = await linked(rig, "t1", "acct-1")
    forgetting = Forgetting(rig.database, rig.store.namespace)
    await forgetting.ask("acct-1", rig.now)
    await rig.state(rig.linker(), await rig.code("acct-1", "canary-code-2"), "rejected")
    with pytest.raises(Moved):  # the account's row went with the code, and the link is not swept yet
        await rig.store.apply(linked_one, saga.removed(linked_one, "it ended", rig.now), rig.now)
    await forgetting.sweep("acct-1", rig.now)
    await forgetting.done(["acct-1"])
    assert "acct-1" not in await stored(rig)


@pytest.mark.postgres
async def test_a_sweep_waits_for_a_step_that_names_the_account_for_the_first_time(postgres_url: str) -> None:
    async with connect(postgres_url) as database:
        await database.create_all()
        forgetting, names = Forgetting(database, "t"), Names(accounts={"acct-1"}, fresh={"acct-1"})
        async with database.begin() as connection:
            await hold(connection, names)  # it looked for a forget before that was asked for
            await forgetting.ask("acct-1", AT)
            sweeping = asyncio.create_task(forgetting.sweep("acct-1", AT))
            await some_wait_for_a_lock(database)
        await sweeping
        async with database.read() as connection:
            assert (await connection.execute(select(accounts))).all() == []


async def stored_words(rig: Rig) -> list[str]:
    return re.findall(r"[\w-]+", await stored(rig))


@pytest.mark.parametrize("place", ["before sweep", "after sweep", "before exclusive", "before done", "after done"])
async def test_a_forget_killed_anywhere_is_done_by_the_next(rig: Rig, place: str) -> None:
    await linked(rig, "t1", "acct-1")
    forgetting = Forgetting(rig.database, rig.store.namespace)
    async with memory.connect("memory:", namespace="t", topics=[ACCOUNT_CHANGED]) as bus:
        await forgetting.ask("acct-1", rig.now)
        fuse = Fuse((place, 1))

        class Cut:
            def exclusive(self, name: str) -> object:
                fuse.burn("before exclusive")
                return bus.exclusive(name)

        try:
            await Forget(Fused(forgetting, fuse), Cut())(NOW)  # type: ignore[arg-type] # as much of them as is used
        except BaseException as error:
            if not is_kill(error):
                raise
        assert fuse.blown
        await Forget(forgetting, bus)(NOW)
        assert {record.value for record in await heard(bus, 1)} == {b""}
    assert "acct-1" not in await stored(rig)
    assert await stopped(rig, "acct-1") == "forgotten"


def test_the_date_covers_the_longest_kept_segment_of_any_topic() -> None:
    asked = datetime(2026, 2, 15, tzinfo=UTC)
    kept = [topic.retention for topic in topics.declared(["alerts"]) if topic.retention]
    assert topics.gone_by(asked) >= asked + max(kept) + max(kept) / 4
    assert topics.gone_by(asked) <= asked + timedelta(days=40)


async def test_a_name_that_no_row_can_have_ends_the_look_for_its_row(rig: Rig) -> None:
    async with asyncio.timeout(30):
        with pytest.raises((AssertionError, DBAPIError, Unavailable)):
            async with rig.database.begin() as connection:
                await hold(connection, Names(accounts={"a\0b"}, fresh={"a\0b"}))
