"""`GET /v1/events/{event}`: the life of one event, from Ring's call on."""

from collections.abc import AsyncIterator

import orjson
import pytest
from msgspec.structs import replace

from ingress.admin import backward
from schemas.ring import arrival
from schemas.ring.peek import peek
from schemas.topics import WEBHOOK_RECEIVED
from tests.ingress.looking import NOW, Desk, desk, event, recorded
from tests.ingress.test_dead import delivery
from tests.ingress.test_deliveries import attempt
from workers.bus.contract import Record
from workers.deliver.answer import Verdict


@pytest.fixture
async def at() -> AsyncIterator[Desk]:
    async with desk() as made:
        yield made


def came(number: int = 1, account: str = "a1") -> Record:
    body = orjson.dumps({"meta": {"request_id": f"r{number}", "account_id": account}, "data": {"type": "motion_detected"}})
    seen = peek(body)
    return Record(topic=WEBHOOK_RECEIVED.name, key=seen.key, value=body, headers=arrival.headers(seen, NOW, "app1"))


async def test_it_is_told_from_the_first_call_to_the_last_attempt(at: Desk) -> None:
    mine = (came(), recorded(event(1, user="u1")), attempt(1, verdict=Verdict.REFUSED), delivery(1), came())
    others = (came(2), recorded(event(2)), attempt(2))
    await at.publish(*(record for pair in zip(others, mine, strict=False) for record in pair), *mine[3:])
    said = await at.told("/v1/events/r1")
    assert [part["what"] for part in said["life"]] == ["received", "recorded", "attempted", "buried", "received"]
    first, made, tried, buried, again = said["life"]
    assert first["facts"] == {"type": "motion_detected", "received_at": NOW.isoformat(), "app": "app1", "found": False}
    assert made["facts"]["partneruserid"] == "u1"
    assert (tried["facts"]["verdict"], tried["facts"]["status"]) == ("refused", 422)
    assert (buried["facts"]["reason"], buried["place"].partition(":")[0]) == ("refused", "delivery.alerts.dead")
    assert again["place"] != first["place"]
    assert said["cut"] is False


async def test_what_lies_before_the_first_call_is_not_looked_at(at: Desk) -> None:
    await at.publish(*(came(number) for number in range(2, 202)))
    await at.publish(came(), recorded(event(1)))
    assert (await at.told("/v1/events/r1"))["scanned"] < 200


async def test_who_knows_since_when_has_nothing_older_looked_at(at: Desk) -> None:
    await at.publish(*(came(number) for number in range(2, 302)))
    since = at.clock[0].isoformat()
    await at.publish(came())
    said = await at.told("/v1/events/r1", since=since)
    assert ([part["what"] for part in said["life"]], said["scanned"]) == (["received"], 1)
    assert (await at.refused("/v1/events/r2", since=since))[0] == 404
    assert (await at.refused("/v1/events/r1", since="yesterday"))[0] == 400


async def test_one_whose_account_was_found_says_so(at: Desk) -> None:
    found = replace(came(), headers=(*came().headers, ("account", b"a1")))
    await at.publish(came(), found, recorded(event(1)))
    said = await at.told("/v1/events/r1")
    assert [part["facts"].get("found") for part in said["life"]] == [False, True, None]


async def test_what_is_not_known_is_404_and_a_search_that_ended_says_so(at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await at.refused("/v1/events/r1"))[0] == 404
    await at.publish(came(), *(came(number) for number in range(2, 300)), recorded(event(1)))
    monkeypatch.setattr(backward.Allowance, "over", lambda mine: setattr(mine, "ended", mine.used > 64) or mine.ended)
    said = await at.told("/v1/events/r1")
    assert ([part["what"] for part in said["life"]], said["cut"]) == (["recorded"], True)


@pytest.mark.parametrize("value", [b"", b"{", b"\xff"])
async def test_a_record_that_cannot_be_read_is_told_as_that(at: Desk, value: bytes) -> None:
    await at.publish(came(), replace(recorded(event(1)), value=value))
    said = await at.told("/v1/events/r1")
    assert [part["what"] for part in said["life"]] == ["received", "recorded"]
