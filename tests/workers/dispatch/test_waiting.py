"""Events that come before their account's link, through the public door on both pairs of engines."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import func, select

from schemas.topics import WEBHOOK_RECEIVED
from tests.workers.dispatch.house import (
    NAMESPACE,
    NOW,
    House,
    body,
    changed,
    dispatched,
    everything,
    finished,
    received,
    recorded,
)
from workers.bus.contract import Bus, Record
from workers.dispatch.census import Census
from workers.dispatch.job import Dispatch
from workers.dispatch.parked import Bounds
from workers.dispatch.tables import accounts, claims, devices
from workers.runtime import setback, stops
from workers.runtime.lane import lanes
from workers.runtime.stops import Why
from workers.runtime.waiting import lines
from workers.runtime.waiting import waiting as rows

GAUGES = ("ringhook_waiting_events", "ringhook_waiting_oldest_age_seconds")
TOMBSTONE = Record(topic="account.changed", key=b"A", value=b"")


def ended(how: str) -> float:
    return REGISTRY.get_sample_value("ringhook_waiting_ended_total", {"how": how}) or 0.0


@pytest.fixture
def waiting(house: House) -> House:
    house.bounds = Bounds(per_account=5)
    return house


async def test_events_from_before_the_link_come_after_it_linked_once_in_order_and_before_newer_ones(waiting: House) -> None:
    early = [received(body(name)) for name in ("1", "2", "1")]
    assert await waiting.tell([*early, received(body("3", kind="app_integration_added"))]) == ([], [])
    await Census(waiting.database)(NOW + timedelta(hours=1))
    told = [REGISTRY.get_sample_value(name, {"lane": str(lane)}) or 0 for name in GAUGES for lane in range(12)]
    assert sorted(told)[-3:] == [0, 3, 3600]
    events, dead = await waiting.tell([received(body("4"))], [changed("A", 1), received(body("5"))], [received(body("2"))])
    assert [(event.id, event.linked, event.partneruserid) for event in events] == [(name, True, "u") for name in "12345"]
    assert dead == []


async def test_an_event_from_before_another_users_link_never_names_that_user(waiting: House) -> None:
    later = NOW + timedelta(hours=1)
    away = [changed("A", 1), changed("A", 2, linked=False, user=None, state="lost")]
    events, _ = await waiting.tell(
        away, [received(body("1"))], [changed("A", 3, user="v", at=later, since=later)], [received(body("2", at=later), at=later)]
    )
    assert [(event.id, event.linked, event.partneruserid) for event in events] == [("1", False, None), ("2", True, "v")]


async def test_what_waits_for_a_removed_account_goes_nowhere_and_its_copies_neither(waiting: House) -> None:
    before = ended("cancelled")
    removed = changed("A", 1, linked=False, user=None)
    farewell = received(body("2", kind="app_integration_removed"))
    events, dead = await waiting.tell([received(body("1"))], [farewell], [removed], [changed("A", 2)], [received(body("1"))])
    assert [(event.id, event.linked) for event in events] == [("2", False)]
    assert (dead, ended("cancelled") - before) == ([], 1)


@pytest.mark.parametrize("before", [[], [changed("A", 1), changed("A", 2, linked=False, user=None, state="lost")]])
async def test_a_removal_is_told_where_no_link_stands_and_what_waits_is_cancelled_by_it(
    waiting: House, before: list[Record]
) -> None:
    farewell = received(body("2", kind="app_integration_removed"))
    removed = changed("A", 3, linked=False, user=None)
    events, dead = await waiting.tell([*before, received(body("1")), farewell], [removed], [changed("A", 4)])
    assert ([(event.id, event.linked) for event in events], dead) == ([("2", False)], [])


async def test_what_comes_between_a_removal_and_its_proof_waits_for_the_new_connection(waiting: House) -> None:
    before, farewell = ended("cancelled"), received(body("2", kind="app_integration_removed"))
    removed = changed("A", 1, linked=False, user=None)
    events, dead = await waiting.tell(
        [received(body("1")), farewell, received(body("3", kind="device_added"))],
        [received(body("4"))],
        [removed],
        [received(body("5"))],
        [changed("A", 2)],
    )
    assert [(event.id, event.linked) for event in events] == [("2", False), ("3", True), ("4", True), ("5", True)]
    assert (dead, ended("cancelled") - before) == ([], 1)


LATER = NOW + timedelta(seconds=10)
CONNECTED = round(NOW.timestamp() * 1_000_000)
CONNECTED_ANEW = round((NOW + timedelta(seconds=5)).timestamp() * 1_000_000)


async def test_what_waited_for_a_connection_that_ended_is_never_released_to_the_next_one(waiting: House) -> None:
    """Its removal is told, and before Ring has proven it the user has connected anew, so that nobody says `removed`."""
    before, farewell = ended("cancelled"), received(body("2", kind="app_integration_removed", at=NOW + timedelta(seconds=1)))
    late = received(body("3", at=LATER), LATER)
    events, dead = await waiting.tell(
        [received(body("1")), late, farewell, received(body("4", at=LATER), LATER)],
        [changed("A", 1, user="v", generation=CONNECTED_ANEW)],
        [received(body("1"))],
    )
    named = [(event.id, event.linked, event.partneruserid) for event in events]
    assert named == [("2", False, None), ("3", True, "v"), ("4", True, "v")]
    assert (dead, ended("cancelled") - before) == ([], 1)


async def test_a_removal_that_is_told_late_takes_nothing_of_the_next_connection(waiting: House) -> None:
    """The next one's event was there before the removal's webhook, and Ring proved the removal before its code was exchanged."""
    before, farewell = ended("cancelled"), received(body("2", kind="app_integration_removed", at=NOW + timedelta(seconds=1)))
    events, dead = await waiting.tell(
        [received(body("w0")), received(body("n0", at=LATER), LATER)],
        [received(body("w1", at=NOW + timedelta(seconds=1)), LATER), farewell, received(body("n1", at=LATER), LATER)],
        [changed("A", 1, linked=False, user=None)],
        [changed("A", 2, user="v", generation=CONNECTED_ANEW)],
    )
    assert [(event.id, event.partneruserid) for event in events] == [("2", None), ("n0", "v"), ("n1", "v")]
    assert (dead, ended("cancelled") - before) == ([], 2)


async def test_in_one_batch_too_a_removal_is_about_what_happened_before_it(waiting: House) -> None:
    farewell = received(body("2", kind="app_integration_removed", at=NOW + timedelta(seconds=1)))
    events, _ = await waiting.tell(
        [received(body("w0")), received(body("n0", at=LATER), LATER), farewell, changed("A", 1, linked=False, user=None)],
        [changed("A", 2, user="v", generation=CONNECTED_ANEW)],
    )
    assert [(event.id, event.partneruserid) for event in events] == [("2", None), ("n0", "v")]


@pytest.mark.parametrize("wait", [timedelta(days=1), timedelta(0)])
async def test_where_the_store_was_set_back_events_wait_until_it_is_told_again_how_their_accounts_stand(
    waiting: House, wait: timedelta
) -> None:
    """A was linked by another after the backup, B stands; their lanes are not read before the linker has mended the store."""
    waiting.bounds = msgspec.structs.replace(waiting.bounds, wait=wait)
    old = [[received(body(f"a{number}")), received(body(f"b{number}", account="B", device="E"))] for number in range(4)]
    await waiting.tell([changed("A", 1, user="former"), changed("B", 1, user="stays")], *old)
    async with waiting.database.begin() as connection:
        await connection.execute(lanes.update().values(n=lanes.c.n - 3))
    farewell = received(body("f4", kind="app_integration_removed"))  # of whoever has the account now
    many = [
        received(body(f"b{number}", account="B", device="E")) for number in (6, 7, 8, 9)
    ]  # more than an account may have waiting
    orphan = received(body("b5", account=None, device="E"))
    new = [received(body("a4")), farewell, received(body("b4", account="B", device="E")), orphan, *many]
    async with waiting.open() as bus, waiting.running(bus) as job:
        before = await bus.committed("dispatch", WEBHOOK_RECEIVED.name)
        lanes_of_both = {index for index, position in before.items() if position}
        await bus.publish(new)
        await asyncio.sleep(1.5)
        after = await bus.committed("dispatch", WEBHOOK_RECEIVED.name)  # b5's own lane may have handed it on to B's by now
        assert {index: after[index] for index in lanes_of_both} == {index: before[index] for index in lanes_of_both}
        async with waiting.database.begin() as connection:
            assert await setback.advance(connection, setback.FOUND, None)
        await caught_up(bus)
        await asyncio.sleep(1)  # as long as it takes to look for what has waited long enough
        assert await waiting.waiting() == 4  # lines of two accounts, and of all in their lanes
        again = [changed("A", 1_000_002, user="v", since=LATER), changed("B", 1_000_002, user="stays")]
        await bus.publish([*again, received(body("a5", at=LATER), LATER)])
        await caught_up(bus)
        async with asyncio.timeout(20):
            while await waiting.waiting() or job._hasty:  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0.02)
        events, dead = await recorded(bus)
    named = {event.id: (event.linked, event.partneruserid) for event in events if event.id[1] > "3"}
    stays = (True, "stays")
    nobody = (False, None)
    assert named == {"a4": nobody, "f4": nobody, "a5": (True, "v")} | dict.fromkeys(("b4", "b5", "b6", "b7", "b8", "b9"), stays)
    assert dead == []


async def caught_up(bus: Bus) -> None:
    async with asyncio.timeout(30):
        while (await bus.lag("dispatch", Dispatch.topics)).records:  # noqa: ASYNC110 - the bus tells nobody
            await asyncio.sleep(0.02)


async def test_what_another_app_brought_is_not_cancelled_by_a_removal(waiting: House) -> None:
    at = NOW + timedelta(seconds=1)
    farewell = received(body("2", kind="app_integration_removed", at=at), LATER, app="old")
    waits = [received(body("w0"), app="old"), received(body("n0"), app="new"), received(body("w1"), app="old")]
    events, dead = await waiting.tell(
        [*waits, farewell],
        [changed("A", 1, linked=False, user=None)],
        [changed("A", 2, generation=CONNECTED_ANEW, since=NOW, apps=("new",))],
    )
    assert [(event.id, event.linked) for event in events] == [("2", False), ("n0", True)]
    assert dead == []


@pytest.mark.parametrize("proven", [True, False])
async def test_two_apps_removed_one_after_the_other_leave_nothing_to_the_next_connection(waiting: House, *, proven: bool) -> None:
    farewells = [
        received(body(name, kind="app_integration_removed", at=NOW + timedelta(seconds=1)), LATER, app=name)
        for name in ("old", "new")
    ]
    waits = [received(body(f"{app}{at}"), app=app) for at, app in enumerate(("old", "new", "old"))]
    removed = [changed("A", 1, linked=False, user=None)] if proven else []
    events, dead = await waiting.tell(
        [*waits, farewells[0]],
        [farewells[1], received(body("next", at=LATER), LATER, app="new")],
        [*removed, changed("A", 2, linked=False, user=None, state="unclaimed", apps=("new",))],
        [changed("A", 3, generation=CONNECTED_ANEW, since=NOW, apps=("new",))],
    )
    assert ([event.id for event in events if event.linked], dead) == (["next"], [])
    assert {event.id for event in events if not event.linked} == {"old", "new"}


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def code(seconds: float) -> int:
    return round(after(seconds).timestamp() * 1_000_000)


def farewell(name: str, seconds: float, *, app: str = "first") -> Record:
    return received(body(name, kind="app_integration_removed", at=after(seconds)), after(seconds), app=app)


def unclaimed(version: int, seconds: float, *apps: str) -> Record:
    return changed("A", version, linked=False, user=None, state="unclaimed", generation=code(seconds), apps=apps)


async def test_what_waited_for_a_removed_connection_goes_nowhere_where_nobody_signs_in_for_the_next_one(waiting: House) -> None:
    """Its removal is proven once the next code has named the account, so nobody says `removed`; then the wait is over."""
    began, before = datetime.now(UTC), ended("cancelled")
    waiting.bounds, waiting.clock = Bounds(wait=timedelta(seconds=2)), lambda: datetime.now(UTC)
    past = {name: began - timedelta(seconds=ago) for name, ago in (("code", 60), ("event", 50), ("removal", 40), ("next", 30))}
    codes = {name: round(at.timestamp() * 1_000_000) for name, at in past.items()}
    removal = received(body("f", kind="app_integration_removed", at=past["removal"]), past["removal"])
    async with waiting.open() as bus, waiting.running(bus):
        await bus.publish([changed("A", 1, linked=False, user=None, state="unclaimed", generation=codes["code"])])
        await bus.publish([received(body("w", at=past["event"]), past["event"]), removal])
        await bus.publish([changed("A", 2, linked=False, user=None, state="unclaimed", generation=codes["next"])])
        await bus.publish([received(body("n", at=began), began)])
        await waiting.emptied()
        events, dead = await recorded(bus)
    assert ([(event.id, event.linked) for event in events], dead) == ([("f", False), ("n", False)], [])
    assert ended("cancelled") - before == 1


async def test_a_second_removal_does_not_hide_the_first(waiting: House) -> None:
    """The first's connection lost an event to a retry; the second is told before the link between them is announced."""
    events, dead = await waiting.tell(
        [received(body("e1", at=after(49)), after(57)), farewell("f1", 50)],
        [received(body("e2", at=after(60)), after(60)), farewell("f2", 70)],
        [changed("A", 1, user="v", generation=code(55), at=after(69))],
    )
    assert ([(event.id, event.partneruserid) for event in events], dead) == ([("f1", None), ("f2", None), ("e2", "v")], [])


