"""A delivery between a bus and a real HTTP service."""

import asyncio
import base64
import json
from collections import defaultdict

import pytest
from cloudevents.http import from_http
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook
from structlog.testing import capture_logs

from schemas.topics import EVENT_RECORDED, delivery
from tests.workers.deliver.support import (
    QUICK,
    SECRET,
    STORES,
    Nobody,
    Sink,
    attempts,
    dead_letters,
    delivering,
    destination,
    event,
    header,
    until,
)
from workers.bus.contract import Bus, Record
from workers.deliver.job import Deliver
from workers.deliver.policy import Standard
from workers.deliver.session import TOPIC
from workers.runtime.secrets import Secret
from workers.runtime.signing import SigningKey, generate


async def test_an_event_arrives_once_signed_and_as_a_cloudevent(bus: Bus, sink: Sink) -> None:
    await bus.publish([event("e1")])
    async with delivering(bus, destination(sink.url)):
        await until(lambda: sink.ids)
    ((headers, body),) = sink.requests
    Webhook(SECRET).verify(body, headers)
    told = from_http(headers, body)
    assert (told["id"], told["type"], told["subject"]) == ("e1", "com.ring.motion_detected", "d1")
    assert told["sequence"] == "0" * 20
    assert told["partneruserid"] == "u-42"
    assert told.data["motion"] == "human"
    assert headers["Content-Type"] == "application/cloudevents+json"


async def test_a_destination_may_ask_for_signatures_that_it_cannot_make_itself(bus: Bus, sink: Sink) -> None:
    key = generate()
    await bus.publish([event("e1")])
    async with delivering(bus, destination(sink.url, sign="v1a"), secret=key.reveal()):
        await until(lambda: sink.ids)
    ((headers, body),) = sink.requests
    scheme, signature = headers["webhook-signature"].split(",")
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(SigningKey(key).public.removeprefix("whpk_")))
    public.verify(base64.b64decode(signature), f"e1.{headers['webhook-timestamp']}.".encode() + body)
    assert scheme == "v1a"


async def test_one_devices_events_keep_their_order_and_devices_go_in_parallel(bus: Bus, sink: Sink) -> None:
    async def slowly(_id: str, _number: int) -> int:
        await asyncio.sleep(0.01)
        return 200

    sink.answer = slowly
    devices = [f"d{number}" for number in range(6)]
    await bus.publish([event(f"{device}-{turn:02}", device=device) for turn in range(15) for device in devices])
    async with delivering(bus, destination(sink.url)):
        await until(lambda: len(sink.ids) == 90)
    by_device = defaultdict(list)
    for identity in sink.ids:
        by_device[identity.split("-")[0]].append(identity)
    assert all(order == sorted(order) for order in by_device.values())
    assert sink.most == 6


async def test_concurrency_is_kept_over_all_lanes(bus: Bus, sink: Sink) -> None:
    async def slowly(_id: str, _number: int) -> int:
        await asyncio.sleep(0.005)
        return 200

    sink.answer = slowly
    await bus.publish([event(f"e{number}", device=f"d{number}", account=f"a{number}") for number in range(100)])
    async with delivering(bus, destination(sink.url, concurrency=3)):
        await until(lambda: len(sink.ids) == 100)
    assert sink.most == 3


async def test_a_failing_device_waits_while_its_neighbours_pass_and_is_buried_with_its_history(bus: Bus, sink: Sink) -> None:
    sink.answer = lambda identity, _number: 500 if identity.startswith("bad") else 200
    await bus.publish([event("bad-1", device="bad"), event("bad-2", device="bad")])
    await bus.publish([event(f"good-{number:02}", device="good") for number in range(20)])
    async with delivering(bus, destination(sink.url)):
        await until(lambda: sink.seen("bad-2") == 2)
        assert sink.seen("good-19")
        await bus.publish([event("life", device="good")])  # since bad-2's first attempt there was none
        first, second = await dead_letters(bus, 2)
    assert sink.ids.index("good-19") < sink.ids.index("bad-2")
    assert (header(first, "ce_id"), header(first, "dead_reason"), header(first, "dead_status")) == ("bad-1", "exhausted", "500")
    assert (header(second, "ce_id"), header(second, "dead_reason")) == ("bad-2", "follower")
    assert sink.seen("bad-2") == int(header(second, "dead_attempts")) <= 4
    history = json.loads(header(first, "dead_history"))
    assert len(history) == int(header(first, "dead_attempts")) == sink.seen("bad-1") >= 4
    assert {line["status"] for line in history} == {500}


