"""`GET /v1/deliveries`: which attempts are told, in which order, and to whom."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import orjson
import pytest
from msgspec.structs import replace

from ingress.admin.backward import Allowance
from schemas.topics import DELIVERY_ATTEMPTED
from tests.ingress.looking import NOW, Desk, desk, event
from workers.bus.contract import Held, Record
from workers.deliver.answer import Answer, Verdict
from workers.deliver.letters import CANCELLED, attempted, unsent
from workers.deliver.policy import Attempt, Tries

DELIVERIES = "/v1/deliveries"


@pytest.fixture
async def at() -> AsyncIterator[Desk]:
    async with desk() as made:
        yield made


def attempt(
    number: int, *, to: str = "alerts", account: str = "a1", verdict: Verdict = Verdict.ACCEPTED, made: int = 1
) -> Record:
    """Return what deliver writes down of an attempt."""
    held = Held(topic="event.recorded", key=account.encode(), value=b"{}", index=3, offset=number, time=NOW)
    status = {Verdict.ACCEPTED: 204, Verdict.REFUSED: 422, Verdict.THROTTLED: 429}.get(verdict)
    line = Attempt(at=NOW, verdict=verdict, status=status, failure=None if status else "timeout", took=0.0123)
    tries = Tries(first=NOW, previous=NOW, latest=NOW, made=made, history=(line,))
    return attempted(to, held, event(number, account=account), tries, Answer(status=status, took=0.0123))


def ids(said: dict[str, list[dict[str, str]]]) -> list[str]:
    return [one["event"] for one in said["deliveries"]]


async def test_the_newest_come_first_with_all_that_is_known(at: Desk) -> None:
    await at.publish(*(attempt(number, account=f"a{number % 4}") for number in range(9)))
    said = await at.told(DELIVERIES)
    assert ids(said) == [f"r{number}" for number in range(8, -1, -1)]
    assert (said["scanned"], said["cut"]) == (9, None)
    assert said["deliveries"][0] == {
        "destination": "alerts",
        "event": "r8",
        "type": "com.ring.motion_detected",
        "device": "d1",
        "account": "a0",
        "index": 3,
        "offset": 8,
        "number": 1,
        "at": NOW.isoformat(),
        "verdict": "accepted",
        "status": 204,
        "failure": None,
        "replay": None,
        "timing": None,
        "took_ms": 12.3,
    }


async def test_they_are_chosen_by_what_they_say(at: Desk) -> None:
    held = Held(topic="event.recorded", key=b"a1", value=b"{}", index=3, offset=9, time=NOW)
    await at.publish(
        attempt(1, verdict=Verdict.FAILED),
        attempt(1, to="archive"),
        attempt(2, account="a2", verdict=Verdict.REFUSED),
        attempt(1, made=2, verdict=Verdict.THROTTLED),
        attempt(3),
        unsent("alerts", held, event(4), None, NOW, why=CANCELLED),
    )
    assert ids(await at.told(DELIVERIES, failed=True)) == ["r1", "r2", "r1"]
    assert ids(await at.told(DELIVERIES, destination="archive")) == ["r1"]
    assert [one["number"] for one in (await at.told(DELIVERIES, event="r1", destination="alerts"))["deliveries"]] == [2, 1]
    assert ids(await at.told(DELIVERIES, account="a2")) == ["r2"]
    assert ids(await at.told(DELIVERIES, account="a1", failed=True)) == ["r1", "r1"]
    since = (NOW + timedelta(seconds=3)).isoformat()
    assert ids(await at.told(DELIVERIES, since=since)) == ["r4", "r3", "r1"]
    assert await at.told(DELIVERIES, event="unknown") == {"deliveries": [], "scanned": 6, "cut": None}


async def test_an_account_is_sought_in_its_index_alone(at: Desk) -> None:
    await at.publish(*(attempt(number, account=f"a{number % 20}") for number in range(60)))
    assert (await at.told(DELIVERIES, account="a1"))["scanned"] < 30


async def test_it_ends_at_the_limit_or_where_enough_was_looked_at(at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await at.publish(*(attempt(number) for number in range(100)))
    said = await at.told(DELIVERIES, limit=3)
    assert (ids(said), said["cut"]) == (["r99", "r98", "r97"], "limit")
    monkeypatch.setattr("ingress.admin.deliveries.Allowance", lambda: Allowance(records=10))
    said = await at.told(DELIVERIES, event="r0")
    assert (said["deliveries"], said["cut"]) == ([], "scanned")


async def test_what_a_destination_answered_is_for_the_scope_bodies(at: Desk) -> None:
    plain = attempt(1)
    await at.publish(replace(plain, value=orjson.dumps(orjson.loads(plain.value) | {"answer": "canary"})))
    [bare] = (await at.told(DELIVERIES))["deliveries"]
    [whole] = (await at.told(DELIVERIES, "read", "bodies"))["deliveries"]
    assert ("answer" in bare, whole["answer"]) == (False, "canary")


async def test_a_record_that_nobody_can_read_is_passed_over(at: Desk) -> None:
    await at.publish(Record(topic=DELIVERY_ATTEMPTED.name, key=b"a1", value=b"{"), attempt(1))
    assert ids(await at.told(DELIVERIES)) == ["r1"]


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 501}, {"since": "1h"}, {"surprise": 1}, {"failed": "maybe"}])
async def test_what_is_no_question_is_told_in_words(at: Desk, query: dict[str, object]) -> None:
    status, said = await at.refused(DELIVERIES, **query)
    assert status == 400
    assert "The query is not understood" in said or "A time is written with its offset" in said


async def test_searches_go_one_after_the_other_and_few_wait(at: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way, most = [0], [0]

    async def slow(*_: object, **__: object) -> dict[str, object]:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        await asyncio.sleep(0.3)
        under_way[0] -= 1
        return {}

    monkeypatch.setattr("ingress.admin.deliveries.looked_up", slow)
    monkeypatch.setattr("ingress.admin.dead.listed", slow)
    answers = await asyncio.gather(*(at.get(path) for path in (DELIVERIES, "/v1/dead", DELIVERIES)))
    assert sorted(status for status, _ in answers) == [200, 200, 429]
    assert most == [1]
    assert (await at.get(DELIVERIES))[0] == 200
