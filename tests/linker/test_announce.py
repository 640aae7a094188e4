"""account.changed: each version of an account once, in order, by whoever holds the name."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from linker.announce import AGAIN, IDLE, Announce
from linker.store import Store
from schemas.errors import Unavailable
from schemas.records import AccountChanged
from schemas.topics import ACCOUNT_CHANGED
from tests.linker.reader import told
from tests.linker.rig import Rig
from tests.linker.ring import nonce
from workers.bus import kafka, memory, sqlite
from workers.bus.contract import Bus, Revoked

NOW = datetime.now(UTC)


TOPICS = [ACCOUNT_CHANGED]


@pytest.fixture(params=["memory", "sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def bus_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "kafka":
        return str(request.getfixturevalue("kafka_url"))
    return f"sqlite:///{tmp_path}/bus.db" if request.param == "sqlite" else "memory:"


@pytest.fixture
async def bus(bus_url: str, namespace: str) -> AsyncIterator[Bus]:
    engine = {"kafka": kafka, "sqlite": sqlite, "memory": memory}[bus_url.partition(":")[0]]
    if engine is kafka:
        await kafka.apply(bus_url, namespace=namespace, topics=TOPICS, single_broker=True)
    async with engine.connect(bus_url, namespace=namespace, topics=TOPICS) as bus:
        yield bus


async def swept(announce: Announce) -> timedelta:
    """Sweep as its driver does: again while the bus is away, as a new broker is that has no coordinator yet."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await announce(NOW)
            except Unavailable:
                await asyncio.sleep(0.1)


async def completed(rig: Rig, account: str = "acct-1", user: str = "u1") -> str:
    code = await rig.code(account)
    await rig.sign_in(f"t-{account}", nonce(rig.time(), account), rig.time(), user)
    await rig.state(rig.linker(), code, "completed")
    return code


async def test_a_completed_link_is_announced_once(rig: Rig, bus: Bus) -> None:
    await completed(rig)
    announce = Announce(rig.store, bus)
    assert await swept(announce) == AGAIN
    assert await swept(announce) == IDLE
    [changed] = await told(bus, "account.changed", AccountChanged, 1)
    assert (changed.account, changed.linked, changed.state, changed.partner_user) == ("acct-1", True, "completed", "u1")
    assert changed.apps == ("first",)


async def test_versions_rise_with_every_change_and_are_told_in_order(rig: Rig, bus: Bus) -> None:
    announce = Announce(rig.store, bus)
    code = await rig.code("acct-1")
    for state in ("unclaimed", "awaiting", "completed"):
        if state == "awaiting":
            rig.ring.spoil("patch", 500)
            await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
        await rig.state(rig.linker(), code, state)
        await swept(announce)
    found = await told(bus, "account.changed", AccountChanged, 3)
    assert [(changed.state, changed.linked) for changed in found] == [
        ("unclaimed", False),
        ("awaiting", False),
        ("completed", True),
    ]
    assert [changed.version for changed in found] == sorted({changed.version for changed in found})
    assert [changed.partner_user for changed in found] == [None, None, "u1"]


async def test_a_late_writer_is_fenced_and_what_it_held_is_told_by_its_successor(rig: Rig, bus: Bus) -> None:
    await completed(rig)
    successor = Announce(rig.store, bus)

    class Slow(Store):
        async def behind(self, limit: int) -> list[object]:  # type: ignore[override] # only handed through
            found = await super().behind(limit)
            if limit > 1:
                await swept(successor)  # somebody else takes over while these rows are in the hand
            return found  # type: ignore[return-value] # as above

    with pytest.raises(Revoked):
        await swept(Announce(Slow(rig.database), bus))
    found = await told(bus, "account.changed", AccountChanged, 1)
    assert [changed.version for changed in found] == sorted({changed.version for changed in found})


async def test_nothing_is_left_to_tell_where_another_linker_was_first(rig: Rig) -> None:
    await completed(rig)
    behind = await rig.store.behind(10)
    for told_now in (behind, await rig.store.behind(0)):
        await rig.store.announced(told_now)
    assert await rig.store.behind(10) == []


async def test_a_version_that_rises_while_it_is_told_is_told_again(rig: Rig) -> None:
    await completed(rig)
    [before] = await rig.store.behind(10)
    await rig.store.announced([msgspec.structs.replace(before, version=before.version - 1)])
    [still] = await rig.store.behind(10)
    assert (still.version, still.announced) == (before.version, before.version - 1)
    await rig.store.announced([still])
    await rig.store.announced([msgspec.structs.replace(before, version=1)])
    assert await rig.store.behind(10) == []
