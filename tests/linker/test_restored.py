"""A restored store believes the bus, announces everything above what was told, and renews every token; twice does no harm."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec import structs
from structlog.testing import capture_logs

from linker import history, saga
from linker.announce import AGAIN, Announce
from linker.moves import ended as ended_grant
from linker.restored import Restored, came_back_since, ends, lost_since, outdated, removed_since
from linker.rows import Account, Risk
from linker.setback import LEAP, Mending, Stood
from schemas.records import AccountChanged, LinkState
from schemas.topics import FIXED
from tests.linker.rig import AT, Rig
from tests.linker.ring import nonce
from tests.linker.test_removal import ended, known, stopped, told
from workers.bus import memory
from workers.bus.contract import Bus, Record
from workers.runtime import setback

NOW = datetime.fromtimestamp(AT, UTC)


def changed(
    account: str,
    version: int,
    state: str = "completed",
    generation: int = 1,
    user: str | None = None,
    *,
    reconnect: bool = False,
    at: float = AT,
) -> AccountChanged:
    said = {"account": account, "version": version, "generation": generation, "state": state}
    whose = "partner_user" if state == "completed" else "last_partner_user"
    return msgspec.convert(
        said | {"linked": state == "completed", "reconnect": reconnect, whose: user, "at": datetime.fromtimestamp(at, UTC)},
        AccountChanged,
    )


def test_who_was_linked_since_is_lost_and_who_ended_since_is_nobodys_concern() -> None:
    told = {"new": changed("new", 4), "old": changed("old", 9), "gone": changed("gone", 3, "removed"), "forgotten": None}
    told["named before"] = changed("named before", 3, "lost", user="u", reconnect=True)  # by an earlier restore
    lost, named = lost_since(told, {"old": Stood(2, 1, linked=True)}, AT)
    assert (lost.account, lost.version, lost.state, lost.linked, lost.risk) == ("new", 4, "lost", False, "lost_restored")
    assert (named.account, named.risk, named.partner_user) == ("named before", "lost_restored", "u")


def test_who_was_removed_since_is_removed_again() -> None:
    told = {
        "since": changed("since", 5, "removed"),
        "before": changed("before", 5, "removed"),
        "relinked": changed("relinked", 5),
        "forgotten": None,
        "unknown": None,
        "came and went": changed("came and went", 3, "removed"),
    }
    versions = {"since": 4, "before": 5, "relinked": 4, "forgotten": 7}
    known = {name: Stood(version, 1, linked=True) for name, version in versions.items()}
    assert removed_since(told, known) == ["since", "forgotten", "came and went"]


def test_who_was_told_of_since_as_anything_but_removed_has_come_back() -> None:
    told = {
        "linked": changed("linked", 5),
        "on its way": changed("on its way", 5, "unclaimed"),
        "lost": changed("lost", 5, "lost", reconnect=True),
        "unknown": changed("unknown", 5),
        "before": changed("before", 4),
        "removed": changed("removed", 5, "removed"),
        "forgotten": None,
    }
    known = {name: Stood(4, 1, linked=False) for name in told if name != "unknown"}
    assert [said.account for said in came_back_since(told, known)] == ["linked", "on its way", "lost", "unknown"]


def test_who_was_linked_anew_since_is_not_served_by_the_older_link() -> None:
    told = {
        "anew": changed("anew", 5, generation=2),
        "the same": changed("the same", 5),
        "on its way": changed("on its way", 5, "claimed", generation=2),
        "first": changed("first", 5),
        "removed since": changed("removed since", 3),
        "lost": changed("lost", 5, "lost", generation=2, reconnect=True),
        "lost again": changed("lost again", 5, "lost", reconnect=True),
        "lost before": changed("lost before", 5, "unclaimed", generation=2, reconnect=True),
        "forgotten": None,
        "unknown": changed("unknown", 5, generation=2),
    }
    known = {name: Stood(4, 1, linked=True) for name in ("anew", "the same", "on its way", "forgotten", "lost")}
    known |= {name: Stood(4, 1, linked=False) for name in ("first", "removed since", "lost again", "lost before")}
    assert [said.account for said in outdated(told, known)] == ["anew", "on its way", "first", "lost", "lost again"]


def test_a_loss_that_was_told_with_a_newer_grant_on_its_way_ends_the_link_and_not_that_grant() -> None:
    one = saga.received(code_hash="0" * 64, code=b"c", app="first", stranger=False, at=AT)
    open_one, served = (
        structs.replace(one, generation=2, state="unclaimed"),
        structs.replace(one, generation=1, state="completed"),
    )
    said = changed("acct", 5, "unclaimed", generation=2, reconnect=True)
    assert (ends(open_one, said), ends(served, said)) == (False, True)
    assert ends(open_one, changed("acct", 6, "expired", generation=2, reconnect=True))


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
        while await self.sweep(self.now) == timedelta(0) or await self.sweep.mending.mark():
            await Announce(self.rig.store, self.bus)(self.now)

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
        yield World(rig, bus, Restored(Mending(rig.database, rig.store.namespace), rig.store, bus, quiet=0.02))


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
    generation = (await rig.grants(codes[2]))[0].generation
    await world.tell(changed("acct-1", told), changed("acct-3", told, "removed", generation), changed("acct-9", 4))
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


async def test_an_account_that_another_user_linked_since_is_the_former_users_no_more(world: World) -> None:
    rig = world.rig
    code = await world.linked("acct-1")
    [old] = await rig.grants(code)
    told = changed("acct-1", await world.version("acct-1") + 5, generation=old.generation + 1, user="u-new")
    await world.tell(told)
    await setback.found(rig.database, "dispatch", 3, 80, 20)
    await world.mend()
    await world.mend()
    await rig.settle(rig.linker(), code)
    [lost] = await rig.grants(code)
    assert (lost.state, lost.risk, lost.access, rig.ring.count("refresh")) == ("lost", "lost_restored", None, 0)
    (seen,) = (await rig.explain.accounts(after="", limit=9, at_risk=True)).accounts
    assert (seen.linked, seen.partner_user, seen.last_partner_user) == (False, None, "u-new")
    while await Announce(rig.store, world.bus)(world.now) == AGAIN:
        pass
    last = (await history.told(world.bus, 0.02))["acct-1"]
    assert last
    assert (last.linked, last.partner_user, last.reconnect, last.version > LEAP) == (False, None, True, True)


async def test_the_same_backup_restored_once_more_is_mended_as_well(world: World) -> None:
    rig = world.rig
    code = await world.linked("acct-1")
    [old] = await rig.grants(code)
    told = changed("acct-1", LEAP + 9, "lost", generation=old.generation + 1, user="u-new", reconnect=True)
    await world.tell(told)  # by the mending of the first restore, or since the link was lost in that time
    await setback.found(rig.database, "dispatch", 3, 80, 20)
    await world.mend()
    [lost] = await rig.grants(code)
    assert (lost.state, lost.risk, lost.access) == ("lost", "lost_restored", None)
    (seen,) = (await rig.explain.accounts(after="", limit=9, at_risk=True)).accounts
    assert (seen.linked, seen.last_partner_user) == (False, "u-new")


async def test_a_copy_says_that_it_is_one_and_where_nothing_was_lost_nothing_is_harmed(world: World) -> None:
    rig = world.rig
    code = await world.linked("acct-1")
    while await Announce(rig.store, world.bus)(world.now) == AGAIN:
        pass
    version = await world.version("acct-1")
    await setback.restored(rig.database)
    with capture_logs() as lines:
        await world.mend()
    told = [line["event"] for line in lines if line["event"].startswith("store.")]
    assert told == ["store.set_back", "store.compared", "store.mended"]
    [grant] = await rig.grants(code)
    assert (grant.state, grant.due_at, await world.version("acct-1")) == ("completed", rig.now, version + LEAP)
    account = await known(rig)
    assert (account.linked, account.risk, await stopped(rig)) == (True, None, None)
    assert await setback_mark(rig) is None


async def setback_mark(rig: Rig) -> str | None:
    async with rig.database.read() as connection:
        return await setback.mark(connection)


async def test_restored_once_more_all_is_announced_above_what_was_told_since_it_was_mended_the_first_time(world: World) -> None:
    rig, names = world.rig, ("acct-1", "acct-2", "acct-3")
    [anew, same, gone] = await rig.grants(*[await world.linked(name) for name in names])
    await world.tell(
        changed("acct-1", 2 * LEAP + 7, generation=anew.generation + 1, user="u-new"),
        changed("acct-2", 2 * LEAP + 8, generation=same.generation, user="u1"),
        changed("acct-3", 2 * LEAP + 9, "removed", generation=gone.generation, user="u1"),
    )
    await setback.found(rig.database, "dispatch", 3, 80, 20)
    await world.mend()
    while await Announce(rig.store, world.bus)(world.now) == AGAIN:
        pass
    last = [said for name in names if (said := (await history.told(world.bus, 0.02))[name])]
    assert [said.state for said in last] == ["lost", "completed", "removed"]
    assert all(said.version > 2 * LEAP + 9 for said in last)


async def test_a_grant_on_its_way_goes_on_where_only_the_one_before_it_had_ended(world: World) -> None:
    rig = world.rig
    code = await world.linked("acct-1")
    rig.now += 5
    later = await rig.code("acct-1", "later")
    await rig.state(rig.linker(), later, "unclaimed")
    [_, new] = await rig.grants(code, later)
    await world.tell(changed("acct-1", await world.version("acct-1") + 5, "unclaimed", generation=new.generation))
    await setback.found(rig.database, "dispatch", 3, 80, 20)
    await world.mend()
    assert [grant.state for grant in await rig.grants(code, later)] == ["lost", "unclaimed"]


@pytest.mark.parametrize("before", ["unclaimed", "removed"])
async def test_an_account_that_was_not_linked_when_the_backup_was_made_must_connect_again(world: World, before: str) -> None:
    rig = world.rig
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    [old] = await rig.grants(code)
    if before == "removed":
        await rig.store.apply(old, saga.removed(old, "in the Ring app", rig.now), rig.now)
    generation = old.generation + (before == "removed")
    await world.tell(changed("acct-1", await world.version("acct-1") + 5, generation=generation, user="u-new"))
    await setback.found(rig.database, "dispatch", 3, 80, 20)
    await world.mend()
    await world.mend()
    (seen,) = (await rig.explain.accounts(after="", limit=9, at_risk=True)).accounts
    assert (seen.state, seen.risk, seen.linked, seen.last_partner_user) == ("lost", "lost_restored", False, "u-new")


async def test_of_an_account_that_was_first_linked_since_it_is_known_whose_it_was(world: World) -> None:
    await world.tell(changed("acct-9", 4, user="u-9"))
    await setback.found(world.rig.database, "dispatch", 3, 80, 20)
    await world.mend()
    (seen,) = (await world.rig.explain.accounts(after="", limit=9, at_risk=True)).accounts
    assert (seen.linked, seen.partner_user, seen.last_partner_user) == (False, None, "u-9")
    assert "remove the app in the Ring app and connect it again" in (seen.finding or "")
    while await Announce(world.rig.store, world.bus)(world.now) == AGAIN:
        pass
    last = (await history.told(world.bus, 0.02))["acct-9"]
    assert last
    assert (last.linked, last.partner_user) == (False, None)


async def test_the_stop_of_a_removal_in_the_backup_goes_where_the_home_was_linked_again_since(world: World) -> None:
    rig = world.rig
    codes = [await world.linked("acct-1"), await world.linked("acct-2")]
    for name, code in zip(("acct-1", "acct-2"), codes, strict=True):
        rig.ring.world.remove(rig.ring.world.accounts[name])
        rig.now += 10
        await told(rig, name, rig.now)
        await ended(rig, code)
    [old] = await rig.grants(codes[0])
    said = changed("acct-1", await world.version("acct-1") + 5, generation=old.generation + 1, user="u-new", at=rig.now + 60)
    await world.tell(said, changed("acct-2", await world.version("acct-2"), "removed"))
    await setback.found(rig.database, "dispatch", 3, 80, 20)
    await world.mend()
    assert [await stopped(rig, name) for name in ("acct-1", "acct-2")] == [None, "removed"]


@pytest.mark.parametrize(("end", "risk"), [("expired", None), ("lost", "lost_refused")])
async def test_who_was_linked_and_removed_in_the_lost_time_is_stopped_known_before_or_not(
    world: World, end: LinkState, risk: Risk | None
) -> None:
    rig = world.rig
    old = await rig.state(rig.linker(), await rig.code("acct-1"), "unclaimed")
    await rig.store.apply(old, ended_grant(old, end, "in the backup", rig.now, risk=risk), rig.now)
    later = changed("acct-1", await world.version("acct-1") + 5, "removed", generation=old.generation + 1, user="u-new")
    await world.tell(later, changed("acct-9", 7, "removed", user="u-9"))
    await setback.found(rig.database, "dispatch", 3, 80, 20)
    await world.mend()
    assert [await stopped(rig, name) for name in ("acct-1", "acct-9")] == ["removed", "removed"]
    last = (await history.told(world.bus, 0.02))["acct-1"]
    assert last
    assert (last.state, last.reconnect, last.last_partner_user, last.version > LEAP) == ("removed", False, "u-new", True)
    rig.now += 10
    codes = [await rig.code("acct-1", "canary-code-anew"), await rig.code("acct-9")]
    await rig.states(rig.linker(), "unclaimed", *codes)
    assert [await stopped(rig, name) for name in ("acct-1", "acct-9")] == [None, None]
    assert await world.version("acct-9") > LEAP, "whoever reads would take a lower one for old news"


@pytest.mark.parametrize("state", ["unclaimed", "completed"])
async def test_a_connection_made_anew_before_the_store_is_mended_stands_though_the_one_before_it_was_removed(
    world: World, state: str
) -> None:
    rig = world.rig
    [old] = await rig.grants(await world.linked("acct-1"))
    gone = changed("acct-1", await world.version("acct-1") + 5, "removed", generation=old.generation, user="u1")
    await world.tell(gone, changed("acct-9", 7, "removed", user="u-9"))
    await setback.found(rig.database, "dispatch", 3, 80, 20)
    rig.now += 3_600
    codes = [await rig.code("acct-1", "canary-code-anew"), await rig.code("acct-9")]
    await rig.states(rig.linker(), "unclaimed", *codes)
    if state == "completed":
        await rig.sign_in("anew", nonce(rig.time(), "acct-1"), rig.time(), user="u2")
        await rig.state(rig.linker(), codes[0], "completed")
    await world.mend()
    assert [grant.state for grant in await rig.grants(old.code_hash, *codes)] == ["removed", state, "unclaimed"]
    assert [await stopped(rig, name) for name in ("acct-1", "acct-9")] == [None, None]
    account = await known(rig)
    assert (account.state, account.partner_user) == (state, "u2" if state == "completed" else "u1")
    await rig.sign_in("later", nonce(rig.time(), "acct-9"), rig.time())
    await rig.state(rig.linker(), codes[1], "completed")
    assert (await known(rig, "acct-9")).linked


async def test_who_had_it_before_gets_nothing_of_who_linked_it_since_though_they_connect_before_the_store_is_mended(
    world: World,
) -> None:
    rig = world.rig
    [old] = await rig.grants(await world.linked("acct-1"))
    await rig.store.apply(old, saga.removed(old, "in the Ring app", rig.now), rig.now)
    said = changed("acct-1", await world.version("acct-1") + 5, generation=old.generation + 1, user="u-new", at=rig.now + 60)
    await world.tell(said)
    await setback.found(rig.database, "dispatch", 3, 80, 20)
    rig.now += 3_600
    code = await rig.code("acct-1", "canary-code-anew")
    await rig.state(rig.linker(), code, "unclaimed")
    await world.mend()
    assert ((await known(rig)).state, (await known(rig)).last_user) == ("unclaimed", "u-new")
    rig.now += 60
    await rig.sign_in("anew", nonce(rig.time(), "acct-1"), rig.time())
    await rig.state(rig.linker(), code, "completed")
    account = await known(rig)
    assert (account.user, account.since >= rig.now - 60) == ("u1", True)


@pytest.mark.parametrize("part", ["known", "stop"])
@pytest.mark.parametrize("before", ["completed", "lost"])
async def test_a_connection_that_comes_while_the_account_is_being_removed_again_stands(
    world: World, part: str, before: str
) -> None:
    rig = world.rig
    [old] = await rig.grants(await world.linked("acct-1"))
    if before == "lost":
        await rig.store.apply(old, ended_grant(old, "lost", "in the backup", rig.now, risk="lost_refused"), rig.now)
    codes = list[str]()

    class Slow(Mending):
        async def known(self, names: Collection[str]) -> dict[str, Stood]:
            before = await super().known(names)
            await self.came("known")
            return before

        async def stop(self, gone: Mapping[str, int | None], unknown: Collection[Account], now: float) -> None:
            await super().stop(gone, unknown, now)
            await self.came("stop")

        async def came(self, after: str) -> None:
            if after == part:
                codes.append(await rig.code("acct-1", "canary-code-anew"))
                await rig.state(rig.linker(), codes[0], "unclaimed")

    gone = changed("acct-1", await world.version("acct-1") + 5, "removed", generation=old.generation, user="u1")
    await world.tell(gone)
    await setback.found(rig.database, "dispatch", 3, 80, 20)
    rig.now += 3_600
    slow = replace(world.sweep, mending=Slow(rig.database, rig.store.namespace))
    await replace(world, sweep=slow).mend()
    over = "removed" if before == "completed" else before
    assert [grant.state for grant in await rig.grants(old.code_hash, *codes)] == [over, "unclaimed"]
    assert ((await known(rig)).state, await stopped(rig)) == ("unclaimed", None)


async def test_a_removal_proven_before_the_store_is_mended_is_not_undone_by_what_was_told_before_it(world: World) -> None:
    rig = world.rig
    [old] = await rig.grants(await world.linked("acct-1"))
    version = await world.version("acct-1") + 5
    await world.tell(changed("acct-1", version, generation=old.generation + 1, user="u-new", at=rig.now + 60))
    await setback.found(rig.database, "dispatch", 3, 80, 20)
    rig.ring.world.remove(rig.ring.world.accounts["acct-1"])
    rig.now += 3_600
    await told(rig, "acct-1", rig.now)
    await ended(rig, old.code_hash)
    await world.mend()
    account = await known(rig)
    assert (account.state, account.risk, account.last_user) == ("removed", None, "u-new")
    assert await stopped(rig) == "removed"
    rig.now += 10
    code = await rig.code("acct-1", "canary-code-anew")
    await rig.state(rig.linker(), code, "unclaimed")
    account = await known(rig)
    assert (account.last_user, await stopped(rig)) == ("u-new", None)


class Killed(BaseException):
    """What kill -9 is to a coroutine."""


@pytest.mark.parametrize("part", ["known", "free", "stop", "remember", "rise", "leap", "renew", "advance"])
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


@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_as_it_tells_that_the_store_is_a_copy_the_next_sweep_tells_it_or_goes_on(world: World, when: str) -> None:
    await world.linked("acct-1")
    await setback.restored(world.rig.database)
    with pytest.raises(Killed), capture_logs() as first:
        await replace(world, sweep=replace(world.sweep, mending=_dying(world.rig, "advance", when))).mend()
    with capture_logs() as second:
        await world.mend()
    told = ["store.set_back" in {line["event"] for line in lines} for lines in (first, second)]
    assert told == [True, when == "before"]
    assert await world.version("acct-1") > LEAP


def _dying(rig: Rig, part: str, when: str) -> Mending:
    class Dying(Mending):
        pass

    inner: Callable[..., Awaitable[object]] = getattr(Mending, part)

    async def die(*given: object) -> object:
        if when == "after":
            await inner(*given)
        raise Killed

    setattr(Dying, part, die)
    return Dying(rig.database, rig.store.namespace)


async def test_an_account_that_was_linked_and_removed_by_another_since_is_the_others_last(world: World) -> None:
    """Who had it when the backup was made must not get what came in between, should they link it again."""
    [old] = await world.rig.grants(await world.linked("acct-1"))
    await world.tell(changed("acct-1", 9, "removed", old.generation + 1, user="other"))
    await setback.found(world.rig.database, "dispatch", 3, 80, 20)
    await world.mend()
    account, _ = await world.rig.store.account("acct-1") or (None, None)
    assert account is not None
    assert (account.state, account.last_user) == ("removed", "other")
