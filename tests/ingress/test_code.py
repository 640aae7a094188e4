import hashlib
from collections.abc import AsyncIterator

import msgspec
import pytest
from aiohttp import ClientResponse

from schemas import topics
from schemas.records import CodeReceived, EdgeNoticed
from tests.ingress.conftest import NOW, Edge

PLAIN, SECRET = "/ring/token-exchange", "/ring/token-exchange/s3cret-path"


async def post(edge: Edge, body: bytes, path: str = SECRET, **headers: str) -> ClientResponse:
    async with edge.client.post(path, data=body, headers=headers) as response:
        await response.read()
        return response


def came(edge: Edge) -> list[CodeReceived]:
    return [msgspec.json.decode(record.value, type=CodeReceived) for record in edge.bus.of(topics.CODE_RECEIVED)]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b"code=c0de", SECRET),
        (b'{"code":"c0de"}', SECRET),
        (b"authorization_code=c0de&state=x", SECRET),
        (b"", SECRET + "?code=c0de"),
        (b"code=c0de", SECRET + "?code=c0de"),
    ],
)
async def test_a_code_is_held_sealed_however_it_is_said(edge: Edge, body: bytes, path: str) -> None:
    for media_type in ("application/x-www-form-urlencoded", "application/json", "nonsense", "text/plain; charset=no-such"):
        assert (await post(edge, body, path, **{"Content-Type": media_type})).status == 200
    record, seen = edge.bus.of(topics.CODE_RECEIVED)[0], came(edge)[0]
    assert record.key == hashlib.sha256(b"c0de").hexdigest().encode()
    assert edge.opener.open(seen.code) == b"c0de"
    assert (seen.app, seen.stranger, seen.received_at) == ("first", False, NOW)
    assert b"c0de" not in b"".join(held.value for held in edge.bus.held)


async def test_the_path_says_for_which_app_a_code_came_and_whether_a_stranger_may_have_sent_it(edge: Edge) -> None:
    await post(edge, b"code=a", PLAIN)
    await post(edge, b"code=b", "/ring/token-exchange/next-path")
    assert [(seen.app, seen.stranger) for seen in came(edge)] == [("first", True), ("next", False)]


async def test_a_wrong_secret_is_404_and_holds_nothing(edge: Edge) -> None:
    for secret in ("wrong", "s3cret-pat", "s3cret-pathx", "%00", "%ff%fe", "é"):
        assert (await post(edge, b"code=a", f"{PLAIN}/{secret}")).status == 404
    assert not came(edge)


async def test_a_wrong_secret_is_noticed_without_being_told_and_so_is_a_length_that_was_not_said(edge: Edge) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"code=c0de"

    async with edge.client.post(f"{PLAIN}/wr0ng", data=pieces()) as response:
        assert response.status == 404
    edge.stop.set()
    await edge.running
    (notice,) = [msgspec.json.decode(record.value, type=EdgeNoticed) for record in edge.bus.of(topics.EDGE_NOTICED)]
    assert (notice.kind, notice.proven, notice.detail["reason"]) == ("code.wrong_secret", False, "exchange_secret")
    assert "length" not in notice.detail
    assert not {"wr0ng", "c0de", "None"} & set(str(notice.detail.values()).split("'"))


async def test_the_same_code_again_is_the_same_200_under_the_same_key(edge: Edge) -> None:
    assert {(await post(edge, b"code=a")).status for _ in range(3)} == {200}
    assert len({record.key for record in edge.bus.of(topics.CODE_RECEIVED)}) == 1


@pytest.mark.parametrize(
    "body", [b"", b"nothing=here", b"code=a&code=b", b"code=" + b"a" * 2049, b"{", b'{"code":1}', b"\x00\xff" * 9, b"code="]
)
async def test_a_request_without_one_usable_code_is_400(edge: Edge, body: bytes) -> None:
    assert (await post(edge, body)).status == 400
    assert not came(edge)


async def test_a_body_over_16_kib_is_413(edge: Edge) -> None:
    assert (await post(edge, b"x=" + b"a" * 16 * 1024)).status == 413


async def test_a_bus_that_is_away_is_503_with_retry_after(edge: Edge) -> None:
    edge.bus.down = True
    response = await post(edge, b"code=a")
    assert (response.status, response.headers["Retry-After"]) == (503, "2")


async def test_what_is_noticed_of_a_code_names_no_value(edge: Edge) -> None:
    await post(edge, b"code=c0de&surprise=x", **{"User-Agent": "Java-http-client/17"})
    await post(edge, b"surprise=c0de")
    edge.stop.set()
    await edge.running
    notices = [record.value for record in edge.bus.of(topics.EDGE_NOTICED)]
    assert any(b'"code.form_unknown"' in value for value in notices)
    assert any(b"Java-http-client/17" in value and b'"fields":"code,other"' in value for value in notices)
    assert not any(b"c0de" in value or b"surprise" in value for value in notices)
