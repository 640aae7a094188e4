"""The door of /v1, over a real store."""

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import aiohttp
import msgspec
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from yarl import URL

from deploy.local import ports
from ingress.admin.api import SCOPES, Api, add_claims, add_reading
from ingress.admin.broker import add_broker
from ingress.admin.dead import add_dead
from ingress.admin.deliveries import add_deliveries
from ingress.admin.destinations import add_destinations
from ingress.admin.events import add_events
from ingress.admin.forget import add_forgetting
from ingress.admin.gate import Gate
from ingress.admin.handled import Handled
from ingress.admin.quota import Quota
from ingress.admin.replays import add_replays
from ingress.admin.resend import add_resend
from ingress.admin.retry import Retry, add_retry
from ingress.admin.store import ClaimStore
from ingress.admin.turns import Turns
from ingress.link.attempt import Seals, begin
from ingress.link.signin.handoff import Handoff
from ingress.settings import Scope, Token
from schemas.topics import FIXED, letters
from tests.ingress.conftest import NOW, Clock, Known
from workers.bus import memory
from workers.deliver.replays import Replays
from workers.deliver.standing import Destinations
from workers.runtime.database import connect
from workers.runtime.listener import Listener, internal_app
from workers.runtime.sealing import Keyring, generate_key

SCOPE_NAMES: tuple[Scope, ...] = ("claim", "broker", "read", "operate", "bodies")
ATTEMPT = begin("n" * 43, "1771130906289")
CLAIM = f"/v1/attempts/{ATTEMPT.id}/claim"
BODY = {"partner_user": "u-42", "account_identifier": "u***r@example.com"}


class Accounts:
    async def describe(self, account: str) -> object | None:
        steps = (("completed", 0.0),)
        grants = [{"generation": 7, "steps": steps}]
        seen = {"account": account, "state": "completed", "changed_at": 60.0, "steps": steps, "grants": grants}
        return seen if account == "a1" else None

    async def accounts(self, *, after: str, limit: int, at_risk: bool) -> object:
        return {"accounts": [{"account": after, "changed_at": 60.0, "limit": limit, "at_risk": at_risk}], "next": None}


class Lent(msgspec.Struct):
    access_token: str | None = None
    expires_at: float = 0.0
    words: str = ""
    wait: float | None = None


class Loans:
    """Lends what the account's name asks for, and remembers what Ring is said to have rejected."""

    def __init__(self) -> None:
        self.rejected: list[str | None] = []

    async def lend(self, account: str, rejected: str | None) -> Lent | None:
        self.rejected.append(rejected)
        loans = {
            "a1": Lent("t0ken", 60.0),
            "a2": Lent(words="This account is lost: reconnect it."),
            "a3": Lent(words="Ring is away.", wait=8.2),
        }
        return loans.get(account)