async def test_what_waited_by_an_app_that_was_removed_is_not_for_the_other_apps_user(waiting: House) -> None:
    events, dead = await waiting.tell(
        [unclaimed(1, 0, "old")],
        [received(body("o1", at=after(30)), after(30), app="old")],
        [unclaimed(2, 40, "new", "old")],
        [received(body(f"{app}2", at=after(45)), after(45), app=app) for app in ("old", "new")],
        [farewell("f", 50, app="old")],
        [unclaimed(3, 40, "new")],
        [changed("A", 4, user="v", generation=code(40), at=after(60), apps=("new",))],
    )
    assert ([(event.id, event.partneruserid) for event in events], dead) == ([("f", None), ("new2", "v")], [])


async def test_that_an_app_was_removed_is_remembered_where_it_is_connected_anew(waiting: House) -> None:
    events, dead = await waiting.tell(
        [unclaimed(2, 40, "new", "old")],
        [received(body(f"{app}2", at=after(45)), after(45), app=app) for app in ("old", "new")],
        [farewell("f", 50, app="old")],
        [unclaimed(3, 40, "new")],
        [unclaimed(4, 55, "new", "old"), received(body("old3", at=after(56)), after(56), app="old")],
        [changed("A", 5, user="v", generation=code(40), at=after(60), apps=("new", "old"))],
    )
    named = [(event.id, event.partneruserid) for event in events]
    assert (named, dead) == ([("f", None), ("new2", "v"), ("old3", "v")], [])


