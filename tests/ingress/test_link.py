import asyncio
import html
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest
from aiohttp import ClientResponse

from ingress.link.attempt import Attempt, Signed
from ingress.link.site import same_site
from ingress.link.words import TROUBLE, TROUBLE_OF_OURS, plain
from ingress.settings import Handoff
from linker.claims import CONTESTED
from linker.moves import REMOVED, TAP_OR_MEND
from linker.saga import MENDS, TAP
from schemas import topics
from schemas.findings.trying import TRIED_AGAIN, UNTOLD
from schemas.records import LinkRequested, LinkSecret
from schemas.ring import nonce
from tests.ingress.conftest import KEY, NOW, Edge, Known, Start

TIME = "1771130906289"
NONCE = nonce.make(KEY.encode(), TIME, "ava1.ring.account.XXXYYY")
START = f"/ring/account-link?nonce={NONCE}&time={TIME}"
LOGIN = "https://login.example.com/ring?lang=en"
ALICE = "u-42"


async def get(edge: Edge, path: str, **headers: str) -> tuple[ClientResponse, str]:
    async with edge.client.get(path, allow_redirects=False, headers=headers) as response:
        return response, await response.text()


async def post(edge: Edge, path: str, fields: dict[str, str], **headers: str) -> tuple[ClientResponse, str]:
    async with edge.client.post(path, data=fields, allow_redirects=False, headers=headers) as response:
        return response, await response.text()


def hidden(text: str) -> dict[str, str]:
    return {name: html.unescape(value) for name, value in re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', text)}


def cookie(edge: Edge) -> Attempt:
    (morsel,) = list(edge.client.cookie_jar)
    return edge.seals.attempt(morsel.value)


def requests(edge: Edge) -> list[LinkRequested]:
    return [msgspec.json.decode(record.value, type=LinkRequested) for record in edge.bus.of(topics.LINK_REQUESTED)]


def ticket(edge: Edge, attempt: str, user: str = ALICE) -> str:
    signed = Signed(
        attempt=attempt, partner_user=user, account_identifier="u***r@example.com", until=edge.clock.now + timedelta(seconds=120)
    )
    return "/ring/account-link/finish?ticket=" + edge.seals.ticket(signed)


async def signed_in_by_passcode(edge: Edge) -> dict[str, str]:
    """Walk to the confirmation page; return its hidden fields."""
    await get(edge, START)
    _, text = await post(edge, "/ring/account-link/dev", {"passcode": "open sesame"})
    return hidden(text)


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
async def test_whoever_only_looks_whether_the_url_is_there_begins_nothing(edge: Edge, method: str) -> None:
    async with edge.client.request(method, edge.url + "/ring/account-link") as answer:
        assert (answer.status, answer.headers["Allow"], answer.headers.get("Set-Cookie")) == (204, "GET, HEAD, OPTIONS", None)


async def test_the_account_link_url_answers_303_without_a_page(edge: Edge) -> None:
    response, text = await get(edge, START)
    assert (response.status, response.headers["Location"], text) == (303, "/ring/account-link/dev", "")
    assert cookie(edge).nonce == NONCE
    for name, value in (("Referrer-Policy", "no-referrer"), ("Cache-Control", "no-store")):
        assert response.headers[name] == value


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("", 400, "not complete"),
        (f"?nonce={NONCE}", 400, "not complete"),
        (f"?time={TIME}", 400, "not complete"),
        (f"?nonce={NONCE}&nonce={NONCE}&time={TIME}", 400, "not complete"),
        (f"?nonce=short&time={TIME}", 400, "not complete"),
        (f"?nonce={NONCE}&time=soon", 400, "not complete"),
        (f"?nonce={NONCE}&time={TIME[:10]}", 400, "not complete"),
        (f"?nonce={NONCE}&time=%00", 400, "not complete"),
        (f"?nonce={NONCE}&time=1771130206289", 410, "ten minutes"),
        (f"?nonce={NONCE}&time=1771139906289", 400, "clock"),
    ],
)
async def test_a_redirect_that_cannot_be_used_says_in_words_what_to_do(edge: Edge, query: str, status: int, words: str) -> None:
    response, text = await get(edge, "/ring/account-link" + query)
    assert response.status == status
    assert words in text
    assert "tap Sign In" in text
    assert ("<h1>A clock is wrong</h1>" in text) == (words == "clock")
    assert ("This address cannot be used" in text) == (words == "not complete")
    assert not list(edge.client.cookie_jar)


