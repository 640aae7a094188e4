"""An event counts only under the key of the app by which its account's grant came: two apps at once, on both pairs of engines."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from sqlalchemy import select
from structlog.testing import capture_logs

from schemas.records import AccountChanged, AccountTold
from tests.workers.dispatch.house import NOW, House, body, changed, counted, everything, received
from workers.bus.contract import Record
from workers.dispatch import apps
from workers.dispatch.accounts import Version, after
from workers.dispatch.parked import Bounds
from workers.dispatch.tables import devices

Changes = tuple[tuple[float, tuple[str, ...]], ...]
BEFORE, LATER = NOW - timedelta(seconds=1), NOW + timedelta(seconds=1)
TOMBSTONE = Record(topic="account.changed", key=b"A", value=b"")


def change(version: int, *apps: str, at: float = 0.0) -> AccountChanged:
    when = datetime.fromtimestamp(at, UTC)
    return AccountChanged(account="A", version=version, generation=1, state="completed", linked=True, apps=apps, at=when)


def believed(version: Version, app: str, received_at: float) -> bool:
    return not apps.foreign(version.apps, version.former_apps, app, received_at)


def following(*changes: tuple[float, tuple[str, ...]]) -> Version:
    version = None
    for number, (at, names) in enumerate(changes, start=1):
        version = after(version, change(number, *names, at=at))
    assert version is not None
    return version


@pytest.mark.parametrize(
    ("changes", "received_at", "own"),
    [
        (((100, ()),), 50, "xyz"),  # nobody can say
        (((100, ("x",)),), 50, "x"),  # first seen: what waits is held to it too
        (((100, ()), (200, ("x",))), 150, "x"),
        (((100, ("x",)), (200, ("y", "x"))), 150, "xy"),
        (((100, ("x",)), (200, ("x", "y"))), 250, "xy"),
        (((100, ("x", "y")), (200, ("y",))), 199.9, "xy"),  # it came late, and was right then
        (((100, ("x", "y")), (200, ("y",))), 200, "y"),
        (((100, ("x",)), (200, ()), (300, ("y",))), 250, "xy"),
        (((100, ("x",)), (200, ()), (300, ("y",))), 300, "y"),
        (((100, ("x", "y")), (200, ("y",)), (300, ("y",))), 199, "xy"),  # another change of the account moves nothing
        (((100, ("x",)), (200, ("x", "y")), (300, ("y",)), (400, ("y", "z"))), 250, "xyz"),  # as late over two changes
        (((100, ("x",)), (200, ("x", "y")), (300, ("y",)), (400, ("y", "z"))), 300, "yz"),
        (((100, ("x", "y")), (200, ("y",)), (300, ("x", "y")), (400, ("y",))), 350, "xy"),  # it left twice
    ],
)
def test_which_app_may_tell_of_an_account(
    changes: tuple[tuple[float, tuple[str, ...]], ...], received_at: float, own: str
) -> None:
    version = following(*changes)
    assert [app for app in "xyz" if believed(version, app, received_at)] == [*own]


@given(
    sets=st.lists(st.frozensets(st.sampled_from("xyz"), min_size=1), min_size=1, max_size=6),
    app=st.sampled_from("xyz"),
    received_at=st.floats(0, 700),
)
def test_an_app_is_believed_until_the_accounts_grants_left_it_for_good(
    sets: list[frozenset[str]], app: str, received_at: float
) -> None:
    version = following(*((100.0 * number, tuple(names)) for number, names in enumerate(sets, start=1)))
    then = sets[: int(received_at // 100)] or sets[:1]
    was_there = app in sets[-1] or any(app in names for names in sets[len(then) - 1 :])
    assert believed(version, app, received_at) is was_there


def test_a_row_keeps_no_more_former_apps_than_eight() -> None:
    version = following(*((100.0 * number, (f"app{number}",)) for number in range(1, 12)))
    assert [believed(version, f"app{number}", 50.0) for number in range(1, 12)] == [False] * 2 + [True] * 9


def put_aside(kind: str = "motion_detected") -> float:
    return counted(kind, "other_app")


@pytest.fixture
def waiting(house: House) -> House:
    house.bounds = Bounds()
    return house


async def test_only_the_app_of_the_grant_is_believed_and_its_events_are_not_the_others_copies(house: House) -> None:
    before = put_aside()
    theirs = received(body("1", device="E"), app="next")
    stages = [changed("A", 1, apps=("first",))], [theirs, received(body("1", device="E")), received(body("2"))]
    events, dead = await house.tell(*stages)
    assert [(event.id.partition("~")[0], event.accountid) for event in events] == [("1", "A"), ("2", "A")]
    assert (dead, put_aside() - before) == ([("1", "other_app")], 1)


async def test_what_was_put_aside_taught_nothing_and_may_come_again_once_its_app_is_linked(house: House) -> None:
    theirs = received(body("1", device="E"), app="next")
    await house.tell([changed("A", 1, apps=("first",))], [theirs])
    async with house.database.read() as connection:
        assert not (await connection.execute(select(devices.c.device))).all()
    events, dead = await house.tell([changed("A", 2, apps=("first", "next"))], [theirs])
    assert [event.id for event in events] == ["1"]
    assert len(dead) == 1


@pytest.mark.parametrize("waits", [False, True])
async def test_a_retry_of_what_went_out_beside_anothers_copy_does_not_go_out_again(house: House, *, waits: bool) -> None:
    """Another app's event under the same id gives it back when it is put aside: the id is free then, and not for the retry."""
    if waits:
        house.bounds = Bounds()
    theirs, ours, link = received(body("1"), app="next"), received(body("1")), [changed("A", 1, apps=("first",))]
    stages = ([theirs, ours], link) if waits else (link, [theirs, ours])
    events, dead = await house.tell(*stages, [received(body("2"))], [ours], [received(body("3"))])
    assert [event.id.partition("~")[0] for event in events] == ["1", "2", "3"]
    assert dead == [("1", "other_app")]


