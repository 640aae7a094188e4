import asyncio
import gzip
import hashlib
import json

import pytest
from aiohttp import ClientResponse

from ingress.settings import Limits
from schemas import topics
from schemas.errors import Misconfigured
from schemas.ring import arrival, probe
from schemas.ring.signature import sign
from tests.ingress.conftest import KEY, NEXT_KEY, NOW, Edge, Start

VECTOR = b'{"meta":{"request_id":"r1"}}'
VECTOR_SIGNATURE = "sha256=df9b6d5a9c5300d8b38852b0c2c3aa8345ef313b37876ade2355bda369a1cff9"
MOTION = json.dumps(
    {
        "meta": {"version": "1.1", "time": "2026-02-15T04:48:26.289Z", "request_id": "r-42", "account_id": "ava1.ring.account.A"},
        "data": {"id": "e1", "type": "motion_detected", "attributes": {"source": "dev1", "source_type": "devices"}},
    }
).encode()


async def post(edge: Edge, body: bytes, signature: str | None = None, **headers: str) -> ClientResponse:
    sent = {"X-Signature": sign(KEY.encode(), body) if signature is None else signature, **headers}
    async with edge.client.post("/ring/webhook", data=body, headers=sent) as response:
        await response.read()
        return response


async def test_the_vector_of_the_contract_is_accepted(edge: Edge) -> None:
    assert (await post(edge, VECTOR, VECTOR_SIGNATURE)).status == 200
    (record,) = edge.bus.of(topics.WEBHOOK_RECEIVED)
    assert record.value == VECTOR
    assert record.header("request_id") == b"r1"


async def test_a_200_means_that_the_raw_bytes_are_held_under_the_account_with_how_they_came(edge: Edge) -> None:
    assert (await post(edge, MOTION)).status == 200
    (record,) = edge.bus.of(topics.WEBHOOK_RECEIVED)
    came = arrival.read(record.headers)
    assert (record.key, record.value) == (b"ava1.ring.account.A", MOTION)
    assert (came.request_id, came.type, came.received_at, came.app) == ("r-42", "motion_detected", NOW, "first")


async def test_the_doctors_own_webhook_is_held_and_is_no_first_contact_of_rings(edge: Edge) -> None:
    assert (await post(edge, probe.body("ringhook-probe-1", NOW))).status == 200
    assert not edge.notices.met("webhook", proven=True)
    assert (await post(edge, MOTION)).status == 200
    assert edge.notices.met("webhook", proven=True)
    assert [record.header("type") for record in edge.bus.of(topics.WEBHOOK_RECEIVED)] == [b"ringhook_probe", b"motion_detected"]


async def test_the_signature_goes_no_further(edge: Edge) -> None:
    signature = sign(KEY.encode(), MOTION)
    await post(edge, MOTION, signature)
    assert signature.removeprefix("sha256=") not in repr(edge.bus.held)


async def test_both_keys_are_accepted_and_told_apart(edge: Edge) -> None:
    assert (await post(edge, MOTION, sign(NEXT_KEY.encode(), MOTION))).status == 200
    assert arrival.read(edge.bus.of(topics.WEBHOOK_RECEIVED)[0].headers).app == "next"


@pytest.mark.parametrize("signature", ["", "sha256=", "sha256=00", "0" * 64, "sha256=" + "g" * 64, "é" * 64, "sha1=" + "0" * 64])
async def test_a_bad_signature_of_any_kind_is_the_same_401_and_holds_nothing(edge: Edge, signature: str) -> None:
    assert (await post(edge, MOTION, signature)).status == 401
    assert not edge.bus.of(topics.WEBHOOK_RECEIVED)


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b"null", b"\x00\xff", b'{"meta":' * 5000, b'{"a":1,"a":2}'])
async def test_a_signed_body_that_is_no_envelope_is_held_all_the_same(edge: Edge, body: bytes) -> None:
    assert (await post(edge, body)).status == 200
    (record,) = edge.bus.of(topics.WEBHOOK_RECEIVED)
    assert record.value == body
    assert record.header("request_id") == b"sha256:" + hashlib.sha256(body).hexdigest().encode()


async def test_gzip_is_not_unpacked_the_bytes_as_they_came_decide(edge: Edge) -> None:
    packed = gzip.compress(MOTION)
    assert (await post(edge, packed, **{"Content-Encoding": "gzip"})).status == 200
    assert (await post(edge, packed, sign(KEY.encode(), MOTION), **{"Content-Encoding": "gzip"})).status == 401
    assert edge.bus.of(topics.WEBHOOK_RECEIVED)[0].value == packed


async def test_the_cap_is_the_last_byte_that_is_accepted(edge: Edge) -> None:
    assert (await post(edge, b"x" * topics.BODY_LIMIT)).status == 200
    assert (await post(edge, b"x" * (topics.BODY_LIMIT + 1))).status == 413
    assert edge.server.ready() is None


async def test_a_chunked_body_is_cut_at_the_cap(edge: Edge) -> None:
    async def endless() -> object:
        for _ in range(64):
            yield b"x" * 8192

    async with edge.client.post("/ring/webhook", data=endless()) as response:
        assert response.status == 413


async def test_a_bus_that_is_away_is_503_with_retry_after(edge: Edge) -> None:
    edge.bus.down = True
    response = await post(edge, MOTION)
    assert (response.status, response.headers["Retry-After"]) == (503, "2")


async def test_a_bug_is_503_and_never_500(edge: Edge) -> None:
    edge.bus.bug = RuntimeError("a bug")
    response = await post(edge, MOTION)
    assert (response.status, response.headers["Retry-After"]) == (503, "2")


async def test_a_bus_slower_than_the_deadline_is_503(serve: Start) -> None:
    async with serve(limits=Limits(deadline_s=0.2)) as edge:
        edge.bus.gate.clear()
        response = await post(edge, MOTION)
        assert (response.status, response.headers["Retry-After"]) == (503, "2")


async def test_over_the_bound_of_what_is_in_flight_it_is_503_at_once(serve: Start) -> None:
    async with serve(limits=Limits(webhooks=1)) as edge:
        edge.bus.gate.clear()
        first = asyncio.create_task(post(edge, MOTION))
        await edge.bus.until_waiting(1)
        statuses = {(await asyncio.wait_for(post(edge, MOTION), 20)).status for _ in range(2)}
        unsigned = (await post(edge, MOTION, "bad")).status
        edge.bus.gate.set()
        assert (statuses, unsigned, (await first).status) == ({503}, 401, 200)


@pytest.mark.parametrize("path", ["/ring/webhook", "/ring/webhook/", "/ring/token-exchange", "/ring/token-exchange/"])
async def test_probes_of_the_urls_ring_posts_to_are_answered_harmlessly(edge: Edge, path: str) -> None:
    for method, status in (("GET", 200), ("HEAD", 200), ("OPTIONS", 204), ("PUT", 405), ("DELETE", 405)):
        async with edge.client.request(method, path) as response:
            assert (method, response.status) == (method, status)
    assert not edge.bus.of(topics.WEBHOOK_RECEIVED)


async def test_an_unknown_path_is_404(edge: Edge) -> None:
    async with edge.client.post("/nowhere", data=b"x") as response:
        assert response.status == 404


@pytest.mark.parametrize("seconds", [0, -1, 4, 5])
def test_a_deadline_that_makes_ring_send_twice_is_refused(seconds: float) -> None:
    with pytest.raises(Misconfigured, match="Ring waits 5 s"):
        Limits(deadline_s=seconds)