class Wishes:
    """Does at once what is wished, and remembers it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def ask(self, account: str, now: float) -> bool:
        del now
        self.asked.append(account)
        return account == "a1"

    async def pending(self, account: str) -> bool:
        del account
        return False


@dataclass
class Admin:
    client: aiohttp.ClientSession
    port: int
    application: web.Application
    wishes: Wishes
    seals: Seals
    loans: Loans
    attempts: Known
    clock: Clock


def bearer(*scopes: Scope) -> dict[str, str]:
    return {"Authorization": f"Bearer token-of-{'-'.join(scopes)}"}


def token(*scopes: Scope) -> Token:
    secret = bearer(*scopes)["Authorization"].removeprefix("Bearer ")
    return Token(name="-".join(scopes), sha256=hashlib.sha256(secret.encode()).hexdigest(), scopes=scopes)


@pytest.fixture
async def admin(store_url: str) -> AsyncIterator[Admin]:
    seals, attempts, application = Seals(Keyring.parse(generate_key()), "t"), Known(), internal_app()
    clock = Clock()
    attempts.progresses["known"] = Known.Seen("awaiting", (("signed in", 0.0),), "something is missing")
    gate = Gate([token(scope) for scope in SCOPE_NAMES], {"127.0.0.1", "admin.internal"})
    async with connect(store_url) as database:
        await database.create_all()
        api = Api(application, gate)
        claims = ClaimStore(database)
        add_claims(api, Handoff(claims, seals, "https://ring.example.com/", clock))
        add_reading(api, Accounts(), attempts, claims, clock)
        loans, wishes = Loans(), Wishes()
        add_broker(api, loans, Quota(rate=1.0, burst=20.0))
        add_forgetting(api, wishes, lambda now: now + timedelta(days=38))
        async with memory.connect("memory:", namespace="t", topics=FIXED) as bus, bus.browse() as browser:
            add_events(api, browser, asyncio.Event())
            searches = Turns(2, "search topics", abreast=1)
            add_deliveries(api, browser, letters(FIXED), searches)
            known, replays, handled = Destinations(database, ["alerts"]), Replays(database), Handled(database)
            add_dead(api, browser, letters(FIXED), searches, handled)
            add_destinations(api, known)
            add_replays(api, replays, known, browser, searches)
            add_retry(api, Retry(browser, bus, handled, replays, letters(FIXED), destinations=known))
            add_resend(api, browser, searches, known, publisher=bus, replays=replays)
            async with listening(application) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
                yield Admin(client, port, application, wishes, seals, loans, attempts, clock)


@asynccontextmanager
async def listening(application: web.Application) -> AsyncIterator[int]:
    (port,), stop = ports.free(1), asyncio.Event()
    listener = Listener(application, "127.0.0.1", port)
    running = asyncio.create_task(listener.run(stop))
    await asyncio.wait_for(listener.opened.wait(), 30)
    try:
        yield port
    finally:
        stop.set()
        await asyncio.wait_for(running, 30)


async def error(response: object) -> tuple[int, str]:
    assert isinstance(response, web.Response) or hasattr(response, "json")
    return response.status, (await response.json())["error"]["code"]  # type: ignore[union-attr]


async def test_a_claim_answers_a_finish_url_whose_ticket_names_the_user(admin: Admin) -> None:
    response = await admin.client.post(CLAIM, json=BODY, headers=bearer("claim"))
    answer = await response.json()
    url = urlsplit(answer["finish_url"])
    assert (response.status, answer["expires_in"], response.headers["Cache-Control"]) == (200, 120, "no-store")
    assert (url.scheme, url.netloc, url.path) == ("https", "ring.example.com", "/ring/account-link/finish")
    signed = admin.seals.redeem(parse_qs(url.query)["ticket"][0], ATTEMPT, NOW)
    assert (signed.partner_user, signed.account_identifier) == ("u-42", "u***r@example.com")


async def test_the_same_user_may_claim_again_and_another_gets_409(admin: Admin) -> None:
    for _ in range(2):
        assert (await admin.client.post(CLAIM, json=BODY, headers=bearer("claim"))).status == 200
    other = await admin.client.post(CLAIM, json=BODY | {"partner_user": "u-43"}, headers=bearer("claim"))
    assert await error(other) == (409, "conflict")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"partner_user": "u-42", "account_identifier": "user@example.com"}, 422),
        ({"partner_user": "u-42", "account_identifier": "user@example.com*"}, 422),
        ({"partner_user": "u-42", "account_identifier": "*user@example.com"}, 422),
        ({"partner_user": "u-42", "account_identifier": "user*@example.com"}, 422),
        ({"partner_user": "u-42", "account_identifier": "a*b@example.com"}, 200),
        ({"partner_user": "u-42", "account_identifier": "user@e***"}, 422),
        ({"partner_user": "u-42", "account_identifier": "user@@*"}, 422),
        ({"partner_user": "u-42", "account_identifier": "user"}, 422),
        ({"partner_user": "u-42", "account_identifier": "u***"}, 200),
        ({"partner_user": "u-42", "account_identifier": "***@example.com"}, 200),
        ({"partner_user": ""}, 422),
        ({"partner_user": " "}, 422),
        ({"partner_user": "a\x00b"}, 422),
        ({"partner_user": "x" * 257}, 422),
        ({"partner_user": 7}, 400),
        ({}, 400),
        ([], 400),
        ({"partner_user": "u", "surprise": 1}, 400),
    ],
)
async def test_a_claim_that_cannot_be_taken_says_why(admin: Admin, body: object, status: int) -> None:
    response = await admin.client.post(CLAIM, json=body, headers=bearer("claim"))
    assert response.status == status
    assert status == 200 or (await response.json())["error"]["message"]


async def test_a_claimed_attempt_is_known_before_it_is_confirmed(admin: Admin) -> None:
    url = f"/v1/attempts/{ATTEMPT.id}"
    assert (await admin.client.get(url, headers=bearer("read"))).status == 404
    await admin.client.post(CLAIM, json=BODY, headers=bearer("claim"))
    answer = await admin.client.get(url, headers=bearer("read"))
    steps = [{"name": "claimed by your login", "at": NOW.isoformat()}]
    expected = {"state": "started", "steps": steps, "finding": "claimed by your login, not confirmed yet"}
    assert (answer.status, await answer.json()) == (200, expected)
    admin.attempts.progresses[ATTEMPT.id] = Known.Seen("awaiting", (), None)
    assert (await (await admin.client.get(url, headers=bearer("read"))).json())["state"] == "awaiting"


async def test_a_claimed_attempt_that_nobody_knows_more_of_is_over_when_its_ten_minutes_are(admin: Admin) -> None:
    await admin.client.post(CLAIM, json=BODY, headers=bearer("claim"))
    said = []
    for seconds in (600, 1):
        admin.clock.now += timedelta(seconds=seconds)
        said.append(await (await admin.client.get(f"/v1/attempts/{ATTEMPT.id}", headers=bearer("read"))).json())
    assert [one["state"] for one in said] == ["started", "expired"]
    assert said[1]["finding"].startswith("claimed by your login, and not confirmed in time, or")


async def test_a_read_while_the_store_is_away_speaks_of_a_read(admin: Admin) -> None:
    admin.attempts.down = True
    answer = await admin.client.get("/v1/attempts/known", headers=bearer("read"))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    assert (await answer.json())["error"] == {
        "code": "unavailable",
        "message": "Cannot be looked up just now; try again in a moment.",
    }


async def test_what_is_no_attempt_is_404(admin: Admin) -> None:
    assert await error(await admin.client.post("/v1/attempts/nope/claim", json=BODY, headers=bearer("claim"))) == (
        404,
        "not_found",
    )


async def test_accounts_and_attempts_are_shown_or_404(admin: Admin) -> None:
    known = await (await admin.client.get("/v1/accounts/a1", headers=bearer("read"))).json()
    steps = [{"name": "completed", "at": "1970-01-01T00:00:00+00:00"}]
    grants = [{"generation": 7, "steps": steps}]
    changed = "1970-01-01T00:01:00+00:00"
    assert known == {"account": "a1", "state": "completed", "changed_at": changed, "steps": steps, "grants": grants}
    assert (await admin.client.get("/v1/accounts/a2", headers=bearer("read"))).status == 404
    seen = await (await admin.client.get("/v1/attempts/known", headers=bearer("read"))).json()
    assert seen == {
        "state": "awaiting",
        "steps": [{"name": "signed in", "at": "1970-01-01T00:00:00+00:00"}],
        "finding": "something is missing",
    }


async def test_accounts_are_listed_by_the_page(admin: Admin) -> None:
    asked = await admin.client.get("/v1/accounts?after=a1&limit=7&at_risk=true", headers=bearer("read"))
    told = {"account": "a1", "changed_at": "1970-01-01T00:01:00+00:00", "limit": 7, "at_risk": True}
    assert await asked.json() == {"accounts": [told], "next": None}
    for query in ("limit=0", "limit=501", "limit=x", "at_risk=maybe", "surprise=1"):
        refused = await admin.client.get(f"/v1/accounts?{query}", headers=bearer("read"))
        assert refused.status == 400
        assert "The query is not understood" in (await refused.json())["error"]["message"]


async def test_a_token_is_lent_with_its_end_and_nothing_keeps_it(admin: Admin) -> None:
    with capture_logs() as lines:
        response = await admin.client.post("/v1/accounts/a1/token", json={}, headers=bearer("broker"))
    assert (response.status, response.headers["Cache-Control"]) == (200, "no-store")
    assert await response.json() == {"access_token": "t0ken", "expires_at": "1970-01-01T00:01:00+00:00"}
    [line] = [line for line in lines if line["event"] == "token.lent"]
    assert (line["caller"], line["account"], "t0ken" in str(lines)) == ("broker", "a1", False)


async def test_a_token_that_cannot_be_lent_says_why_and_when_to_ask_again(admin: Admin) -> None:
    async def asked(account: str) -> tuple[int, str | None, dict[str, str]]:
        response = await admin.client.post(f"/v1/accounts/{account}/token", json={}, headers=bearer("broker"))
        return response.status, response.headers.get("Retry-After"), (await response.json())["error"]

    assert await asked("a2") == (409, None, {"code": "conflict", "message": "This account is lost: reconnect it."})
    assert await asked("a3") == (503, "9", {"code": "unavailable", "message": "Ring is away."})
    assert (await asked("nobody"))[0] == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 200),
        (b"{}", 200),
        (b'{"rejected": "%s"}' % (b"aB" * 32), 200),
        (b'{"rejected": null}', 200),
        (b'{"rejected": "%s"}' % (b"g" * 64), 400),
        (b'{"rejected": "%s"}' % (b"a" * 63), 400),
        (b'{"rejected": "%s"}' % (b"a" * 65), 400),
        (b'{"rejected": 7}', 400),
        (b'{"surprise": 1}', 400),
        (b"[]", 400),
        (b"{", 400),
    ],
)
async def test_what_a_service_may_say_about_a_token(admin: Admin, body: bytes, status: int) -> None:
    headers = bearer("broker") | {"Content-Type": "application/json"}
    response = await admin.client.post("/v1/accounts/a1/token", data=body, headers=headers)
    assert response.status == status
    assert len(admin.loans.rejected) == (status == 200)


async def test_one_caller_that_asks_too_often_is_429_and_others_are_not(admin: Admin) -> None:
    answers = [await admin.client.post("/v1/accounts/a1/token", json={}, headers=bearer("broker")) for _ in range(21)]
    assert [answer.status for answer in answers] == [200] * 20 + [429]
    assert answers[-1].headers["Retry-After"] == "1"
    assert "asks too often" in (await answers[-1].json())["error"]["message"]
    assert (await admin.client.get("/v1/accounts/a1", headers=bearer("read"))).status == 200


async def test_a_forget_answers_the_date_by_which_the_topics_are_rid_of_it(admin: Admin) -> None:
    response = await admin.client.post("/v1/accounts/a1/forget", json={}, headers=bearer("operate"))
    said = await response.json()
    assert (response.status, said["account"], said["forgotten"], said["known"]) == (200, "a1", True, True)
    assert datetime.fromisoformat(said["gone_by"]) > datetime.now(UTC) + timedelta(days=37)


@pytest.mark.parametrize("name", ["%00", "a%00b", "%E2%80%AE", "a" * 513])
async def test_what_no_account_and_no_sign_in_is_called_reaches_no_store(admin: Admin, name: str) -> None:
    asked: list[tuple[str, str, Scope]] = [
        ("POST", f"/v1/accounts/{name}/forget", "operate"),
        ("POST", f"/v1/accounts/{name}/token", "broker"),
        ("POST", f"/v1/attempts/{name}/claim", "claim"),
        ("GET", f"/v1/accounts/{name}", "read"),
        ("GET", f"/v1/attempts/{name}", "read"),
        ("GET", f"/v1/accounts?after={name}", "read"),
    ]
    for method, path, scope in asked:
        url = URL(f"http://127.0.0.1:{admin.port}{path}", encoded=True)
        response = await admin.client.request(method, url, json={} if method == "POST" else None, headers=bearer(scope))
        assert response.status == 400, path
    assert (admin.wishes.asked, admin.loans.rejected) == ([], [])


async def test_a_forget_of_an_id_under_which_nothing_is_kept_says_so(admin: Admin) -> None:
    response = await admin.client.post("/v1/accounts/mistyped/forget", json={}, headers=bearer("operate"))
    assert (response.status, (await response.json())["known"], admin.wishes.asked) == (200, False, ["mistyped"])


@pytest.mark.parametrize("body", [b'{"partner_user": "\\ud800"}', b'{"partner_user": "u'])
async def test_half_a_surrogate_pair_and_half_a_body_are_told_as_what_they_may_be(admin: Admin, body: bytes) -> None:
    headers = bearer("claim") | {"Content-Type": "application/json"}
    response = await admin.client.post(CLAIM, data=body, headers=headers)
    assert response.status == 400
    assert "ends amid a value, or a \\u escape in it is half of a pair" in (await response.json())["error"]["message"]


async def test_each_route_of_the_router_admits_its_own_scope_and_no_other(admin: Admin) -> None:
    routes = [(route.method, route.resource.canonical) for route in admin.application.router.routes() if route.resource]
    assert {route for route in routes if route[0] != "HEAD"} == set(admin.application[SCOPES])
    for method, path in routes:
        for scope in SCOPE_NAMES:
            url = path.format(attempt=ATTEMPT.id, account="a1", address="webhook.received.dead:0:0", name="alerts", id="r1")
            response = await admin.client.request(method, url, json=BODY, headers=bearer(scope))
            admitted = response.status not in {401, 403}
            assert admitted == (admin.application[SCOPES][method, path] == scope), (method, path, scope)


@pytest.mark.parametrize("authorization", ["", "Bearer ", "Bearer wrong", "Basic dG9rZW4=", "Bearer é", "token-of-claim"])
async def test_without_a_known_token_it_is_401(admin: Admin, authorization: str) -> None:
    response = await admin.client.post(CLAIM, json=BODY, headers={"Authorization": authorization})
    assert (await error(response), response.headers["WWW-Authenticate"]) == ((401, "unauthorized"), "Bearer")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.com",
        "127.0.0.1.evil.example.com",
        "",
        "[",
        "admin.internal@evil.example.com",
        "user@localhost",
        "localhost:99999",
        "127.0.0.1:8081.evil.example.com",
        "localhost/x",
    ],
)
async def test_a_host_that_is_not_ours_is_421(admin: Admin, host: str) -> None:
    response = await admin.client.post(CLAIM, json=BODY, headers=bearer("claim") | {"Host": host})
    assert await error(response) == (421, "misdirected")


async def test_a_configured_host_is_ours(admin: Admin) -> None:
    headers = bearer("claim") | {"Host": "admin.internal:8081"}
    assert (await admin.client.post(CLAIM, json=BODY, headers=headers)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example.com"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_pages_of_other_sites_may_not_call(admin: Admin, headers: dict[str, str]) -> None:
    assert await error(await admin.client.post(CLAIM, json=BODY, headers=bearer("claim") | headers)) == (403, "forbidden")


async def test_a_body_that_is_too_large_is_told_what_this_door_reads(admin: Admin) -> None:
    response = await admin.client.post(CLAIM, json={"partner_user": "u" * 65 * 1024}, headers=bearer("claim"))
    assert (response.status, (await response.json())["error"]["message"]) == (
        413,
        "The body is larger than the 64 KiB that are read here.",
    )


async def test_only_json_is_read(admin: Admin) -> None:
    response = await admin.client.post(CLAIM, data={"partner_user": "u"}, headers=bearer("claim"))
    assert await error(response) == (415, "json_only")


BODIES = [(CLAIM, "claim"), ("/v1/accounts/a1/token", "broker"), ("/v1/accounts/a1/forget", "operate")]


UNREADABLE = [
    b'{"partner_user": "\xff"}',
    b'{"rejected": "\xff"}',
    b'{"\xff": 1}',
    b'{"partner_user": "\xed\xa0\x80"}',
    b'{"rejected": "\\ud800"}',
    b"\xff",
    b"\xef\xbb\xbf{}",
    b"[]",
    b"null",
    b"{",
    b"{} x",
    b'{"surprise": 1}',
    b"[" * 60_000,
    b'{"rejected":' * 5_000,
    b'{"rejected":' + b"9" * 50_000 + b"}",
]


async def said(admin: Admin, path: str, scope: Scope, body: bytes, *more: bytes) -> tuple[int, bytes]:
    """Post raw bytes, and return the answer's status and body."""
    token = bearer(scope)["Authorization"].encode()
    lines = (b"POST %s HTTP/1.1" % path.encode(), b"Host: 127.0.0.1", b"Connection: close", b"Authorization: " + token)
    typed = (b"Content-Type: application/json", b"Content-Length: %d" % len(body))
    reader, writer = await asyncio.open_connection("127.0.0.1", admin.port)
    async with asyncio.timeout(30):
        writer.write(b"\r\n".join((*lines, *typed, *more)) + b"\r\n\r\n" + body)
        head, _, answer = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split(b" ", 2)[1]), answer