async def test_while_two_apps_are_linked_both_are_believed_and_then_only_the_new_one(house: House) -> None:
    events, dead = await house.tell(
        [changed("A", 1, apps=("first",), at=BEFORE)],
        [changed("A", 2, apps=("first", "next"), at=BEFORE)],
        [received(body("1")), received(body("2"), app="next")],
        [changed("A", 3, apps=("next",), at=NOW)],
        [received(body("3"), at=BEFORE), received(body("4"), at=LATER), received(body("5"), at=LATER, app="next")],
    )
    assert [event.id for event in events] == ["1", "2", "3", "5"]
    assert dead == [("4", "other_app")]


async def test_an_event_that_was_right_when_it_came_passes_however_late(house: House) -> None:
    def at(seconds: int) -> datetime:
        return NOW + timedelta(seconds=seconds)

    sets = ("first",), ("first", "next"), ("next",), ("next", "third")
    moves = [[changed("A", number, apps=names, at=at(10 * number))] for number, names in enumerate(sets, start=1)]
    events, dead = await house.tell(*moves, [received(body("1"), at(25)), received(body("2"), at(30))])
    assert [event.id for event in events] == ["1"]
    assert dead == [("2", "other_app")]


async def test_an_event_known_by_its_device_is_held_to_it_too(house: House) -> None:
    orphan = body("2", account=None)
    events, dead = await house.tell(
        [changed("A", 1, apps=("first",))],
        [received(body("1"))],
        [received(orphan, app="next"), received(body("3", account=None))],
    )
    assert [event.id for event in events] == ["1", "3"]
    assert dead == [("2", "other_app")]


async def test_what_waited_is_held_to_the_app_that_linked_in_order_and_once(waiting: House) -> None:
    early = [received(body(name), app=app) for name, app in (("1", "next"), ("2", "first"), ("3", "next"), ("4", "first"))]
    events, dead = await waiting.tell(early, [changed("A", 1, apps=("first",))], [received(body("5"))])
    assert [event.id for event in events] == ["2", "4", "5"]
    assert dead == [("1", "other_app"), ("3", "other_app")]
    events, _ = await waiting.tell([changed("A", 2, apps=("next", "first"))], [early[0]])
    assert [event.id for event in events][-1] == "1"