async def test_every_page_forbids_frames_scripts_and_keeping(edge: Edge) -> None:
    await get(edge, START)
    for path in ("/ring/account-link", "/ring/account-link/dev", "/ring/account-link/progress"):
        response, text = await get(edge, path)
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
        assert (response.headers["Referrer-Policy"], response.headers["Cache-Control"]) == ("no-referrer", "no-store")
        assert "<script" not in text
        assert "style=" not in text


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/ring/account-link/confirm", "POST"),
        ("POST", "/ring/account-link", "GET, HEAD, OPTIONS"),
        ("PUT", "/ring/account-link/dev", "GET, POST"),
        ("OPTIONS", "/ring/account-link/progress", "GET"),
    ],
)
async def test_another_method_is_a_page_in_words(edge: Edge, method: str, path: str, allowed: str) -> None:
    async with edge.client.request(method, path) as answer:
        text = await answer.text()
    assert (answer.status, answer.headers["Allow"]) == (405, allowed)
    assert "tap Sign In there again" in text
    assert answer.headers["Content-Security-Policy"]


async def test_the_passcode_then_the_confirmation_requests_the_link_and_nothing_before_it_does(edge: Edge) -> None:
    await get(edge, START)
    _, asked = await get(edge, "/ring/account-link/dev")
    assert "Development sign-in" in asked
    response, text = await post(edge, "/ring/account-link/dev", {"passcode": "open sesame"})
    assert response.status == 200
    assert "dev-user" in text
    assert "Continue only if you just tapped Sign In in your own Ring app." in text
    assert not requests(edge)
    response, _ = await post(edge, "/ring/account-link/confirm", hidden(text))
    assert (response.status, response.headers["Location"]) == (303, "/ring/account-link/progress")
    (request,) = requests(edge)
    secret = msgspec.json.decode(edge.opener.open(request.secret), type=LinkSecret)
    assert (request.partner_user, request.time, secret.nonce) == ("dev-user", TIME, NONCE)
    assert edge.bus.of(topics.LINK_REQUESTED)[0].key == request.attempt.encode()
    assert NONCE.encode() not in edge.bus.of(topics.LINK_REQUESTED)[0].value


async def test_a_wrong_passcode_asks_again_and_guessing_has_a_bound(edge: Edge) -> None:
    await get(edge, START)
    statuses = [(await post(edge, "/ring/account-link/dev", {"passcode": f"guess {n}"}))[0].status for n in range(11)]
    assert statuses == [403] * 10 + [429]
    response, text = await post(edge, "/ring/account-link/dev", {"passcode": "open sesame"})
    assert (response.status, "too many wrong passcodes. Wait a minute" in text) == (429, True)
    edge.clock.now += timedelta(seconds=20)
    response, _ = await post(edge, "/ring/account-link/dev", {"passcode": "open sesame"})
    assert (response.status, response.headers["Retry-After"]) == (429, "40")
    edge.clock.now += timedelta(seconds=40)
    assert (await post(edge, "/ring/account-link/dev", {"passcode": "open sesame"}))[0].status == 200


async def test_guesses_whose_bodies_come_all_at_once_have_the_same_bound(edge: Edge) -> None:
    await get(edge, START)
    cookie = "; ".join(f"{one.key}={one.value}" for one in edge.client.cookie_jar)
    head = (
        f"POST /ring/account-link/dev HTTP/1.1\r\nHost: {urlsplit(edge.url).netloc}\r\nCookie: {cookie}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\nConnection: close\r\n\r\n"
    )
    guesses = [await asyncio.open_connection("127.0.0.1", edge.port) for _ in range(14)]
    for _, writer in guesses:
        writer.write(head.encode())
        await writer.drain()
    await asyncio.sleep(0.2)  # until each was begun
    for _, writer in guesses:
        writer.write(b"passcode=x")
    statuses = [int((await reader.readline()).split()[1]) for reader, _ in guesses]
    for _, writer in guesses:
        writer.close()
    assert sorted(statuses) == [403] * 10 + [429] * 4


