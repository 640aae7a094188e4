"""account.changed: each version of an account once, in order, by whoever holds the name."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from linker.announce import Announce
from linker.store import Store
from schemas.records import AccountChanged
from schemas.topics import declared
from tests.linker.rig import Rig
from tests.linker.ring import nonce
from workers.bus import memory
from workers.bus.contract import Bus, Lane, Revoked, Stop

NOW = datetime.now(UTC)


@pytest.fixture
async def bus(namespace: str) -> AsyncIterator[Bus]:
    async with memory.connect("memory:", namespace=namespace, topics=declared([])) as bus:
        yield bus


class Ended:
    """A Stop that a test sets."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.is_set, self.wait, self.set = self._event.is_set, self._event.wait, self._event.set


async def told(bus: Bus, wanted: int) -> list[AccountChanged]:
    """Return what a reader of the topic sees, once there are so many."""
    stop, found = Ended(), list[AccountChanged]()

    async def work(lane: Lane, over: Stop) -> None:
        start = await lane.open()
        while not over.is_set() and not stop.is_set():
            batch = await lane.fetch(100, 0.05)
            found.extend(msgspec.json.decode(held.value, type=AccountChanged) for held in batch)
            if len(found) >= wanted:
                stop.set()
        del start

    await bus.consume(["account.changed"], f"reader-{wanted}-{id(found)}", work, stop, atomic=False)
    return found


async def completed(rig: Rig, account: str = "acct-1", user: str = "u1") -> str:
    code = await rig.code(account)
    await rig.sign_in(f"t-{account}", nonce(rig.time(), account), rig.time(), user)
    await rig.state(rig.linker(), code, "completed")
    return code


async def test_a_completed_link_is_announced_once(rig: Rig, bus: Bus) -> None:
    await completed(rig)
    announce = Announce(rig.store, bus)
    assert await announce(NOW) == timedelta(0)
    assert await announce(NOW) > timedelta(0)
    [changed] = await told(bus, 1)
    assert (changed.account, changed.linked, changed.state, changed.partner_user) == ("acct-1", True, "completed", "u1")


async def test_versions_rise_with_every_change_and_are_told_in_order(rig: Rig, bus: Bus) -> None:
    announce = Announce(rig.store, bus)
    code = await rig.code("acct-1")
    for state in ("unclaimed", "awaiting", "completed"):
        if state == "awaiting":
            rig.ring.spoil("patch", 500)
            await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
        await rig.state(rig.linker(), code, state)
        await announce(NOW)
    found = await told(bus, 3)
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
                await successor(NOW)  # somebody else takes over while these rows are in the hand
            return found  # type: ignore[return-value] # as above

    with pytest.raises(Revoked):
        await Announce(Slow(rig.database), bus)(NOW)
    found = await told(bus, 1)
    assert [changed.version for changed in found] == sorted({changed.version for changed in found})


async def test_a_version_that_rises_while_it_is_told_is_told_again(rig: Rig) -> None:
    await completed(rig)
    [before] = await rig.store.behind(10)
    await rig.store.announced([msgspec.structs.replace(before, version=before.version - 1)])
    [still] = await rig.store.behind(10)
    assert (still.version, still.announced) == (before.version, before.version - 1)
    await rig.store.announced([still])
    await rig.store.announced([msgspec.structs.replace(before, version=1)])
    assert await rig.store.behind(10) == []
