"""The sample partner, by its own door; signatures are made by the reference library."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from deploy.demo.partner import Login, Service, application, serve

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


def signed(identity: str, body: bytes, *, secret: str = SECRET, shift: int = 0) -> dict[str, str]:
    now = int(datetime.now(UTC).timestamp()) + shift
    signature = Webhook(secret).sign(identity, datetime.fromtimestamp(now, UTC), body.decode())
    return {"webhook-id": identity, "webhook-timestamp": str(now), "webhook-signature": f"v1a,xx v1,AAAA {signature}"}


def delivery(identity: str, sequence: int, subject: str = "d1") -> tuple[str, bytes]:
    return identity, json.dumps({"id": identity, "subject": subject, "sequence": f"{sequence:020}"}).encode()


async def send(url: str, *deliveries: tuple[str, bytes]) -> list[int]:
    async with aiohttp.ClientSession() as client:
        return [(await client.post(f"{url}/ring", data=body, headers=signed(name, body))).status for name, body in deliveries]


async def test_the_service_tells_ids_repeats_and_disorder() -> None:
    service = Service(SECRET)
    async with serve(application(service)) as url, aiohttp.ClientSession() as client:
        sent = [delivery("a", 1), delivery("b", 2), delivery("a", 1), delivery("d", 9, "d2"), delivery("c", 4, "d2")]
        assert await send(url, *sent) == [204] * 5
        told = await (await client.get(f"{url}/received")).json()
    assert told == {"ids": ["a", "b", "d", "c"], "repeated": {"a": 1}, "unordered": ["d2"], "refused": 0, "failed": 0}


async def test_the_service_fails_as_often_as_told_and_then_accepts() -> None:
    async with serve(application(Service(SECRET, failures=2))) as url:
        assert await send(url, *[delivery("a", 1)] * 4) == [503, 503, 204, 204]


@pytest.mark.parametrize(
    "headers",
    [
        dict,
        lambda: {"webhook-id": "a", "webhook-timestamp": "now", "webhook-signature": "v1,x"},
        lambda: signed("a", b"{}", shift=-400),
        lambda: signed("a", b"{}", shift=400),
        lambda: signed("a", b"{ }"),
        lambda: signed("a", b"{}", secret="whsec_" + base64.b64encode(b"x" * 32).decode()),
        lambda: {**signed("a", b"{}"), "webhook-id": "b"},
        lambda: {**signed("a", b"{}"), "webhook-signature": "v1,ä"},
    ],
)
async def test_a_delivery_that_is_not_genuine_is_refused(headers: Callable[[], dict[str, str]]) -> None:
    service = Service(SECRET)
    async with serve(application(service)) as url, aiohttp.ClientSession() as client:
        assert (await client.post(f"{url}/ring", data=b"{}", headers=headers())).status == 401
    assert (service.ids, service.refused) == ([], 1)


@pytest.fixture
def claims() -> list[dict[str, Any]]:
    return []


async def signed_in(claims: list[dict[str, Any]], form: dict[str, str], *, status: int = 200) -> tuple[int, str, str]:
    """Post the login form in front of an API that answers the claim with `status`; return status, Location and page."""

    async def claim(request: web.Request) -> web.Response:
        claims.append({**await request.json(), "attempt": request.match_info["attempt"], "by": request.headers["Authorization"]})
        return web.json_response({"finish_url": "https://ringhook.example.com/finish?ticket=t"}, status=status)

    api = web.Application()
    api.router.add_post("/v1/attempts/{attempt}/claim", claim)
    async with (
        serve(api) as internal,
        serve(application(login=Login(internal, "tok", {"ada": "lovelace"}))) as url,
        aiohttp.ClientSession() as client,
    ):
        answer = await client.post(f"{url}/login", data=form, allow_redirects=False)
        return answer.status, answer.headers.get("Location", ""), await answer.text()


async def test_signing_in_claims_the_attempt_and_sends_the_browser_on(claims: list[dict[str, Any]]) -> None:
    form = {"attempt": "at-1", "user": "ada", "password": "lovelace"}
    status, location, _ = await signed_in(claims, form)
    assert (status, location) == (303, "https://ringhook.example.com/finish?ticket=t")
    assert claims == [{"partner_user": "u-ada", "account_identifier": "a***a@example.com", "attempt": "at-1", "by": "Bearer tok"}]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"attempt": "at-1", "user": "ada", "password": "wrong"}, 401),
        ({"attempt": "at-1", "user": "nobody", "password": "lovelace"}, 401),
        ({"attempt": "../../x", "user": "ada", "password": "lovelace"}, 400),
        ({}, 400),
    ],
)
async def test_without_the_right_password_or_attempt_nothing_is_claimed(
    claims: list[dict[str, Any]], form: dict[str, str], expected: int
) -> None:
    status, location, _ = await signed_in(claims, form)
    assert (status, location, claims) == (expected, "", [])


async def test_a_refused_claim_is_told_in_words(claims: list[dict[str, Any]]) -> None:
    status, _, page = await signed_in(claims, {"attempt": "at-1", "user": "ada", "password": "lovelace"}, status=409)
    assert status == 502
    assert "start again in the Ring app" in page


async def test_the_login_page_escapes_what_it_shows() -> None:
    async with serve(application(login=Login("http://127.0.0.1:1", "tok", {}))) as url, aiohttp.ClientSession() as client:
        good = await client.get(f"{url}/login", params={"attempt": "at-1"})
        assert 'value="at-1"' in await good.text()
        bad = await client.get(f"{url}/login", params={"attempt": '"><script>'})
        assert bad.status == 400
        assert "<script>" not in await bad.text()
