"""Several events in one request: each arrives once, in order of its key, and who fails is found out alone."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from operator import itemgetter
from typing import Literal

import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook
from structlog.testing import capture_logs

from tests.workers.deliver.support import (
    QUICK,
    SECRET,
    Nobody,
    Sink,
    attempts,
    dead_letters,
    delivering,
    destination,
    event,
    header,
    served,
    until,
)
from workers.bus.contract import Bus
from workers.deliver.destinations import Destination, problems


class Batches(Sink):
    """Notes the ids of each request's events, and answers by them."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []
        self.takes = 0.002
        self.says: Callable[[list[str]], int] = lambda _ids: 200

    async def ring(self, request: web.Request) -> web.Response:
        body = await request.read()
        Webhook(SECRET).verify(body, dict(request.headers))
        assert request.content_type == "application/cloudevents-batch+json"
        ids = [one["id"] for one in json.loads(body)]
        self.requests.append((dict(request.headers), body))
        self.batches.append(ids)
        await asyncio.sleep(self.takes)
        status = self.says(ids)
        if status == 200:
            self.ids += ids
        return web.Response(status=status)


@pytest.fixture
async def batches() -> AsyncIterator[Batches]:
    made, app = Batches(), web.Application()
    app.router.add_post("/ring", made.ring)
    async with served(app) as url:
        made.url = f"{url}/ring"
        yield made


def several(url: str, **changes: object) -> Destination:
    return destination(url, **{"body": "batched", "batch": 20, "concurrency": 2, **changes})


async def test_events_share_requests_and_each_arrives_once_in_the_order_of_its_key(bus: Bus, batches: Batches) -> None:
    await bus.publish(
        [event(f"d{device:02}-{turn}", device=f"d{device:02}", account=f"a{device}") for turn in range(5) for device in range(40)]
    )
    async with delivering(bus, several(batches.url)):
        await until(lambda: len(batches.ids) == 200)
    assert len({*batches.ids}) == 200
    assert len(batches.batches) < 60
    assert max(map(len, batches.batches)) <= 20
    for device in range(40):
        mine = [name for name in batches.ids if name.startswith(f"d{device:02}-")]
        assert mine == sorted(mine)
    (many, _), *_ = [request for request in batches.requests if len(json.loads(request[1])) > 1]
    assert many["webhook-id"].startswith("batch-")


async def test_events_without_an_order_fill_requests(bus: Bus, batches: Batches) -> None:
    await bus.publish([event(f"e{number}", device="one") for number in range(100)])
    async with delivering(bus, several(batches.url, key="none", batch=50, concurrency=1)):
        await until(lambda: len(batches.ids) == 100)
    assert len(batches.batches) <= 6


