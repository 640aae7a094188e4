"""What a stranger may try at the link's doors: each try ends in a page in plain words, links nothing and tells nothing."""

from datetime import timedelta

import aiohttp
import pytest

from schemas import topics
from schemas.ring import nonce
from tests.ingress.conftest import KEY, Edge
from tests.ingress.test_link import NONCE, START, TIME, cookie, get, hidden, post, requests, signed_in_by_passcode

CONFIRM = "/ring/account-link/confirm"
DOORS = ("/ring/account-link", "/ring/account-link/dev", "/ring/account-link/finish", "/ring/account-link/progress")
OTHER = nonce.make(KEY.encode(), TIME, "ava1.ring.account.ANOTHER")
UNKNOWN = nonce.make(b"nobody's key", TIME, "ava1.ring.account.XXXYYY")
EVIL = "evil.example.com"


async def test_a_form_sent_again_asks_for_no_second_link(edge: Edge) -> None:
    fields = await signed_in_by_passcode(edge)
    for _ in range(3):
        assert (await post(edge, CONFIRM, fields))[0].status == 303
    assert {request.attempt for request in requests(edge)} == {cookie(edge).id}
    assert {record.key for record in edge.bus.of(topics.LINK_REQUESTED)} == {cookie(edge).id.encode()}


async def test_the_form_of_a_former_attempt_is_worth_nothing_in_the_next_one(edge: Edge) -> None:
    fields = await signed_in_by_passcode(edge)
    await get(edge, START.replace(NONCE, OTHER))
    response, text = await post(edge, CONFIRM, fields)
    assert (response.status, "tap Sign In" in text) == (403, True)
    assert not requests(edge)


async def test_a_cookie_and_form_of_yesterday_link_nothing(edge: Edge) -> None:
    fields = await signed_in_by_passcode(edge)
    edge.clock.now += timedelta(days=1)
    response, text = await post(edge, CONFIRM, fields)
    assert response.status in {403, 410}
    assert "tap Sign In" in text
    assert not requests(edge)


@pytest.mark.parametrize("field", ["next", "redirect_uri", "return_to", "url", "state", "attempt"])
async def test_no_parameter_and_no_header_leads_the_browser_elsewhere(edge: Edge, field: str) -> None:
    said = {"Host": EVIL, "X-Forwarded-Host": EVIL, "X-Forwarded-Proto": "gopher", "Referer": f"https://{EVIL}/"}
    response, text = await get(edge, f"{START}&{field}=https://{EVIL}/", **said)
    assert EVIL not in response.headers.get("Location", "") + text
    fields = await signed_in_by_passcode(edge)
    response, text = await post(edge, f"{CONFIRM}?{field}=//{EVIL}/", {**fields, field: f"https://{EVIL}/"})
    assert (response.status, response.headers["Location"]) == (303, "/ring/account-link/progress")
    for path in (f"//{EVIL}/ring/account-link", f"/ring/account-link//{EVIL}/", f"/ring/account-link/%2f%2f{EVIL}"):
        async with edge.client.get(edge.url + path, allow_redirects=False) as response:
            assert EVIL not in response.headers.get("Location", "")


async def test_a_nonce_that_matches_nothing_looks_like_any_other_at_the_door(edge: Edge) -> None:
    known, _ = await get(edge, START)
    unknown, _ = await get(edge, START.replace(NONCE, UNKNOWN))
    assert (unknown.status, unknown.headers["Location"]) == (known.status, known.headers["Location"])
    _, text = await post(edge, "/ring/account-link/dev", {"passcode": "open sesame"})
    assert (await post(edge, CONFIRM, hidden(text)))[0].status == 303
    assert "Connecting" in (await get(edge, "/ring/account-link/progress"))[1]


@pytest.mark.parametrize("path", DOORS)
async def test_a_megabyte_of_query_links_nothing_and_harms_nobody(edge: Edge, path: str) -> None:
    response, _ = await get(edge, f"{path}?ticket={'x' * 1_000_000}")
    assert response.status == 414
    assert (await get(edge, START))[0].status == 303


@pytest.mark.parametrize("path", [CONFIRM, "/ring/account-link/dev"])
async def test_a_megabyte_of_form_is_refused_with_a_page(edge: Edge, path: str) -> None:
    fields = await signed_in_by_passcode(edge)
    response, text = await post(edge, path, {**fields, "claim": "x" * 1_000_000})
    assert (response.status, "<h1>" in text) == (413, True)
    assert not requests(edge)


async def test_no_page_and_no_redirect_tells_what_the_cookie_keeps(edge: Edge) -> None:
    said = list[str]()
    fields = await signed_in_by_passcode(edge)
    attempt, (morsel,) = cookie(edge), list(edge.client.cookie_jar)
    for path in (*DOORS, CONFIRM, "/ring/account-link/nothing"):
        for send in (get(edge, path), post(edge, path, {"claim": "x", "ticket": "x"})):
            response, text = await send
            said += [text, response.headers.get("Location", "")]
            assert response.status < 500, path
    said += [(await post(edge, CONFIRM, fields))[1], (await get(edge, "/ring/account-link/progress"))[1]]
    for secret in (NONCE, attempt.secret, morsel.value, "open sesame"):
        assert not [text for text in said if secret in text], secret


@pytest.mark.parametrize("kept", ["", "ringhook=", "ringhook=x; ringhook=y", "ringhook=" + "A" * 5_000, 'ringhook="\\;;=é'])
async def test_whatever_is_in_the_cookie_a_page_says_where_to_begin(edge: Edge, kept: str) -> None:
    fields = await signed_in_by_passcode(edge)
    async with (
        aiohttp.ClientSession(edge.url, headers={"Cookie": kept}, cookie_jar=aiohttp.DummyCookieJar()) as other,
        other.post(CONFIRM, data=fields) as response,
    ):
        text = await response.text()
    assert (response.status, response.content_type, "tap Sign In" in text) == (403, "text/html", True)
    assert not requests(edge)