async def test_what_follows_a_buried_one_is_not_buried_for_a_destination_that_says_later(bus: Bus, sink: Sink) -> None:
    lives = asyncio.Event()

    async def answers(identity: str, number: int) -> int:
        if identity == "b" and number == 1:
            await lives.wait()
            return 503
        return 422 if identity == "a" else 200

    sink.answer = answers
    async with delivering(bus, destination(sink.url)) as worker:
        await bus.publish([event("a", device="k")])
        await dead_letters(bus, 1)
        await bus.publish([event("b", device="k")])
        await until(lambda: sink.seen("b") == 1)
        await bus.publish([event("other", device="o")])
        await until(lambda: sink.seen("other") and worker.flight and worker.flight.health.flying == 1)
        lives.set()
        await until(lambda: sink.seen("b") == 2, 5)


async def test_what_the_partner_refuses_is_buried_after_three_attempts(bus: Bus, sink: Sink) -> None:
    sink.answer = lambda _id, _number: 422
    await bus.publish([event("e1")])
    with capture_logs() as lines:
        async with delivering(bus, destination(sink.url)):
            (letter,) = await dead_letters(bus, 1)
            await until(lambda: [line for line in lines if line["event"] == "delivery.buried"])
    assert header(letter, "dead_reason") == "refused"
    assert sink.seen("e1") == 3
    (buried,) = [line for line in lines if line["event"] == "delivery.buried"]
    assert (buried["event_id"], buried["reason"], buried["log_level"]) == ("e1", "refused", "warning")


async def test_a_dead_destination_buries_nothing_stops_fetching_and_gets_all_once_it_lives(bus: Bus, sink: Sink) -> None:
    sink.answer = lambda _id, _number: 503
    events = [event(f"e{number:03}", device=f"d{number}") for number in range(300)]
    await bus.publish(events)
    async with delivering(bus, destination(sink.url, concurrency=8)) as worker:
        await until(lambda: worker.flight and worker.flight.health.failing)
        await asyncio.sleep(0.7)  # fetches that were under way have ended
        assert worker.flight
        lanes = worker.flight.lanes
        held = sum(lane.window.open for lane in lanes)
        await bus.publish([event(f"late{number}", device=f"l{number}", account=f"l{number}") for number in range(50)])
        await asyncio.sleep(0.5)
        assert len(sink.ids) <= 20
        assert sum(lane.window.open for lane in lanes) == held
        sink.answer = lambda _id, _number: 200
        await until(lambda: len(sink.unique) == 350)
    assert (await bus.lag("delivery.alerts", [TOPIC])).records == 0
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await dead_letters(bus, 1)


async def test_410_disables_the_destination_and_keeps_the_event(bus: Bus, sink: Sink) -> None:
    sink.answer = lambda _id, _number: 410
    await bus.publish([event("e1"), event("e2", device="d2", account="a2")])
    with capture_logs() as lines:
        async with delivering(bus, destination(sink.url, concurrency=1)) as worker:
            await until(lambda: worker.flight and worker.flight.shut)
            await asyncio.sleep(0.3)
    (gone,) = [line for line in lines if line["event"] == "destination.gone"]
    assert gone["meaning"].endswith("until `ringhook destinations resume alerts`")
    assert len(sink.ids) == 1
    assert (await bus.lag(worker.name, [TOPIC])).records == 2


async def test_unlinked_events_are_passed_over_unless_the_destination_asks(bus: Bus, sink: Sink) -> None:
    await bus.publish([event("stranger", linked=False), event("friend")])
    async with delivering(bus, destination(sink.url)):
        await until(lambda: sink.ids)
    assert sink.ids == ["friend"]
    assert (await bus.lag("delivery.alerts", [TOPIC])).records == 0
    async with delivering(bus, destination(sink.url, name="alerts", deliver_unlinked=True)):
        await bus.publish([event("stranger-2", linked=False)])
        await until(lambda: len(sink.ids) == 2)


async def test_a_destination_gets_what_its_filter_wants_and_nothing_else(bus: Bus, sink: Sink) -> None:
    wanted = {"all": [{"suffix": {"type": "_detected"}}, {"not": {"exact": {"subject": "d2"}}}]}
    await bus.publish([event("e1", kind="button_press"), event("e2", device="d2"), event("stranger", linked=False), event("e3")])
    async with delivering(bus, destination(sink.url, filter=wanted)):
        await until(lambda: sink.ids)
    assert sink.ids == ["e3"]
    assert (await bus.lag("delivery.alerts", [TOPIC])).records == 0


async def test_a_record_that_is_no_event_is_buried_and_stops_nothing(bus: Bus, sink: Sink) -> None:
    await bus.publish([Record(topic=EVENT_RECORDED.name, key=b"a1", value=b"\xff"), event("e1")])
    with capture_logs() as lines:
        async with delivering(bus, destination(sink.url)):
            await until(lambda: sink.ids)
            (letter,) = await dead_letters(bus, 1)
    assert header(letter, "dead_reason") == "not_an_event"
    (buried,) = [line for line in lines if line["event"] == "delivery.buried"]
    assert (buried["topic"], buried["offset"]) == (EVENT_RECORDED.name, 0)
    assert letter.value == b"\xff"


