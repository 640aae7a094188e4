"""`GET /v1/dead`: which letters are told, in which order, and what of one to whom."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from schemas.ring.arrival import headers
from schemas.ring.peek import peek
from schemas.topics import ACCOUNT_CHANGED, EVENT_RECORDED, MESSAGE_LIMIT, WEBHOOK_RECEIVED, Topic, declared, letters, routed
from tests.ingress.looking import NOW, Desk, desk, event, expire, recorded
from workers.bus.contract import Held, Record
from workers.deliver.answer import Verdict
from workers.deliver.letters import dead_letter
from workers.deliver.policy import Attempt, Bury, Tries
from workers.runtime.dead import letter

DEAD = "/v1/dead"
WEBHOOK = (Path(__file__).parents[1] / "samples" / "motion_detected.json").read_bytes()
ACCOUNT = peek(WEBHOOK).account


@pytest.fixture
async def at() -> AsyncIterator[Desk]:
    async with desk() as made:
        yield made


def held(topic: Topic, record: Record, offset: int = 17) -> Held:
    return Held(topic=topic.name, key=record.key, value=record.value, headers=record.headers, index=3, offset=offset, time=NOW)


def webhook(reason: str = "stale", body: bytes = WEBHOOK) -> Record:
    seen = peek(body)
    came = Record(topic=WEBHOOK_RECEIVED.name, key=seen.key, value=body, headers=headers(seen, NOW, "app1"))
    return letter(held(WEBHOOK_RECEIVED, came), reason, at=NOW)


def delivery(number: int = 1) -> Record:
    lines = [Attempt(at=NOW, verdict=Verdict.FAILED, status=None, failure="timeout", took=10.0)] * 2
    lines.append(Attempt(at=NOW, verdict=Verdict.REFUSED, status=422, failure=None, took=0.1))
    tries = Tries(first=NOW, previous=NOW, latest=NOW, made=3, history=tuple(lines))
    return dead_letter("alerts", held(EVENT_RECORDED, recorded(event(number))), Bury("refused"), tries, NOW)


def addresses(said: dict[str, list[dict[str, str]]]) -> list[str]:
    return [one["address"] for one in said["letters"]]


async def test_letters_of_all_topics_come_newest_first(at: Desk) -> None:
    broken = letter(held(ACCOUNT_CHANGED, Record(topic=ACCOUNT_CHANGED.name, key=b"a9", value=b"{")), "not_a_change", at=NOW)
    await at.publish(webhook(), delivery(1), broken, delivery(2), webhook("other_app"))
    said = await at.told(DEAD)
    assert [one["reason"] for one in said["letters"]] == ["other_app", "refused", "not_a_change", "refused", "stale"]
    assert (said["scanned"], said["cut"]) == (5, None)
    assert [address.split(":")[0] for address in addresses(said)] == [
        "webhook.received.dead",
        "delivery.alerts.dead",
        "account.changed.dead",
        "delivery.alerts.dead",
        "webhook.received.dead",
    ]


async def test_a_line_says_when_why_how_often_whose_and_where(at: Desk) -> None:
    await at.publish(webhook(), delivery())
    buried, stale = (await at.told(DEAD))["letters"]
    assert buried | {"address": ""} == {
        "address": "",
        "at": NOW.isoformat(),
        "reason": "refused",
        "attempts": 3,
        "id": "r1",
        "type": "com.ring.motion_detected",
        "account": "a1",
        "status": "422",
        "origin": "event.recorded:3:17",
    }
    assert (stale["id"], stale["account"], stale["type"]) == (peek(WEBHOOK).request_id, ACCOUNT, "motion_detected")
    assert (stale["origin"], stale["attempts"], stale["status"]) == ("webhook.received:3:17", 1, None)


async def test_they_are_chosen_by_topic_reason_and_time(at: Desk) -> None:
    await at.publish(webhook(), delivery(), webhook("other_app"), webhook())
    assert len(addresses(await at.told(DEAD, topic="delivery.alerts.dead"))) == 1
    assert [one["reason"] for one in (await at.told(DEAD, reason="stale"))["letters"]] == ["stale", "stale"]
    assert len(addresses(await at.told(DEAD, since=(NOW + timedelta(seconds=2)).isoformat()))) == 2
    said = await at.told(DEAD, limit=1)
    assert (len(said["letters"]), said["cut"]) == (1, "limit")
    status, words = await at.refused(DEAD, topic="event.recorded")
    assert status == 422
    assert words.startswith("'event.recorded' takes no dead letters here; there are code.received.dead, ")


async def shown(at: Desk, *scopes: Any) -> dict[str, Any]:  # noqa: ANN401 - scopes
    [address] = addresses(await at.told(DEAD))
    return await at.told(f"{DEAD}/{address}", *scopes)


async def test_one_is_shown_whole_but_for_its_body(at: Desk) -> None:
    await at.publish(delivery())
    seen = await shown(at)
    assert (seen["key"], seen["reason"], seen["omitted"], "body" in seen) == ("a1", "refused", False, False)
    assert ["ce_id", "r1"] in seen["headers"]
    assert ["dead_offset", "17"] in seen["headers"]
    assert [(line["verdict"], line["status"], line["failure"]) for line in seen["history"]] == [
        ("failed", None, "timeout"),
        ("failed", None, "timeout"),
        ("refused", 422, None),
    ]


async def test_its_body_is_for_the_scope_bodies(at: Desk) -> None:
    await at.publish(webhook())
    seen = await shown(at, "read", "bodies")
    assert (seen["body"], seen["bytes"]) == (WEBHOOK.decode(), len(WEBHOOK))


async def test_bytes_that_are_no_text_are_told_as_what_they_are(at: Desk) -> None:
    await at.publish(webhook("not_json", b"\xff\x00"))
    assert (await shown(at, "read", "bodies"))["body"] == "base64:/wA="


async def test_one_that_did_not_fit_says_that_its_body_is_elsewhere(at: Desk) -> None:
    await at.publish(webhook("too_large", b"x" * (MESSAGE_LIMIT - 200)))
    seen = await shown(at, "read", "bodies")
    assert (seen["omitted"], '"topic":"webhook.received"' in seen["body"]) == (True, True)


async def test_of_one_that_died_twice_the_second_time_counts(at: Desk) -> None:
    again = letter(held(WEBHOOK_RECEIVED, webhook("stale"), offset=99), "other_app", at=NOW + timedelta(hours=1), attempts=2)
    await at.publish(again)
    [one] = (await at.told(DEAD))["letters"]
    assert (one["reason"], one["attempts"], one["origin"]) == ("other_app", 2, "webhook.received:3:99")


async def test_a_record_that_is_no_letter_is_shown_as_far_as_it_goes(at: Desk) -> None:
    strange = (("dead_attempts", b"\xff"), ("dead_history", b"{"), ("dead_topic", b"x"))
    await at.publish(Record(topic="webhook.received.dead", key=b"\xff", value=b"", headers=strange))
    [one] = (await at.told(DEAD))["letters"]
    assert (one["reason"], one["attempts"], one["origin"], one["at"]) == (None, None, None, NOW.isoformat())
    seen = await shown(at)
    assert (seen["key"], seen["history"]) == ("base64:/w==", [])


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("nonsense", "This is no dead letter's address: they look like webhook.received.dead:3:17."),
        ("webhook.received.dead:3:-1", "This is no dead letter's address"),
        ("webhook.received.dead:3:" + "9" * 30, "This is no dead letter's address"),
        ("webhook.received.dead:3:17", "No dead letter lies at webhook.received.dead:3:17: it has expired, or there was none."),
        ("webhook.received.dead:99:0", "No dead letter lies at"),
        ("event.recorded:0:0", "No dead letter lies at"),
        ("delivery.gone.dead:0:0", "No dead letter lies at"),
    ],
)
async def test_what_is_not_there_is_404_in_words(at: Desk, address: str, words: str) -> None:
    await at.publish(recorded(event(1)))
    status, said = await at.refused(f"{DEAD}/{address}")
    assert (status, words in said) == (404, True), said


async def test_one_that_has_expired_is_not_mistaken_for_the_next(at: Desk) -> None:
    await at.publish(delivery(1), delivery(2))
    later, earlier = addresses(await at.told(DEAD))
    expire(at.bus, "delivery.alerts.dead", "a1", 1)
    assert (await at.get(f"{DEAD}/{earlier}"))[0] == 404
    assert (await at.get(f"{DEAD}/{later}"))[0] == 200


def test_topics_of_letters_are_ours_and_of_destinations_that_are_there() -> None:
    found = letters((*declared(["alerts"]), routed("copies.dead")))
    assert "delivery.alerts.dead" in found
    assert "webhook.received.dead" in found
    assert not {name for name in found if not name.endswith(".dead") or "copies" in name}