async def test_gets_alone_never_link_even_with_a_live_session(edge: Edge) -> None:
    fields = await signed_in_by_passcode(edge)
    for path in (START, "/ring/account-link/dev", "/ring/account-link/confirm", "/ring/account-link/progress"):
        await get(edge, path)
        async with edge.client.get(path, params=fields, allow_redirects=True) as response:
            await response.read()
    assert not requests(edge)


async def test_the_form_of_one_browser_is_worth_nothing_in_another(edge: Edge) -> None:
    fields = await signed_in_by_passcode(edge)
    edge.client.cookie_jar.clear()
    assert (await post(edge, "/ring/account-link/confirm", fields))[0].status == 403
    await get(edge, START)
    assert (await post(edge, "/ring/account-link/confirm", fields))[0].status == 403
    assert not requests(edge)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example.com"},
        {"Origin": "https://evil.example.com", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://evil.example.com", "Host": "evil.example.com"},
        {"Origin": "http://evil.example.com:80", "Host": "evil.example.com"},
        {"Origin": "https://127.0.0.1"},
        {"Origin": "http://127.0.0.1:8081"},
        {"Origin": "http://127.0.0.1.evil.example.com"},
        {"Origin": "http://[broken"},
        {"Origin": "http://127.0.0.1:99999"},
        {"Origin": "127.0.0.1"},
        {"Origin": ""},
    ],
)
async def test_a_post_from_another_site_is_refused(edge: Edge, headers: dict[str, str]) -> None:
    fields = await signed_in_by_passcode(edge)
    assert (await post(edge, "/ring/account-link/confirm", fields, **headers))[0].status == 403
    assert not requests(edge)


async def test_a_browser_under_our_own_referrer_policy_is_let_through(edge: Edge) -> None:
    fields = await signed_in_by_passcode(edge)
    response, _ = await post(edge, "/ring/account-link/confirm", fields, **{"Origin": "null", "Sec-Fetch-Site": "same-origin"})
    assert response.status == 303


@pytest.mark.parametrize(
    ("public_url", "headers"),
    [
        ("http://ring.example.com", {"Origin": "http://ring.example.com", "Host": "10.0.0.7:8080"}),  # a proxy's own Host
        ("http://Ring.example.com:80/", {"Origin": "http://ring.example.com"}),
        ("http://ring.example.com:8443/here", {"Origin": "http://ring.example.com:8443", "Sec-Fetch-Site": "same-origin"}),
        ("http://127.0.0.1:8080", {"Origin": "http://127.0.0.1:8080"}),
        ("http://ring.example.com", {"Origin": "null", "Host": "ring.example.com"}),
        ("http://ring.example.com", {}),
    ],
)
async def test_our_own_page_is_one_of_the_public_url_whatever_the_host_header_says(
    serve: Start, public_url: str, headers: dict[str, str]
) -> None:
    async with serve(public_url=public_url) as edge:
        fields = await signed_in_by_passcode(edge)
        assert (await post(edge, "/ring/account-link/confirm", fields, **headers))[0].status == 303


def test_a_public_url_of_https_is_not_met_by_a_page_of_http() -> None:
    assert same_site({"Origin": "https://ring.example.com"}, "https://ring.example.com:443/x")
    assert not same_site({"Origin": "http://ring.example.com"}, "https://ring.example.com")
    assert not same_site({"Origin": "http://ring.example.com:443"}, "https://ring.example.com")


def altered(sealed: str) -> str:
    """Return it with another character in its middle: the last one may hold bits that say nothing."""
    at = len(sealed) // 2
    return sealed[:at] + ("B" if sealed[at] == "A" else "A") + sealed[at + 1 :]