async def test_stopping_lets_requests_in_flight_end_and_nothing_comes_twice(bus: Bus, sink: Sink) -> None:
    async def slowly(_id: str, _number: int) -> int:
        await asyncio.sleep(0.05)
        return 200

    sink.answer = slowly
    await bus.publish([event(f"e{number:03}", device=f"d{number}") for number in range(200)])
    for _ in range(3):
        had = len(sink.ids)
        async with delivering(bus, destination(sink.url, concurrency=8)):
            await until(lambda had=had: len(sink.ids) > had + 10)
    async with delivering(bus, destination(sink.url)):
        await until(lambda: len(sink.unique) == 200)
    assert len(sink.ids) == 200


async def test_a_kill_in_mid_flight_sends_again_at_most_what_was_not_yet_committed(bus: Bus, sink: Sink) -> None:
    async def slowly(_id: str, _number: int) -> int:
        await asyncio.sleep(0.03)
        return 200

    sink.answer = slowly
    await bus.publish([event(f"e{number:03}", device=f"d{number}", account=f"a{number}") for number in range(400)])
    repeats = 0
    while len(sink.unique) < 400:
        had = len(sink.unique)
        killed = asyncio.create_task(
            Deliver(bus, STORES[-1], destination(sink.url, concurrency=8), [Secret(SECRET)], Nobody(), namespace="test").run(
                asyncio.Event()
            )
        )
        await until(lambda had=had: len(sink.unique) == 400 or len(sink.unique) >= had + 120)
        killed.cancel()
        await asyncio.wait([killed])
        repeats += 1
    allowed = 8 + 8 / 0.03 * 0.35  # in flight, and what was settled since the commit before
    assert len(sink.ids) - 400 <= repeats * allowed
    assert set(sink.ids) == {f"e{number:03}" for number in range(400)}


async def test_a_hole_does_not_make_its_successors_come_again(bus: Bus, sink: Sink) -> None:
    patient = Standard(schedule=(30.0,))
    sink.answer = lambda identity, _number: 500 if identity == "hole" else 200
    await bus.publish([event("hole", device="hole")])
    await bus.publish([event(f"e{number}", device=f"d{number}") for number in range(50)])
    async with delivering(bus, destination(sink.url), policy=patient):
        await until(lambda: len(sink.unique) == 51)
    sink.answer = lambda _id, _number: 200
    async with delivering(bus, destination(sink.url), policy=patient):
        await until(lambda: sink.seen("hole") == 2)
    assert len(sink.ids) == 52


async def test_every_attempt_is_told_on_its_topic(bus: Bus, sink: Sink) -> None:
    sink.answer = lambda _id, number: 200 if number == 2 else 500
    sink.says = "because \u00fc".encode() + b"\xff" + b"x" * 2_000
    await bus.publish([event("e1")])
    with capture_logs() as lines:
        async with delivering(bus, destination(sink.url)):
            await until(lambda: sink.seen("e1") == 2)
    first, second = await attempts(bus, 2)
    assert [(line["event"], line["number"], line["status"]) for line in (first, second)] == [("e1", 1, 500), ("e1", 2, 200)]
    assert first["answer"] == "because \u00fc\ufffd" + "x" * (1_024 - 11)
    assert second["answer"] is None
    assert all(line["timing"].keys() == {"dns_ms", "connect_ms", "tls_ms", "wait_ms"} for line in (first, second))
    assert "because" not in str(lines)


async def test_what_an_answer_says_is_told_of_its_attempt_and_kept_nowhere_else(bus: Bus, sink: Sink) -> None:
    sink.answer = lambda _id, _number: 422
    sink.says = b"canary"
    await bus.publish([event("e1")])
    async with delivering(bus, destination(sink.url)):
        (letter,) = await dead_letters(bus, 1)
    assert "canary" not in str(letter)
    assert [line["answer"] for line in await attempts(bus, 3)] == ["canary"] * 3


async def test_a_worker_is_named_after_its_destination(bus: Bus) -> None:
    worker = Deliver(
        bus, STORES[-1], destination("https://x.example.com/"), [Secret(SECRET)], Nobody(), namespace="test", policy=QUICK
    )
    assert worker.name == delivery("alerts")


async def test_keys_that_fail_together_do_not_keep_a_living_destination_from_the_others(bus: Bus, sink: Sink) -> None:
    sink.answer = lambda identity, _number: 500 if identity.startswith("bad") else 200
    await bus.publish([event(f"bad{number}", device=f"bad{number}", account=f"b{number}") for number in range(12)])
    async with delivering(bus, destination(sink.url), policy=Standard(schedule=(0.05,) * 1000)) as worker:
        await until(lambda: worker.flight and worker.flight.health.failing)
        await bus.publish([event(f"good{number}", device=f"g{number}", account=f"g{number}") for number in range(12)])
        await until(lambda: len({one for one in sink.ids if one.startswith("good")}) == 12)
