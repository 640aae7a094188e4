"""Bodies and headers of deliveries, in each form that a destination may want."""

import asyncio
import json
from datetime import UTC, datetime

import msgspec
import pytest
from cloudevents.http import from_http
from standardwebhooks import Webhook

from schemas.cloudevents import over_http
from tests.workers.deliver.support import SECRET, STORES, Nobody, Sink, delivering, destination, event, until
from workers.bus.contract import Bus, Held
from workers.deliver.dress import misheaded
from workers.deliver.job import Deliver
from workers.deliver.parcel import packed
from workers.runtime.secrets import Secret


async def got(bus: Bus, sink: Sink, **changes: object) -> tuple[dict[str, str], bytes]:
    await bus.publish([event("e1", device="bü % d")])
    async with delivering(bus, destination(sink.url, **changes)):
        await until(lambda: sink.ids)
    ((headers, body),) = sink.requests
    Webhook(SECRET).verify(body, {name.lower(): value for name, value in headers.items()})
    return headers, body


async def test_a_structured_body_is_one_document(bus: Bus, sink: Sink) -> None:
    headers, body = await got(bus, sink)
    assert headers["Content-Type"] == "application/cloudevents+json"
    assert json.loads(body)["subject"] == "bü % d"


async def test_a_binary_body_is_the_data_alone_and_the_attributes_are_headers(bus: Bus, sink: Sink) -> None:
    headers, body = await got(bus, sink, body="binary")
    read = from_http({name.lower(): value for name, value in headers.items()}, body)
    assert headers["Content-Type"] == "application/json"
    assert (headers["ce-subject"], headers["ce-type"]) == ("b%C3%BC%20%25%20d", "com.ring.motion_detected")
    assert (read["id"], read["accountid"], read["linked"], read["sequence"]) == ("e1", "a1", "true", f"{0:020d}")
    assert read.data["motion"] == "human"


async def test_a_payload_is_what_ring_sent(bus: Bus, sink: Sink) -> None:
    headers, body = await got(bus, sink, body="payload")
    assert (headers["Content-Type"], body) == ("application/json", b'{"meta":{}}')
    assert not [name for name in headers if name.lower().startswith("ce-")]


async def test_headers_of_the_destinations_own_are_sent_and_those_of_variables_are_hidden(bus: Bus, sink: Sink) -> None:
    await bus.publish([event("e1")])
    target = destination(sink.url, headers={"X-Team": "alerts"}, headers_env={"Authorization": "ALERTS_AUTH"})
    worker = Deliver(
        bus,
        STORES[-1],
        target,
        [Secret(SECRET)],
        Nobody(),
        namespace="test",
        headers={"Authorization": Secret("Bearer canary")},
    )
    stop = asyncio.Event()
    task = asyncio.create_task(worker.run(stop))
    await until(lambda: sink.ids)
    stop.set()
    await task
    ((headers, _),) = sink.requests
    assert (headers["X-Team"], headers["Authorization"], headers["User-Agent"]) == ("alerts", "Bearer canary", "ringhook")
    assert "canary" not in repr(vars(worker))


@pytest.mark.parametrize(
    ("headers", "named", "words"),
    [
        ({"a b": "x"}, {}, "headers: a name is none of an HTTP header"),
        ({"": "x"}, {}, "headers: a name is none of an HTTP header"),
        ({"Content-Type": "x"}, {}, "headers: Content-Type is not yours to set"),
        ({}, {"webhook-id": "X"}, "headers_env: webhook-id is not yours to set"),
        ({"Host": "x"}, {}, "headers: Host is not yours to set"),
        ({"X": ""}, {}, "headers: a value must be 1 to 4,096"),
        ({"X": "a\r\nB: c"}, {}, "headers: a value must be 1 to 4,096"),
        ({"X": " x"}, {}, "headers: a value must be 1 to 4,096"),
        ({"X-A": "x"}, {"x-a": "X"}, "headers, headers_env: x-a stands in both"),
    ],
)
def test_headers_that_cannot_be_sent_are_told(headers: dict[str, str], named: dict[str, str], words: str) -> None:
    (told,) = misheaded(headers, named)
    assert told.startswith(words)
    assert not [*misheaded({"X-Team": "a b"}, {"Authorization": "VAR"})]


def test_what_a_header_cannot_hold_is_encoded() -> None:
    held = Held(**msgspec.structs.asdict(event('id"1%')), index=0, offset=0, time=datetime.now(UTC))
    made = packed(held).event
    assert made is not None
    assert over_http(made, "1")[0]["ce-id"] == "id%221%25"