async def test_a_tampered_cookie_or_claim_is_refused(edge: Edge) -> None:
    fields = await signed_in_by_passcode(edge)
    claim = fields["claim"]
    for bad in ("", "x", altered(claim), claim.swapcase(), "é", "A" * 15_000):
        assert (await post(edge, "/ring/account-link/confirm", {"claim": bad}))[0].status in {400, 403}, bad
    (morsel,) = list(edge.client.cookie_jar)
    for bad in (
        "x",
        altered(morsel.value),
        edge.seals.claim(Signed(attempt="a", partner_user="b", account_identifier=None, until=NOW), cookie(edge)),
    ):
        async with aiohttp.ClientSession(edge.url, headers={"Cookie": f"ringhook={bad}"}) as other:
            assert (await other.post("/ring/account-link/confirm", data=fields)).status == 403
    assert not requests(edge)


async def test_a_nonce_that_ran_out_before_the_confirmation_is_410(edge: Edge) -> None:
    fields = await signed_in_by_passcode(edge)
    edge.clock.now += timedelta(seconds=600)
    response, text = await post(edge, "/ring/account-link/confirm", fields)
    assert (response.status, "tap Sign In" in text) == (410, True)
    assert not requests(edge)


async def test_a_confirmation_that_the_bus_cannot_hold_is_503_with_a_page(edge: Edge) -> None:
    fields = await signed_in_by_passcode(edge)
    edge.bus.down = True
    response, text = await post(edge, "/ring/account-link/confirm", fields)
    assert (response.status, response.headers["Retry-After"], "try again" in text) == (503, "2", True)
    edge.bus.down = False
    assert (await post(edge, "/ring/account-link/confirm", fields))[0].status == 303


async def test_hand_off_sends_the_browser_to_the_login_page_with_the_public_attempt(serve: Start) -> None:
    async with serve(signin=Handoff(login_url=LOGIN)) as edge:
        response, _ = await get(edge, START)
        attempt = cookie(edge)
        assert response.headers["Location"] == f"https://login.example.com/ring?lang=en&attempt={attempt.id}"
        assert attempt.secret not in response.headers["Location"]
        assert (await get(edge, "/ring/account-link/dev"))[0].status == 404


async def test_ticket_and_cookie_together_lead_to_the_confirmation(serve: Start) -> None:
    async with serve(signin=Handoff(login_url=LOGIN)) as edge:
        await get(edge, START)
        response, text = await get(edge, ticket(edge, cookie(edge).id))
        assert (response.status, ALICE in text, "u***r@example.com" in text) == (200, True, True)
        assert not requests(edge)
        assert (await post(edge, "/ring/account-link/confirm", hidden(text)))[0].status == 303
        (request,) = requests(edge)
        secret = msgspec.json.decode(edge.opener.open(request.secret), type=LinkSecret)
        assert (request.partner_user, secret.account_identifier) == (ALICE, "u***r@example.com")


async def test_a_ticket_without_its_cookie_and_a_cookie_without_its_ticket_are_403(serve: Start) -> None:
    async with serve(signin=Handoff(login_url=LOGIN)) as edge:
        await get(edge, START)
        first = ticket(edge, cookie(edge).id)
        edge.client.cookie_jar.clear()
        assert (await get(edge, first))[0].status == 403
        await get(edge, START)
        for path in (first, "/ring/account-link/finish", "/ring/account-link/finish?ticket=x"):
            response, text = await get(edge, path)
            assert (response.status, hidden(text)) == (403, {})
        assert not requests(edge)


async def test_who_comes_back_from_a_login_that_outlived_the_nonce_is_told_at_once(serve: Start) -> None:
    async with serve(signin=Handoff(login_url=LOGIN)) as edge:
        await get(edge, START)
        edge.clock.now += timedelta(seconds=600)
        response, text = await get(edge, ticket(edge, cookie(edge).id))
        assert (response.status, "tap Sign In" in text, hidden(text)) == (410, True, {})


async def test_a_ticket_is_good_for_two_minutes(serve: Start) -> None:
    async with serve(signin=Handoff(login_url=LOGIN)) as edge:
        await get(edge, START)
        path = ticket(edge, cookie(edge).id)
        edge.clock.now += timedelta(seconds=121)
        assert (await get(edge, path))[0].status == 403