async def test_an_event_of_the_former_user_that_comes_late_is_not_the_present_ones(waiting: House) -> None:
    """Ring sends it again for more than an hour."""
    events, _ = await waiting.tell(
        [changed("A", 1, user="u", generation=code(0))],
        [farewell("f", 50)],
        [changed("A", 2, linked=False, user=None, generation=code(0))],
        [changed("A", 3, user="v", generation=code(55), at=after(69), since=after(69))],
        [received(body("late", at=after(49)), after(3_000)), received(body("own", at=after(100)), after(3_000))],
    )
    named = [(event.id, event.linked, event.partneruserid) for event in events]
    assert named == [("f", True, "u"), ("late", False, None), ("own", True, "v")]


async def test_a_removal_says_nothing_of_a_link_whose_code_came_after_it(waiting: House) -> None:
    farewells = [received(body(f"f{at}", kind="app_integration_removed", at=NOW + timedelta(seconds=at)), LATER) for at in (1, 9)]
    events, _ = await waiting.tell([changed("A", 1, generation=CONNECTED_ANEW, since=NOW)], farewells)
    assert [(event.id, event.linked, event.partneruserid) for event in events] == [("f1", False, None), ("f9", True, "u")]


async def test_a_removal_that_was_told_of_a_link_that_completes_takes_nothing_from_it(waiting: House) -> None:
    farewell = received(body("2", kind="app_integration_removed", at=LATER))
    events, _ = await waiting.tell([received(body("1")), farewell], [changed("A", 1, generation=CONNECTED)])
    assert [(event.id, event.linked) for event in events] == [("2", False), ("1", True)]