@pytest.mark.parametrize(("status", "reason"), [(422, "refused"), (500, "exhausted")])
async def test_who_fails_is_found_out_alone_and_takes_nobody_along(
    bus: Bus, batches: Batches, status: int, reason: Literal["refused", "exhausted"]
) -> None:
    batches.says, batches.takes = lambda ids: status if "bad" in ids else 200, 0.01
    await bus.publish([event("bad" if number == 5 else f"e{number:03}", device=f"d{number}") for number in range(900)])
    async with delivering(bus, several(batches.url, batch=10, concurrency=1), policy=QUICK):
        await until(lambda: len(batches.ids) == 899)
        (letter,) = await dead_letters(bus, 1)
    assert (header(letter, "ce_id"), header(letter, "dead_reason")) == ("bad", reason)
    assert len({*batches.ids}) == len(batches.ids) == 899
    assert any(len(ids) > 1 for ids in batches.batches[batches.batches.index(["bad"]) :]), "others were there to go with it"
    sizes = [len(ids) for ids in batches.batches if "bad" in ids]
    assert all(after <= (before + 1) // 2 for before, after in pairwise(sizes)), "its company is halved each time"
    assert sizes[-3:] == [1, 1, 1]


@pytest.mark.parametrize("status", [422, 500])
async def test_who_fails_is_found_by_halves_and_its_neighbours_go_together(bus: Bus, batches: Batches, status: int) -> None:
    batches.says = lambda ids: status if "bad" in ids else 200
    await bus.publish([event("bad" if number == 37 else f"e{number:02}", device=f"d{number}") for number in range(64)])
    async with delivering(bus, several(batches.url, batch=64, concurrency=1)):
        (letter,) = await dead_letters(bus, 1)
        await until(lambda: len(batches.ids) == 63)
    assert header(letter, "ce_id") == "bad"
    assert len(batches.batches) <= 22, "a request for each of its neighbours"  # 13 find it, few tell that it stays so


async def test_of_what_was_refused_together_it_is_told_of_how_many(bus: Bus, batches: Batches) -> None:
    batches.says = lambda ids: 422 if len(ids) > 1 else 200
    await bus.publish([event(f"e{number}", device=f"d{number}") for number in range(4)])
    with capture_logs() as lines:
        async with delivering(bus, several(batches.url, concurrency=1)):
            told = await attempts(bus, 12)
    assert [one["events"] for one in sorted(told, key=itemgetter("number")) if one["verdict"] == "refused"] == [4] * 4 + [2] * 4
    assert [line["events"] for line in lines if line["event"] == "delivery.failed"] == [4] * 4 + [2] * 4
    assert not any("events" in one for one in told if one["verdict"] == "accepted")


@pytest.mark.parametrize("status", [429, 503])
async def test_a_request_refused_by_its_destination_comes_again_as_large(bus: Bus, batches: Batches, status: int) -> None:
    batches.says = lambda _: 200 if len(batches.batches) > 2 else status
    await bus.publish([event(f"e{number:02}", device=f"d{number}") for number in range(64)])
    async with delivering(bus, several(batches.url, batch=64, concurrency=1)):
        await until(lambda: len(batches.ids) == 64)
    assert len(batches.batches) <= 5


@pytest.mark.parametrize("status", [422, 413, 500])
async def test_what_follows_a_buried_event_is_not_judged_by_what_it_shared_a_request_with(
    bus: Bus, batches: Batches, status: int
) -> None:
    batches.says = lambda ids: status if any(name.startswith("bad") for name in ids) else 200
    async with delivering(bus, several(batches.url, concurrency=1)):
        await bus.publish([event("before", device="dZ"), event("bad-A", device="dA")])
        await dead_letters(bus, 1)
        await bus.publish([event("good-A", device="dA"), event("bad-B", device="dB"), event("good-C", device="dC")])
        letters = await dead_letters(bus, 2)
        await until(lambda: {"good-A", "good-C"} <= {*batches.ids})
    assert [header(letter, "ce_id") for letter in letters] == ["bad-A", "bad-B"]


async def test_accounts_that_are_stopped_and_what_is_no_event_leave_the_others(bus: Bus, batches: Batches) -> None:
    class Stopped(Nobody):
        async def why(self, account: str) -> Literal["forgotten"] | None:  # type: ignore[override]
            return "forgotten" if account == "gone" else None

    await bus.publish(
        [event(f"e{number}", device=f"d{number}", account="gone" if number % 2 else f"a{number}") for number in range(20)]
    )
    async with delivering(bus, several(batches.url), stops=Stopped()):
        await until(lambda: len(batches.ids) == 10)
        await asyncio.sleep(0.3)
    assert sorted(batches.ids) == sorted(f"e{number}" for number in range(0, 20, 2))


def test_what_may_stand_beside_it() -> None:
    def said(**changes: object) -> list[str]:
        return [*problems(destination("http://127.0.0.1:9/", **changes))]

    assert said(body="batched") == said(body="batched", batch=500) == []
    assert said(batch=10) == ['batch, body: several events in one request need body = "batched"']
    assert said(body="batched", batch=1) == ["batch: must be between 2 and 500"]