async def test_what_waited_and_is_put_aside_has_taught_nothing_that_its_app_is_not_linked_for(waiting: House) -> None:
    orphans = [received(body(name, account=None, device="E"), app="first") for name in "345"]
    theirs = received(body("1", device="E"), app="next")
    _, dead = await waiting.tell([theirs], [changed("A", 1, apps=("first",))], [received(body("2"))], orphans[:1])
    assert sorted(dead) == [("1", "other_app"), ("3", "account_unknown")]
    events, dead = await waiting.tell([changed("A", 2, apps=("first", "next"))], orphans[1:2])
    assert [(event.id, event.accountid) for event in events][-1] == ("4", "A")
    moved = changed("A", 3, apps=("first",), at=LATER)
    events, _ = await waiting.tell([moved], orphans[2:])  # it had told of the device while it was the account's
    assert [event.id for event in events][-1] == "5"


async def test_each_app_teaches_of_a_device_beside_the_other(waiting: House) -> None:
    early = [received(body(name, device="E"), app=app) for name, app in (("1", "next"), ("2", "first"))]
    orphan = received(body("3", account=None, device="E"))
    events, _ = await waiting.tell(early, [changed("A", 1, apps=("first",))], [orphan])
    assert [event.id for event in events] == ["2", "3"]


async def test_what_is_put_aside_counts_as_rejected_and_is_logged_at_the_end_of_a_wait_too(waiting: House) -> None:
    def rejected() -> float:
        return REGISTRY.get_sample_value("ringhook_job_records_total", {"job": "dispatch", "outcome": "rejected"}) or 0.0

    before, (early, late) = rejected(), (received(body(name), app="next") for name in "12")
    with capture_logs() as logged:
        _, dead = await waiting.tell([early], [changed("A", 1, apps=("first",))], [late])
    assert dead == [("1", "other_app"), ("2", "other_app")]
    assert [line["reason"] for line in logged if line["event"] == "record.rejected"] == ["other_app"] * 2
    assert rejected() - before == 1  # what waited was done, and its wait ended so


async def test_a_dead_letter_put_back_as_it_stands_goes_out_once_its_app_is_linked(house: House) -> None:
    await house.tell([changed("A", 1, apps=("first",))], [received(body("1"), app="next")], [changed("A", 2, apps=("next",))])
    async with house.open() as bus:
        (letter,) = await everything(bus, "webhook.received.dead")
    again = Record(topic="webhook.received", key=letter.key, value=letter.value, headers=letter.headers)
    events, _ = await house.tell([again], [again])
    assert [event.id for event in events] == ["1"]


async def test_a_wait_that_ends_without_a_link_is_held_to_it_too(waiting: House) -> None:
    waiting.bounds = Bounds(wait=timedelta(milliseconds=300))
    waiting.clock = lambda: datetime.now(UTC)
    unclaimed = changed("A", 1, user=None, linked=False, state="unclaimed", apps=("first",))
    now = waiting.clock()
    async with waiting.open() as bus, waiting.running(bus):
        await bus.publish([unclaimed, received(body("1", at=now), now, app="next"), received(body("2", at=now), now)])
        await waiting.emptied()
        dead = await everything(bus, "webhook.received.dead")
        recorded = await everything(bus, "event.recorded")
    assert [held.header("dead_reason") for held in dead] == [b"other_app"]
    assert len(recorded) == 1


async def test_another_apps_removal_is_told_with_its_name_and_its_subscription_is_not(house: House) -> None:
    kinds = ("app_integration_removed", "subscription_activated")
    foreign = [received(body(kind, kind=kind), app="next") for kind in kinds]
    events, dead = await house.tell([changed("A", 1, apps=("first",))], foreign)
    async with house.open() as bus:
        told = [msgspec.json.decode(held.value, type=AccountTold) for held in await everything(bus, "account.told")]
    assert events == []
    assert dead == [(kind, "other_app") for kind in kinds]
    assert [(one.account, one.app, one.removed, one.subscription) for one in told] == [("A", "next", True, None)]