async def test_what_a_partner_user_is_called_cannot_write_html(serve: Start) -> None:
    async with serve(signin=Handoff(login_url=LOGIN)) as edge:
        await get(edge, START)
        _, text = await get(edge, ticket(edge, cookie(edge).id, "<script>alert(1)</script>"))
        assert "<script" not in text
        assert "&lt;script&gt;" in text


async def test_the_live_page_needs_the_cookie_and_follows_the_link(edge: Edge) -> None:
    assert (await get(edge, "/ring/account-link/progress"))[0].status == 403
    fields = await signed_in_by_passcode(edge)
    assert "Not confirmed yet" in (await get(edge, "/ring/account-link/progress"))[1]
    await post(edge, "/ring/account-link/confirm", fields)
    _, text = await get(edge, "/ring/account-link/progress")
    assert "Connecting" in text
    assert edge.attempts.asked == [(cookie(edge).id, "dev-user")], "the page asks for what its own browser confirmed"
    assert 'http-equiv="refresh"' in text
    steps = (("signed in", NOW.timestamp()), ("completed", NOW.timestamp() + 1))
    edge.attempts.progresses[cookie(edge).id] = Known.Seen("completed", steps)
    _, text = await get(edge, "/ring/account-link/progress")
    assert "Your Ring account is connected" in text
    assert 'http-equiv="refresh"' not in text
    response, _ = await get(edge, "/ring/account-link/progress", Accept="application/json")
    assert await response.json() == {
        "state": "completed",
        "steps": [
            {"name": "signed in", "at": NOW.isoformat()},
            {"name": "completed", "at": (NOW + timedelta(seconds=1)).isoformat()},
        ],
        "finding": None,
    }


KEEPS = "This page keeps itself up to date."
STANDS = "Ring knows. One last step is left."


@pytest.mark.parametrize(
    ("state", "finding", "said"),
    [
        (
            "contested",
            CONTESTED,
            [f"Two users confirmed the same sign-in; neither was linked: {TAP_OR_MEND}."],
        ),
        ("rejected", f"Ring refused the link (400): {TAP}", ["Ring refused the link: tap Sign In in the Ring app again."]),
        ("rejected", None, ["The sign-in was not accepted. Open the Ring app and tap Sign In there again."]),
        ("lost", f"no clear answer: {MENDS}", ["No clear answer: remove the app in the Ring app and connect it again."]),
        (
            "claimed",
            "no connection to Ring at 127.0.0.1:1: it was refused (nothing listens there). This is tried again by itself.",
            ["Your account was found. We are telling Ring.", f"{TROUBLE}.", KEEPS],
        ),
        (
            "awaiting",
            "Ring did not answer in time. This is tried again by itself.",
            [STANDS, f"{TROUBLE}.", KEEPS],
        ),
        (
            "claimed",
            "503 Busy",
            ["Your account was found. We are telling Ring.", f"{TROUBLE}.", KEEPS],
        ),
        (
            "claimed",
            f"Ring does not complete the link (404 Not Found); {REMOVED}. {TRIED_AGAIN} {UNTOLD}",
            [
                "Your account was found. We are telling Ring.",
                f"Ring does not complete the link; {REMOVED}. {TRIED_AGAIN} {UNTOLD}.",
                KEEPS,
            ],
        ),
        ("awaiting", f"on our side: a key. {TRIED_AGAIN} {UNTOLD}", [STANDS, f"{TROUBLE_OF_OURS}. {UNTOLD}.", KEEPS]),
        ("awaiting", UNTOLD, [STANDS, f"{UNTOLD}.", KEEPS]),
        (
            "expired",
            f"the 10 minutes were over (503 Busy (all (of) it) · later): {TAP}",
            ["The 10 minutes were over: tap Sign In in the Ring app again."],
        ),
        ("completed", None, ["Your Ring account is connected. You can close this page."]),
    ],
)
async def test_the_live_page_says_each_thing_once_and_its_json_tells_the_same_in_our_own_words(
    edge: Edge, state: str, finding: str | None, said: list[str]
) -> None:
    await post(edge, "/ring/account-link/confirm", await signed_in_by_passcode(edge))
    edge.attempts.progresses[cookie(edge).id] = Known.Seen(state, (("signed in", NOW.timestamp()),), finding)
    _, text = await get(edge, "/ring/account-link/progress")
    assert re.findall(r"<p[^>]*>([^<]*)</p>", text) == said
    response, _ = await get(edge, "/ring/account-link/progress", Accept="application/json")
    steps = [{"name": "signed in", "at": NOW.isoformat()}]
    assert await response.json() == {"state": state, "steps": steps, "finding": plain(finding)}


