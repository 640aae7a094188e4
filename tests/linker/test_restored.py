"""A restored store believes the bus, announces everything above what was told, and renews every token; twice does no harm."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from linker.announce import AGAIN, Announce
from linker.restored import Restored, lost_since, removed_since
from linker.setback import LEAP, Mending
from schemas.records import AccountChanged
from schemas.topics import FIXED
from tests.linker.rig import AT, Rig
from tests.linker.ring import nonce
from workers.bus import memory
from workers.bus.contract import Bus, Record
from workers.runtime import setback

NOW = datetime.fromtimestamp(AT, UTC)


def changed(account: str, version: int, state: str = "completed", generation: int = 1) -> AccountChanged:
    linked = state == "completed"
    return msgspec.convert(
        {"account": account, "version": version, "generation": generation, "state": state, "linked": linked, "at": NOW},
        AccountChanged,
    )


def test_who_was_linked_since_is_lost_and_who_ended_since_is_nobodys_concern() -> None:
    told = {"new": changed("new", 4), "old": changed("old", 9), "gone": changed("gone", 3, "removed"), "forgotten": None}
    (lost,) = lost_since(told, {"old": 2}, AT)
    assert (lost.account, lost.version, lost.state, lost.linked, lost.risk) == ("new", 4, "lost", False, "lost_restored")


def test_who_was_removed_since_is_removed_again() -> None:
    told = {
        "since": changed("since", 5, "removed"),
        "before": changed("before", 5, "removed"),
        "relinked": changed("relinked", 5),
        "forgotten": None,
        "unknown": None,
    }
    known = {"since": 4, "before": 5, "relinked": 4, "forgotten": 7}
    assert removed_since(told, known) == ["since", "forgotten"]


@pytest.mark.parametrize(
    ("held", "known", "expected"), [(0, 0, False), (8, 8, False), (8, 7, False), (8, 6, True), (3, 9, False)]
)
def test_a_bus_more_than_one_step_ahead_shows_that_the_store_was_set_back(held: int, known: int, expected: bool) -> None:  # noqa: FBT001
    assert setback.is_set_back(held, known) is expected


@dataclass
class World:
    rig: Rig
    bus: Bus
    sweep: Restored

    async def mend(self) -> None:
        while await self.sweep(self.now) == timedelta(0):
            pass

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.rig.now, UTC)

    async def tell(self, *changes: AccountChanged) -> None:
        await self.bus.publish(
            [Record(topic="account.changed", key=one.account.encode(), value=msgspec.json.encode(one)) for one in changes]
        )

    async def linked(self, account: str) -> str:
        code = await self.rig.code(account)
        await self.rig.sign_in(f"t-{account}", nonce(self.rig.time(), account), self.rig.time())
        await self.rig.state(self.rig.linker(), code, "completed")
        return code

    async def version(self, account: str) -> int:
        found = await self.rig.store.account(account)
        return found[0].version if found else 0


@asynccontextmanager
async def opened(rig: Rig) -> AsyncIterator[World]:
    async with memory.connect("memory:", namespace="test", topics=FIXED) as bus:
        yield World(rig, bus, Restored(Mending(rig.database), rig.store, bus, quiet=0.02))


@pytest.fixture
async def world(rig: Rig) -> AsyncIterator[World]:
    async with opened(rig) as made:
        yield made


async def test_nothing_happens_where_nothing_was_set_back(world: World) -> None:
    await world.linked("acct-1")
    before = await world.version("acct-1")
    assert await world.sweep(world.now) > timedelta(0)
    assert await world.version("acct-1") == before


async def test_a_restored_store_is_mended_and_ring_says_whose_tokens_are_dead(world: World) -> None:
    rig = world.rig
    codes = [await world.linked("acct-1"), await world.linked("acct-2"), await world.linked("acct-3")]
    told = await world.version("acct-1") + 5  # what the store that is gone had told
    since = changed("acct-9", 4)
    await world.tell(changed("acct-1", told), changed("acct-3", told, "removed"), since)
    await setback.found(rig.database, "dispatch", 3, 80, 20)
    (dead,) = (grant for grant in rig.ring.world.grants if grant.account == "acct-2")
    dead.spent.add(dead.refresh)
    dead.refresh = "renewed-in-the-hour-that-is-lost"
    await world.mend()
    await world.mend()
    await rig.settle(rig.linker(), *codes)
    states = [(grant.state, grant.risk) for grant in await rig.grants(*codes)]
    assert states == [("completed", None), ("lost", "lost_refused"), ("removed", None)]
    assert [await world.version(name) > LEAP for name in ("acct-1", "acct-2", "acct-3", "acct-9")] == [True] * 4
    listed = await rig.store.listed("", 10, at_risk=True)
    assert [(account.account, account.risk) for account, _ in listed] == [("acct-2", "lost_refused"), ("acct-9", "lost_restored")]
    assert rig.ring.count("refresh") == 2
    while await Announce(rig.store, world.bus)(world.now) == AGAIN:
        pass
    assert await rig.store.behind(10) == []


class Killed(BaseException):
    """What kill -9 is to a coroutine."""


@pytest.mark.parametrize("part", ["known", "remember", "leap", "renew", "advance"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_in_any_part_the_next_sweep_goes_on(world: World, part: str, when: str) -> None:
    rig = world.rig
    code = await world.linked("acct-1")
    await world.tell(changed("acct-9", 4))
    await setback.found(rig.database, "dispatch", 3, 80, 20)
    mortal = replace(world.sweep, mending=_dying(rig, part, when))
    with pytest.raises(Killed):
        await replace(world, sweep=mortal).mend()
    await world.mend()
    assert await world.sweep.mending.mark() is None
    assert (await rig.store.account("acct-9"))[0].risk == "lost_restored"  # type: ignore[index] # it is there
    (grant,) = await rig.grants(code)
    assert grant.due_at == rig.now


def _dying(rig: Rig, part: str, when: str) -> Mending:
    class Dying(Mending):
        pass

    inner: Callable[..., Awaitable[object]] = getattr(Mending, part)

    async def die(*given: object) -> object:
        if when == "after":
            await inner(*given)
        raise Killed

    setattr(Dying, part, die)
    return Dying(rig.database)
