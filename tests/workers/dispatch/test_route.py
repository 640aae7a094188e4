"""Copies of events on topics of the partner's choice: which, and in the commit of the event itself."""

import pytest

from schemas import cloudevents
from schemas.topics import declared, routed
from tests.workers.deliver.support import event
from tests.workers.dispatch.house import House, body, changed, everything, received
from workers.bus.contract import Record
from workers.dispatch.parked import Bounds
from workers.dispatch.route import Route, Routes, problems

MOTION = Route(topic="partner.motion.v1", filter={"exact": {"type": "com.ring.motion_detected"}})
ALL = Route(topic="everything", deliver_unlinked=True)


def test_copies_follow_their_event_with_the_same_key_headers_and_value() -> None:
    first, second = event("e1"), event("e2", linked=False)
    other = Record(topic="account.told", key=b"k", value=b"v")
    whole = Routes([MOTION, ALL]).with_copies([first, other, second])
    assert [record.topic for record in whole] == [
        *("event.recorded", "route:partner.motion.v1", "route:everything"),
        "account.told",
        *("event.recorded", "route:everything"),
    ]
    assert {(record.key, record.value, record.headers) for record in whole[:3]} == {(first.key, first.value, first.headers)}


def test_without_routes_nothing_is_read_and_nothing_changes() -> None:
    strange = [Record(topic="event.recorded", key=b"", value=b"not an event")]
    assert Routes().with_copies(strange) is strange


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"topic": ""}, "topic: must be 1 to 249"),
        ({"topic": ".."}, "topic: must be 1 to 249"),
        ({"topic": "a b"}, "topic: must be 1 to 249"),
        ({"topic": "a" * 250}, "topic: must be 1 to 249"),
        ({"filter": {"exact": {"colour": "red"}}}, "filter: exact: 'colour' is no attribute"),
    ],
)
def test_what_cannot_be_routed_is_told(changes: dict[str, object], words: str) -> None:
    (told,) = problems(Route(**{"topic": "x", **changes}))
    assert told.startswith(words)
    assert not [*problems(MOTION), *problems(ALL)]


def test_a_routes_topic_is_called_as_it_was_named_and_is_none_of_ours() -> None:
    names = {topic.physical("ringhook") for topic in declared(["alerts"], ["partner.motion.v1", "event.recorded"])}
    assert {"partner.motion.v1", "event.recorded", "ringhook.event.recorded.v1"} <= names
    assert len({topic.name for topic in declared([], ["event.recorded"])}) == len(declared([])) + 1


async def test_events_are_copied_at_once_and_after_a_wait_and_each_copy_once(house: House, namespace: str) -> None:
    name = f"{namespace}-motion"
    house.routes, house.bounds = (Route(topic=name, filter={"exact": {"type": "com.ring.motion_detected"}}),), Bounds()
    linked = [received(body(one, account="B")) for one in ("b1", "b2")]
    events, _ = await house.tell(
        [changed("B", 1), *linked, *linked],
        [received(body("a1")), received(body("a2", kind="button_press"))],
        [changed("A", 1)],
        [received(body("a3"))],
    )
    async with house.open() as bus:
        copies = [cloudevents.read(held.headers, held.value) for held in await everything(bus, routed(name).name)]
    assert sorted(copy.id for copy in copies) == ["a1", "a3", "b1", "b2"]
    assert {copy.id: copy for copy in copies} == {one.id: one for one in events if one.id != "a2"}
    assert [copy.id for copy in copies if copy.accountid == "A"] == ["a1", "a3"]