async def test_a_confirmed_sign_in_that_nobody_knows_of_any_more_ends_in_words_when_its_ten_minutes_are_over(edge: Edge) -> None:
    await post(edge, "/ring/account-link/confirm", await signed_in_by_passcode(edge))
    edge.clock.now = datetime.fromtimestamp(int(TIME) / 1000, UTC) + timedelta(seconds=600)
    _, text = await get(edge, "/ring/account-link/progress")
    assert ("Connecting" in text, 'http-equiv="refresh"' in text) == (True, True)
    edge.clock.now += timedelta(seconds=1)
    _, text = await get(edge, "/ring/account-link/progress")
    assert ("Not connected" in text, 'http-equiv="refresh"' in text) == (True, False)
    said = "This sign-in led nowhere: tap Sign In in the Ring app again; if that does not help, " + MENDS + "."
    assert re.findall(r"<p[^>]*>([^<]*)</p>", text) == [said]
    response, _ = await get(edge, "/ring/account-link/progress", Accept="application/json")
    assert (await response.json())["state"] == "expired"


async def test_a_browser_that_did_not_confirm_is_not_shown_what_another_confirmed_under_its_attempt(edge: Edge) -> None:
    await signed_in_by_passcode(edge)
    edge.attempts.progresses[cookie(edge).id] = Known.Seen("completed")
    response, _ = await get(edge, "/ring/account-link/progress", Accept="application/json")
    assert await response.json() == {"state": "started", "steps": [], "finding": None}


@pytest.mark.parametrize("how", ["down", "silent"])
async def test_while_the_store_is_away_the_live_page_says_so_and_stays_live(edge: Edge, how: str) -> None:
    await post(edge, "/ring/account-link/confirm", await signed_in_by_passcode(edge))
    setattr(edge.attempts, how, True)
    response, text = await get(edge, "/ring/account-link/progress")
    assert (response.status, 'http-equiv="refresh"' in text) == (503, True)
    assert re.findall(r"<p[^>]*>([^<]*)</p>", text) == ["We cannot look just now. This page tries again by itself."]


async def test_behind_https_the_cookie_is_host_bound_secure_and_unreadable_for_scripts(serve: Start) -> None:
    async with serve(public_url="https://ring.example.com") as edge:
        response, _ = await get(edge, START)
        header = response.headers["Set-Cookie"]
        assert header.startswith("__Host-ringhook=")
        assert {"HttpOnly", "Secure", "Path=/", "SameSite=Lax"} <= {part.strip() for part in header.split(";")}
        assert NONCE not in header


@pytest.mark.parametrize("path", ["/ring/account-link", "/ring/webhook", "/anything"])
async def test_a_megabyte_of_query_is_answered_in_words(edge: Edge, path: str) -> None:
    async with edge.client.get(f"{path}?nonce=" + "x" * 1_000_000) as response:
        text = await response.text()
    assert (response.status, text.partition(". ")[2]) == (414, "If you came from the Ring app, tap Sign In there again.\n")
    assert (await get(edge, START))[0].status == 303


async def test_the_homepage_is_a_small_page_or_the_partners_own(serve: Start) -> None:
    async with serve() as edge:
        assert "Ring Appstore" in (await get(edge, "/"))[1]
    async with serve(homepage_url="https://www.example.com/") as edge:
        response, _ = await get(edge, "/")
        assert (response.status, response.headers["Location"]) == (303, "https://www.example.com/")
