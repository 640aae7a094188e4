"""`GET /v1/deliveries?event=…`: where the dead letter of an event lies, beside the attempt that led to it."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from msgspec.structs import replace

from ingress.admin import buried
from schemas.topics import EVENT_RECORDED
from tests.ingress.looking import NOW, Desk, desk, event, recorded
from tests.ingress.test_deliveries import DELIVERIES, attempt
from workers.bus.contract import Held, Record
from workers.deliver.answer import Verdict
from workers.deliver.letters import dead_letter
from workers.deliver.policy import Attempt, Bury, Tries

LETTERS = "delivery.alerts.dead"


@pytest.fixture
async def at() -> AsyncIterator[Desk]:
    async with desk() as made:
        yield made


def letter(number: int, *, account: str = "a1") -> Record:
    """Return the dead letter of an event as deliver writes it."""
    record = recorded(event(number, account=account))
    whence = {"topic": EVENT_RECORDED.name, "index": 3, "offset": number, "time": NOW}
    held = Held(key=record.key, value=record.value, headers=record.headers, **whence)
    line = Attempt(at=NOW, verdict=Verdict.REFUSED, status=422, failure=None, took=0.1)
    return dead_letter("alerts", held, Bury("refused"), Tries(first=NOW, previous=NOW, latest=NOW, history=(line,)), NOW)


async def told(at: Desk, number: int, **query: object) -> list[object]:
    """Return what is told of the letter beside each attempt, the newest first."""
    said = await at.told(DELIVERIES, event=f"r{number}", **query)
    return [one.get("letter") for one in said["deliveries"]]


async def test_the_attempt_that_led_to_a_dead_letter_says_where_it_lies_and_why(at: Desk) -> None:
    refused = [attempt(1, verdict=Verdict.REFUSED, made=made) for made in (1, 2, 3)]
    await at.publish(letter(7), *refused, letter(8), letter(1), letter(9, account="a2"), attempt(1, to="archive"))
    (address,) = [one["address"] for one in (await at.told("/v1/dead"))["letters"] if one["id"] == "r1"]
    assert await told(at, 1) == [None, {"address": address, "reason": "refused", "at": NOW.isoformat()}, None, None]
    assert await told(at, 1, account="a1", destination="alerts") == [
        {"address": address, "reason": "refused", "at": NOW.isoformat()},
        None,
        None,
    ]
    status, found = await at.get(f"/v1/dead/{address}")
    assert (status, found["id"]) == (200, "r1")


async def test_who_is_not_buried_or_accepted_since_or_goes_elsewhere_has_none(at: Desk) -> None:
    await at.publish(attempt(1, verdict=Verdict.FAILED), attempt(2, verdict=Verdict.REFUSED), letter(2), attempt(2))
    await at.publish(attempt(3, to="gone", verdict=Verdict.REFUSED))
    assert await told(at, 1) == [None]
    assert await told(at, 2) == [None, None]
    assert await told(at, 3) == [None], "nobody knows its topic any more"
    said = await at.told(DELIVERIES, failed=True)
    assert not any("letter" in one for one in said["deliveries"]), "only an event's own search looks for it"


async def test_it_is_the_letter_of_the_latest_attempt_where_it_was_buried_more_than_once(at: Desk) -> None:
    await at.publish(attempt(1, verdict=Verdict.REFUSED), letter(1))
    at.clock[0] += timedelta(hours=1)
    later = attempt(1, verdict=Verdict.REFUSED)
    moved = later.value.replace(NOW.isoformat().encode(), (NOW + timedelta(hours=1)).isoformat().encode())
    await at.publish(replace(later, value=moved), letter(1))
    addresses = [one["address"] for one in (await at.told("/v1/dead"))["letters"]]
    latest, first = await told(at, 1)
    assert isinstance(latest, dict)
    assert (latest["address"], first) == (addresses[0], None)


async def test_no_more_is_looked_at_than_a_bound_however_many_letters_follow(at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buried, "LOOKED", 3)
    await at.publish(attempt(1, verdict=Verdict.REFUSED), *(letter(number) for number in range(2, 5)), letter(1))
    assert await told(at, 1) == [None]
    monkeypatch.setattr(buried, "LOOKED", 4)
    assert await told(at, 1) != [None]