@pytest.mark.parametrize(("path", "scope"), BODIES, ids=["claim", "token", "forget"])
async def test_a_body_that_is_not_what_a_route_reads_is_400_in_words(admin: Admin, path: str, scope: Scope) -> None:
    with capture_logs() as logged:
        for body in UNREADABLE:
            status, answer = await said(admin, path, scope, body)
            assert status == 400, body
            assert msgspec.json.decode(answer)["error"]["message"].startswith("The body is not understood: "), body
    assert not [line for line in logged if line["event"] == "request.crashed"]
    assert not admin.wishes.asked


@pytest.mark.parametrize(("path", "scope"), BODIES, ids=["claim", "token", "forget"])
async def test_each_body_has_the_same_bound_and_is_not_decompressed(admin: Admin, path: str, scope: Scope) -> None:
    assert (await said(admin, path, scope, b" " * 70_000))[0] == 413
    for body, coding in ((gzip.compress(b"{}"), b"gzip"), (b"{}", b"gzip"), (b"{}", b"identity, br"), (b"{}", b"\xff")):
        status, answer = await said(admin, path, scope, body, b"Content-Encoding: " + coding)
        assert status == 415
        assert b"Content-Encoding is not understood here: send the JSON as it is." in answer
    assert not admin.wishes.asked
    assert (await said(admin, path, scope, b"{}", b"Content-Encoding: identity"))[0] == (400 if scope == "claim" else 200)


async def test_a_forget_needs_no_body_beside_its_path(admin: Admin) -> None:
    for body in (b"", b"{}", b" {} "):
        assert (await said(admin, "/v1/accounts/a1/forget", "operate", body))[0] == 200
    assert admin.wishes.asked == ["a1"] * 3
