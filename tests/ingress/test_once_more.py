"""`/v1/replays`, `/v1/dead/retry|drop`, `/v1/deliveries/retry`: what is held of a wish, and how a wrong one is refused."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest
from msgspec.structs import replace

from schemas.filters import Takes
from schemas.topics import DELIVERY_ATTEMPTED, WEBHOOK_RECEIVED, delivery_held
from tests.ingress.looking import NOW, Desk, desk, event, recorded
from tests.ingress.test_dead import DEAD, addresses, delivery, held, webhook
from workers.bus.contract import BusUnavailable, Record
from workers.runtime.clock import utc_now
from workers.runtime.dead import letter

HOUR = timedelta(hours=1)
SPAN = {"from": (NOW - HOUR).isoformat(), "to": (NOW + HOUR).isoformat()}


@pytest.fixture
async def at() -> AsyncIterator[Desk]:
    async with desk() as made:
        yield made


async def topic(at: Desk, name: str) -> list[Record]:
    async with at.bus.browse() as browser:
        return [one for span in await browser.spans(name) for one in await browser.read(name, span.index, span.first, 100)]


async def test_a_replay_is_held_with_how_much_lies_in_its_span_and_a_dry_run_counts(at: Desk) -> None:
    await at.publish(*(recorded(event(number)) for number in range(5)))
    span = {"from": (NOW + timedelta(seconds=1)).isoformat(), "to": (NOW + timedelta(seconds=4)).isoformat()}
    asked = {"destination": "alerts", **span, "ids": ["r2", "r4"]}
    status, counted = await at.post("/v1/replays", asked | {"dry_run": True})
    assert (status, counted) == (200, {"looked": 3, "matched": 1, "whole": True, "total": 3, "filtered": False})
    assert (await at.told("/v1/replays"))["replays"] == []
    status, made = await at.post("/v1/replays", asked | {"filter": {"prefix": {"type": "com.ring"}}})
    assert (status, made["state"], made["total"], made["by"]) == (200, "copying", 3, "operate")
    assert await at.told(f"/v1/replays/{made['id']}") == made | {"destination_state": "not running"}
    status, over = await at.post(f"/v1/replays/{made['id']}/cancel", {})
    assert (status, over["state"], over["ended_at"] is not None) == (200, "cancelled", True)
    assert (await at.post(f"/v1/replays/{made['id']}/cancel", {}))[1] == over
    assert (await at.post("/v1/replays/nobody/cancel", {}))[0] == 404


async def test_a_dry_run_counts_what_the_destination_takes_as_the_copy_says_that_told_latest(at: Desk) -> None:
    await at.publish(*(recorded(event(number, kind="button_press" if number else "motion_detected")) for number in range(3)))
    await at.publish(recorded(event(3, kind="button_press", linked=False)))
    presses = Takes(filter={"suffix": {"type": "_press"}}, unlinked=False).written()
    for age, takes in ((5, Takes(filter=None, unlinked=True).written()), (1, presses), (0, None)):
        await at.copy(f"c{age}", utc_now() - timedelta(seconds=age), takes)
    asked = {"destination": "alerts", "from": "first", "dry_run": True}
    _, counted = await at.post("/v1/replays", asked)
    assert (counted["looked"], counted["matched"], counted["filtered"]) == (4, 2, True)
    _, counted = await at.post("/v1/replays", asked | {"ids": ["r0", "r3"]})
    assert counted["matched"] == 1, "what is named goes whatever the filter, but not of who is not linked"


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"destination": "alarms"}, 404, "there are: alerts"),
        ({"from": "yesterday"}, 400, "written with its offset"),
        ({"from": SPAN["to"], "to": SPAN["from"]}, 422, "is not before"),
        ({"to": "2999-01-01T00:00:00Z"}, 422, "lies in the future"),
        ({"filter": {"prefix": {"tpye": "x"}}}, 422, "no attribute of an event"),
        ({"ids": ["x"] * 1_001}, 400, "not understood"),
        ({"surprise": 1}, 400, "not understood"),
    ],
)
async def test_a_replay_that_cannot_be_is_refused_in_words(at: Desk, changes: dict[str, object], status: int, words: str) -> None:
    got, said = await at.post("/v1/replays", {"destination": "alerts", **SPAN, **changes})
    assert got == status
    assert words in said["error"]["message"]
    assert (await at.told("/v1/replays"))["replays"] == []


async def test_dead_letters_go_back_to_where_they_failed_once(at: Desk) -> None:
    await at.publish(webhook("other_app"), delivery(1), delivery(2))
    listed = addresses(await at.told(DEAD))
    two, one, hook = listed
    status, said = await at.post(f"{DEAD}/retry", {"addresses": [one, hook, one]})
    assert (status, said) == (200, {"retried": 2, "already": []})
    (again,) = await topic(at, delivery_held("alerts").name)
    assert (again.header("ce_id"), again.header("origin_offset")) == (b"r1", b"17")
    (back,) = await topic(at, WEBHOOK_RECEIVED.name)
    assert not [name for name, _ in (*again.headers, *back.headers) if name.startswith("dead_")]
    (held_,) = (await at.told("/v1/replays"))["replays"]
    assert (held_["state"], held_["destination"], held_["copied"]) == ("sending", "alerts", 1)
    assert again.header("replay") == held_["id"].encode()
    assert addresses(await at.told(DEAD)) == [two]
    status, said = await at.post(f"{DEAD}/retry", {"addresses": [one]})
    assert (status, said) == (200, {"retried": 0, "already": [one]})
    assert await at.post(f"{DEAD}/drop", {"addresses": [two, one]}) == (200, {"dropped": 1, "already": [one]})
    assert addresses(await at.told(DEAD)) == []
    assert len(await topic(at, delivery_held("alerts").name)) == 1


async def test_letters_of_one_key_go_back_in_order_however_they_are_given(at: Desk) -> None:
    await at.publish(*(delivery(number) for number in range(1, 4)))
    newest_first = addresses(await at.told(DEAD))
    assert await at.post(f"{DEAD}/retry", {"addresses": newest_first}) == (200, {"retried": 3, "already": []})
    assert [one.header("ce_id") for one in await topic(at, delivery_held("alerts").name)] == [b"r1", b"r2", b"r3"]


async def test_a_list_goes_on_behind_letters_that_were_handled(at: Desk) -> None:
    await at.publish(*(delivery(number) for number in range(6)))
    listed = addresses(await at.told(DEAD))
    await at.post(f"{DEAD}/drop", {"addresses": listed[:3]})
    assert addresses(await at.told(DEAD, limit=2)) == listed[3:5]


async def test_letters_that_cannot_be_tried_again_say_why_and_none_of_the_call_is(at: Desk) -> None:
    stale = letter(held(DELIVERY_ATTEMPTED, Record(topic=DELIVERY_ATTEMPTED.name, key=b"k", value=b"{")), "malformed", at=NOW)
    cut = webhook()
    cut = replace(cut, headers=(*cut.headers, ("dead_body", b"omitted")))
    await at.publish(delivery(1), cut, replace(stale, topic="code.received.dead"))
    code, omitted, fine = addresses(await at.told(DEAD))
    for address, words in ((code, "of use for a moment only"), (omitted, "was too large")):
        status, said = await at.post(f"{DEAD}/retry", {"addresses": [fine, address]})
        assert (status, words in said["error"]["message"]) == (422, True)
    for path in ("retry", "drop"):
        assert (await at.post(f"{DEAD}/{path}", {"addresses": ["delivery.alerts.dead:0:99"]}))[0] == 404
        assert (await at.post(f"{DEAD}/{path}", {"addresses": []}))[0] == 400
    assert await topic(at, delivery_held("alerts").name) == []


async def test_letters_of_a_destination_that_is_no_more_stay_and_say_so(at: Desk) -> None:
    await at.publish(delivery(1), webhook("other_app"))
    listed = addresses(await at.told(DEAD))
    assert (await at.post("/v1/destinations/alerts/pause", {}))[0] == 200
    at.destinations.clear()
    status, said = await at.post(f"{DEAD}/retry", {"addresses": listed})
    assert (status, said["error"]["message"]) == (404, "alerts is not configured; its letters stay.")
    assert addresses(await at.told(DEAD)) == listed
    for path, asked in (("replays", SPAN), ("deliveries/retry", {"event": "r1"})):
        assert (await at.post(f"/v1/{path}", {"destination": "alerts", **asked}))[0] == 404
    assert (await at.told("/v1/replays"))["replays"] == []
    assert await topic(at, delivery_held("alerts").name) == await topic(at, WEBHOOK_RECEIVED.name) == []
    at.destinations.add("alerts")
    assert (await at.post(f"{DEAD}/retry", {"addresses": listed}))[1]["retried"] == 2, "nobody had taken them in hand"
    at.destinations.clear()
    await at.publish(delivery(2))
    assert (await at.post(f"{DEAD}/drop", {"addresses": addresses(await at.told(DEAD))}))[1]["dropped"] == 1


async def test_one_event_goes_out_once_more_by_what_was_written_down_of_an_attempt(at: Desk) -> None:
    await at.publish(recorded(event(1)), recorded(event(2)))
    (place,) = [one for one in await topic(at, recorded(event(2)).topic) if one.header("ce_id") == b"r2"]
    told = {"destination": "crm", "event": "r2", "account": "a1", "verdict": "accepted", "at": NOW.isoformat()}
    where = {"index": getattr(place, "index", 0), "offset": getattr(place, "offset", 0)}
    await at.publish(Record(topic=DELIVERY_ATTEMPTED.name, key=b"a1", value=msgspec.json.encode(told | where)))
    status, said = await at.post("/v1/deliveries/retry", {"event": "r2", "destination": "alerts"})
    assert (status, said["destination"]) == (200, "alerts")
    (again,) = await topic(at, delivery_held("alerts").name)
    assert (again.header("ce_id"), again.header("replay")) == (b"r2", said["replay"].encode())
    status, said = await at.post("/v1/deliveries/retry", {"event": "r1", "destination": "alerts"})
    assert (status, "ringhook replay --id" in said["error"]["message"]) == (404, True)


async def test_a_letter_is_tried_once_however_its_address_is_written_and_whoever_asks_at_one_time(at: Desk) -> None:
    await at.publish(delivery(1))
    (one,) = addresses(await at.told(DEAD))
    name, index, offset = one.split(":")
    spelt = f"{name}:0{index}:000{offset}"
    said = await asyncio.gather(*(at.post(f"{DEAD}/retry", {"addresses": [text]}) for text in (one, spelt, one)))
    assert sorted(answer["retried"] for _, answer in said) == [0, 0, 1]
    assert len(await topic(at, delivery_held("alerts").name)) == 1
    assert (await at.post(f"{DEAD}/drop", {"addresses": [spelt]}))[1] == {"dropped": 0, "already": [one]}
    for odd in (f"{name}:0:9999999999999999999", f"{name}:0:1\x00"):
        assert (await at.post(f"{DEAD}/retry", {"addresses": [odd]}))[0] == 404


async def test_a_letter_that_could_not_be_published_may_be_tried_again(at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await at.publish(delivery(1))
    (one,) = addresses(await at.told(DEAD))

    async def refuses(_records: object) -> None:
        raise BusUnavailable("away")

    with monkeypatch.context() as away:
        away.setattr(at.bus, "publish", refuses)
        assert (await at.post(f"{DEAD}/retry", {"addresses": [one]}))[0] == 503
    assert (await at.post(f"{DEAD}/retry", {"addresses": [one]}))[1] == {"retried": 1, "already": []}


async def test_a_replay_from_before_all_time_is_from_the_first_on(at: Desk) -> None:
    status, made = await at.post(
        "/v1/replays", {"destination": "alerts", "from": "0001-01-01T00:00:00+01:00", "to": SPAN["from"]}
    )
    assert (status, made["begin_at"][:4]) == (200, "1970")