async def test_after_a_tombstone_nothing_is_known_and_versions_begin_anew(waiting: House) -> None:
    named = [received(body("1")), received(body("2"))]
    events, _ = await waiting.tell(
        [changed("A", 5)],
        [TOMBSTONE],
        named,
        [TOMBSTONE],
        [received(body("o", account=None))],  # nor does the account have a device any more
        [changed("A", 1, user="v")],
        [received(body("3"))],
    )
    assert [(event.id, event.partneruserid) for event in events] == [("3", "v")]


async def test_what_a_forgotten_account_left_is_deleted_although_nothing_else_comes(waiting: House) -> None:
    async with waiting.open() as bus, waiting.running(bus) as job:
        for stage in (
            [changed("A", 1)],
            [received(body("1"))],
            [changed("A", 2, linked=False, state="lost")],
            [received(body("2"))],
        ):
            goal = finished() + 1
            await bus.publish(stage)
            await dispatched(bus, job, goal)
        goal = finished() + 1
        await bus.publish([TOMBSTONE])
        await dispatched(bus, job, goal)
        async with asyncio.timeout(60):
            while await left(waiting):  # noqa: ASYNC110 - the store tells nobody
                await asyncio.sleep(0.1)


async def left(waiting: House) -> int:
    """Return how many rows still name the account or hold its events, marked ones included."""
    async with waiting.database.read() as connection:
        counts = [
            await connection.scalar(select(func.count()).select_from(table).where(column == "A"))
            for table, column in (
                (accounts, accounts.c.account),
                (devices, devices.c.account),
                (rows, rows.c.key),
                (lines, lines.c.key),
            )
        ]
        return sum(count or 0 for count in counts)


@pytest.mark.parametrize("before", [[changed("B", 1, linked=False, user=None, state="lost")], [changed("A", 1)]])
async def test_late_events_of_a_forgotten_account_go_nowhere_nor_is_anything_learnt_of_it(
    waiting: House, before: list[Record]
) -> None:
    await stopped(waiting, "forgotten")
    farewell = received(body("2", kind="app_integration_removed"))
    async with waiting.open() as bus:
        async with waiting.running(bus) as job:
            goal = finished() + len(before) + 5
            await bus.publish(before)
            await dispatched(bus, job, goal - 5)
            await bus.publish([TOMBSTONE, received(body("1")), farewell, received(body("1")), received(body("3", account="B"))])
            await dispatched(bus, job, goal)
            await bus.publish([received(body("4"))])
            await dispatched(bus, job, goal + 1)
        assert await recorded(bus) == ([], [])
        assert await everything(bus, "account.told") == []
    async with waiting.database.read() as connection:
        standing = select(claims.c.request_id, claims.c.outcome).where(claims.c.release_n.is_(None))
        outcomes = [("1", "stopped"), ("2", "stopped"), ("3", "waiting"), ("4", "stopped")]
        assert sorted(tuple(row) for row in await connection.execute(standing)) == outcomes
        held = select(devices.c.account).where(devices.c.release_n.is_(None))
        assert {*await connection.scalars(held)} == {"B"}


async def test_nothing_goes_out_of_a_linked_account_that_is_forgotten_before_the_linker_has_told_of_it(waiting: House) -> None:
    await waiting.tell([changed("A", 1), changed("B", 1)], [received(body("1"))])
    await stopped(waiting, "forgotten")
    farewell = received(body("3", kind="app_integration_removed"))
    events, dead = await waiting.tell([received(body("2")), farewell, received(body("4", account="B"))])
    assert (sorted(event.id for event in events), dead) == (["1", "4"], [])
    async with waiting.open() as bus:
        assert await everything(bus, "account.told") == []


@pytest.mark.parametrize("end", ["released", "expired"])
async def test_what_waits_of_an_account_that_is_forgotten_goes_nowhere_however_its_wait_ends(waiting: House, end: str) -> None:
    early = [received(body(name, account=account)) for name, account in (("1", "A"), ("2", "A"), ("3", "B"))]
    assert await waiting.tell(early) == ([], [])
    await stopped(waiting, "forgotten")
    before = ended("cancelled")
    if end == "expired":
        waiting.bounds, waiting.clock = Bounds(wait=timedelta(seconds=1)), lambda: datetime.now(UTC)
    async with waiting.open() as bus:
        async with waiting.running(bus):
            if end == "released":
                await bus.publish([changed("A", 1), changed("B", 1)])
            async with asyncio.timeout(60):
                while await waiting.waiting():  # noqa: ASYNC110 - the store tells nobody
                    await asyncio.sleep(0.02)
        events, _ = await recorded(bus)
    assert [(event.id, event.linked) for event in events] == [("3", end == "released")]
    assert ended("cancelled") == before + 2


async def test_what_comes_of_a_removed_account_waits_for_the_link_of_a_user_who_connects_again(waiting: House) -> None:
    await stopped(waiting, "removed")
    away = [changed("A", 1), changed("A", 2, linked=False, user=None)]
    events, dead = await waiting.tell(away, [received(body("1", kind="device_added"))], [changed("A", 3)])
    assert ([(event.id, event.linked) for event in events], dead) == ([("1", True)], [])


async def stopped(house: House, why: Why) -> None:
    async with house.database.begin() as connection:
        await stops.stop(connection, stops.fingerprint(NAMESPACE, "A"), why, NOW.timestamp())


async def test_who_does_not_link_in_time_gets_it_once_as_not_linked(waiting: House) -> None:
    waiting.bounds, waiting.clock = Bounds(wait=timedelta(seconds=1)), lambda: datetime.now(UTC)
    async with waiting.open() as bus, waiting.running(bus):
        await bus.publish([received(body(name)) for name in ("1", "2", "1")])
        await waiting.emptied()
    events, dead = await waiting.tell([changed("A", 1)], [received(body("3")), received(body("2"))])
    assert [(event.id, event.linked, event.partneruserid) for event in events] == [
        ("1", False, None),
        ("2", False, None),
        ("3", True, "u"),
    ]
    assert dead == []


async def test_where_too_many_wait_the_oldest_is_a_dead_letter_that_can_come_again(waiting: House) -> None:
    events, dead = await waiting.tell([received(body(str(number))) for number in range(7)])
    assert (events, dead) == ([], [("0", "waiting_full"), ("1", "waiting_full")])
    async with waiting.database.read() as connection:
        standing = select(claims.c.request_id, claims.c.outcome).where(claims.c.release_n.is_(None))
        assert {*await connection.execute(standing)} == {(str(number), "waiting") for number in range(2, 7)}
    events, _ = await waiting.tell([changed("A", 1)], [received(body("0"))])
    assert [event.id for event in events] == ["2", "3", "4", "5", "6", "0"]
