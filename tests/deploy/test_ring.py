"""The judge is judged: simulated Ring does what Ring's documents and recorded deliveries say, and writes down what it saw."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import aiohttp
import orjson
import pytest
from aiohttp import web

from deploy.demo.ring import proofs, webhooks
from deploy.demo.ring.app import INTEGRATION, TOKEN
from deploy.demo.ring.books import Budget
from deploy.demo.ring.faults import DOCUMENTED, Fault
from deploy.demo.ring.ledger import Call, Ledger
from deploy.demo.ring.ring import Partner, Ring, running
from deploy.demo.ring.sender import judge
from deploy.demo.ring.state import Account, Client, Device, Refusal, Shape, World, doorbell, masked

CLIENT = Client("the-client", "the-secret", "test-hmac-key")
FORM = {"client_id": CLIENT.client_id, "client_secret": CLIENT.client_secret}
NOW = 1_771_130_906.289


@dataclass
class Clock:
    """Time that moves when it is told to."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Listener:
    """A partner that keeps what it got and answers what it was told."""

    answers: list[int] = field(default_factory=list)  # then 200
    got: list[tuple[web.BaseRequest, bytes]] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)  # then none
    url: str = ""

    async def __call__(self, request: web.BaseRequest) -> web.Response:
        self.got.append((request, await request.read()))
        status = self.answers.pop(0) if self.answers else 200
        await asyncio.sleep(self.delays.pop(0) if self.delays else 0)
        return web.Response(status=status)


@asynccontextmanager
async def listening(listener: Listener) -> AsyncIterator[Listener]:
    runner = web.ServerRunner(web.Server(listener), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    listener.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield listener
    finally:
        await runner.cleanup()


@pytest.fixture
async def partner() -> AsyncIterator[Listener]:
    async with listening(Listener()) as listener:
        yield listener


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def ring(partner: Listener, clock: Clock) -> AsyncIterator[Ring]:
    async with running(registered(partner), CLIENT, lapse=1000, clock=clock) as ring:
        yield ring


def registered(partner: Listener) -> Partner:
    return Partner(f"{partner.url}/token-exchange", f"{partner.url}/webhook", f"{partner.url}/account-link")


@dataclass
class Answered:
    status: int
    body: Any
    headers: Any


async def call(ring: Ring, method: str, path: str, token: str = "", **what: Any) -> Answered:  # noqa: ANN401  # of aiohttp
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with ring.session.request(method, ring.url + path, headers=headers, **what) as answer:
        return Answered(answer.status, orjson.loads(await answer.read()), answer.headers)


async def exchange(ring: Ring, code: str) -> Answered:
    return await call(ring, "POST", TOKEN, data={"grant_type": "authorization_code", "code": code, **FORM})


async def refresh(ring: Ring, token: str) -> Answered:
    return await call(ring, "POST", TOKEN, data={"grant_type": "refresh_token", "refresh_token": token, **FORM})


async def connected(ring: Ring) -> tuple[Account, str]:
    """Return an account whose code was exchanged, and its access token."""
    account = ring.world.add_account()
    assert await ring.connect(account) == 200
    return account, (await exchange(ring, ring.codes[account.id])).body["access_token"]


def nonce_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["nonce"][0]


def test_the_fixed_vectors_hold() -> None:
    expected = "qexVypp7hnEZKz7jsI96n5DEp_jrbDeSKXSYWP5KHHE"
    assert proofs.nonce("test-hmac-key", "1771130906289", "ava1.ring.account.XXXYYY") == expected
    signed = proofs.signature("test-hmac-key", b'{"meta":{"request_id":"r1"}}')
    assert signed == "sha256=df9b6d5a9c5300d8b38852b0c2c3aa8345ef313b37876ade2355bda369a1cff9"


async def test_a_whole_link_goes_through_and_the_app_is_announced(ring: Ring, partner: Listener) -> None:
    account, token = await connected(ring)
    assert (await call(ring, "GET", "/v1/users/me", token)).body["data"]["id"] == account.id
    body = {"nonce": nonce_of(ring.redirect_url(account)), "account_identifier": "u***r@example.com"}
    assert (await call(ring, "POST", INTEGRATION, token, json=body)).body == {"status": "awaiting"}
    assert (await call(ring, "PATCH", INTEGRATION, token, json={"status": "completed"})).body == {"status": "completed"}
    await ring.sender.settled()
    assert [type_of(body) for _, body in partner.got[1:]] == ["app_integration_added"]
    assert ring.ledger.codes_sent_twice() == []


async def test_both_answer_shapes_can_be_had(ring: Ring) -> None:
    account, token = await connected(ring)
    ring.world.shape = "jsonapi"
    answer = await call(ring, "POST", INTEGRATION, token, json={"nonce": nonce_of(ring.redirect_url(account))})
    assert answer.body["data"]["attributes"] == {"status": "awaiting"}


async def test_a_code_comes_as_a_java_client_sends_it(ring: Ring, partner: Listener) -> None:
    await ring.connect(ring.world.add_account())
    await ring.post_code("a b", media_type=None)
    (first, body), (second, odd) = partner.got
    assert first.content_type == "application/octet-stream"
    assert first.headers["User-Agent"].startswith("Apache-HttpClient/")
    assert body.startswith(b"code=")
    assert "Content-Type" not in second.headers
    assert odd == b"code=a+b"


async def test_a_code_is_good_once_and_for_sixty_seconds(ring: Ring, clock: Clock) -> None:
    account = ring.world.add_account()
    await ring.connect(account)
    assert (await exchange(ring, ring.codes[account.id])).status == 200
    again = await exchange(ring, ring.codes[account.id])
    assert (again.status, again.body["error"]) == (400, "invalid_grant")
    assert ring.ledger.codes_sent_twice() == [ring.codes[account.id]]
    await ring.connect(account)
    clock.now += 61
    assert (await exchange(ring, ring.codes[account.id])).status == 400


async def test_a_code_that_comes_twice_ends_the_grant_it_gave(ring: Ring) -> None:
    account, token = await connected(ring)
    assert (await call(ring, "GET", "/v1/devices", token)).status == 200
    await exchange(ring, ring.codes[account.id])
    assert (await call(ring, "GET", "/v1/devices", token)).status == 401


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_bogus_code_draws_any_of_the_statuses_seen(ring: Ring, status: int) -> None:
    ring.world.bogus_code = status
    assert (await exchange(ring, "bogus")).status == status


async def test_only_the_partner_gets_tokens_and_only_by_a_form(ring: Ring) -> None:
    stranger = await call(ring, "POST", TOKEN, data={"grant_type": "authorization_code", "code": "x", "client_id": "y"})
    assert (stranger.status, stranger.body["error"]) == (401, "invalid_client")
    assert (await call(ring, "POST", TOKEN, json={**FORM})).body["error"] == "invalid_request"
    assert (await call(ring, "POST", TOKEN, data={**FORM, "grant_type": "password"})).body["error"] == "unsupported_grant_type"


async def test_refresh_tokens_rotate_and_a_spent_one_revokes_the_family(ring: Ring) -> None:
    account = ring.world.add_account()
    await ring.connect(account)
    first = (await exchange(ring, ring.codes[account.id])).body
    second = (await refresh(ring, first["refresh_token"])).body
    assert second["expires_in"] == 14_400
    assert (await call(ring, "GET", "/v1/users/me", second["access_token"])).status == 200
    assert (await refresh(ring, first["refresh_token"])).status == 400
    assert (await call(ring, "GET", "/v1/users/me", second["access_token"])).status == 403
    assert ring.ledger.refreshed_twice() == [first["refresh_token"]]


async def test_an_access_token_refreshes_nothing_and_a_refresh_token_opens_nothing(ring: Ring) -> None:
    account = ring.world.add_account()
    await ring.connect(account)
    tokens = (await exchange(ring, ring.codes[account.id])).body
    assert (await refresh(ring, tokens["access_token"])).status == 400
    assert (await call(ring, "GET", "/v1/devices", tokens["refresh_token"])).status == 401
    assert (await refresh(ring, tokens["refresh_token"])).status == 200


async def test_a_bad_token_is_403_at_users_me_and_401_elsewhere(ring: Ring, clock: Clock) -> None:
    _, token = await connected(ring)
    clock.now += 14_401
    assert (await call(ring, "GET", "/v1/users/me", token)).status == 403
    for method, path in (("GET", "/v1/devices"), ("POST", INTEGRATION), ("PATCH", INTEGRATION)):
        answer = await call(ring, method, path, token)
        assert (answer.status, answer.body["errors"][0]["status"]) == (401, "401")


@pytest.mark.parametrize(
    ("body", "title"),
    [
        ({}, "Missing Required Fields"),
        ({"nonce": "A" * 43}, "Invalid Nonce"),
        ({"nonce": 7}, "Bad Request"),
        ({"nonce": "A" * 43, "account_identifier": "user@example.com"}, "Invalid Account Identifier"),
    ],
)
async def test_a_bad_claim_is_refused_in_ring_s_words(ring: Ring, body: dict[str, object], title: str) -> None:
    _, token = await connected(ring)
    answer = await call(ring, "POST", INTEGRATION, token, json=body)
    assert (answer.status, answer.body["errors"][0]["title"]) == (400, title)
    assert ring.ledger.calls_to("POST", INTEGRATION)[-1].title == title


async def test_a_nonce_of_another_account_or_past_its_ten_minutes_is_invalid(ring: Ring, clock: Clock) -> None:
    account, token = await connected(ring)
    other, _ = await connected(ring)
    foreign = await call(ring, "POST", INTEGRATION, token, json={"nonce": nonce_of(ring.redirect_url(other))})
    late = ring.redirect_url(account)
    clock.now += 601
    stale = await call(ring, "POST", INTEGRATION, token, json={"nonce": nonce_of(late)})
    assert [foreign.status, stale.status] == [400, 400]


async def test_patch_before_post_empty_or_to_another_status_is_refused(ring: Ring) -> None:
    account, token = await connected(ring)
    titles = [
        (await call(ring, "PATCH", INTEGRATION, token, json=body)).body["errors"][0]["title"]
        for body in ({"status": "completed"}, {}, {"status": "gone"})
    ]
    assert titles == ["Invalid Status Transition", "Missing Required Fields", "Invalid Status Transition"]
    account.integration = None
    assert (await call(ring, "PATCH", INTEGRATION, token, json={"status": "completed"})).status == 404


def test_a_second_patch_is_answered_either_way() -> None:
    world = World(CLIENT)
    account = world.add_account()
    world.confirm(account, NOW)
    world.claim(account, world.redirect(account, NOW)["nonce"], None, NOW)
    world.complete(account, "completed")
    world.complete(account, "completed")
    world.patch_again = False
    with pytest.raises(Refusal, match="Invalid Status Transition"):
        world.complete(account, "completed")


@pytest.mark.parametrize(
    ("identifier", "hidden"),
    [("u***r@example.com", True), ("u***", True), ("user@example.com", False), ("user@e***", False), ("", False)],
)
def test_masked_means_stars_before_the_at_sign(identifier: str, hidden: bool) -> None:  # noqa: FBT001  # a table's column
    assert masked(identifier) is hidden


async def test_removal_kills_the_tokens_and_says_so(ring: Ring, partner: Listener) -> None:
    account, token = await connected(ring)
    await ring.remove(account)
    await ring.sender.settled()
    assert type_of(partner.got[-1][1]) == "app_integration_removed"
    assert (await call(ring, "GET", "/v1/devices", token)).status == 401


async def test_the_hundred_and_first_request_of_a_second_is_429(ring: Ring) -> None:
    answers = [await call(ring, "GET", "/v1/devices") for _ in range(101)]
    assert [answer.status for answer in answers] == [401] * 100 + [429]
    assert answers[0].headers["X-RateLimit-Remaining"] == "99"
    assert answers[-1].headers["Retry-After"] == "1"


def test_the_limit_counts_any_second_and_each_client_by_itself() -> None:
    budget = Budget(rate=2)
    asked = [("a", 0.9), ("a", 0.95), ("a", 1.1), ("b", 1.1), ("a", 1.91), ("a", 1.94)]
    assert [budget.spend(client, at) for client, at in asked] == [1, 0, -1, 1, 0, -1]


def test_the_ledger_knows_the_busiest_second_wherever_it_begins() -> None:
    ledger = Ledger()
    ledger.calls += [Call(at, "GET", "/", 200, client=client) for at, client in ((0.6, "a"), (0.9, "a"), (1.5, "b"), (1.6, "a"))]
    assert (ledger.busiest(), ledger.busiest("a")) == (3, 2)


async def test_an_answer_may_be_lost_after_the_deed(ring: Ring) -> None:
    account, _ = await connected(ring)
    await ring.connect(account)
    ring.faults.next(f"POST {TOKEN}", Fault(drop=True))
    with pytest.raises(aiohttp.ClientError):
        await exchange(ring, ring.codes[account.id])
    assert (await exchange(ring, ring.codes[account.id])).status == 400
    assert [call.status for call in ring.ledger.calls_to("POST", TOKEN)][1:] == [None, 400]


async def test_faults_spoil_as_many_answers_as_they_say(ring: Ring) -> None:
    _, token = await connected(ring)
    ring.faults.next("GET /v1/users/me", Fault(status=503, headers=(("Retry-After", "7"),)), times=2)
    answers = [await call(ring, "GET", "/v1/users/me", token) for _ in range(3)]
    assert [answer.status for answer in answers] == [503, 503, 200]
    assert answers[0].headers["Retry-After"] == "7"


async def test_a_call_may_go_unheard(ring: Ring) -> None:
    account = ring.world.add_account()
    await ring.connect(account)
    ring.faults.next(f"POST {TOKEN}", Fault(unheard=True))
    with pytest.raises(aiohttp.ClientError):
        await exchange(ring, ring.codes[account.id])
    assert ring.ledger.calls[-1].status is None
    assert (await exchange(ring, ring.codes[account.id])).status == 200


async def test_each_documented_error_comes_in_the_shape_asked_for(ring: Ring) -> None:
    _, token = await connected(ring)
    ring.books.budget.rate = 1_000
    for endpoint, faults in DOCUMENTED.items():
        method, path = endpoint.split(" ")
        for fault in faults:
            for shape, place in (("jsonapi", "errors"), ("flat", "error")):
                ring.world.errors = cast("Shape", shape)
                ring.faults.next(endpoint, fault)
                async with ring.session.request(method, ring.url + path, headers={"Authorization": f"Bearer {token}"}) as answer:
                    body = await answer.read()
                assert answer.status == fault.status
                assert body == fault.raw or (place if path != TOKEN else "error") in orjson.loads(body)


async def test_a_standing_fault_spoils_its_share_until_all_is_calm(ring: Ring) -> None:
    _, token = await connected(ring)
    ring.books.budget.rate = 1_000
    ring.faults.often("GET /v1/devices", 0.5, Fault(status=500), Fault(status=503))
    statuses = [(await call(ring, "GET", "/v1/devices", token)).status for _ in range(60)]
    assert {200, 500, 503} == set(statuses)
    assert 15 < statuses.count(200) < 45
    ring.faults.calm()
    assert {(await call(ring, "GET", "/v1/devices", token)).status for _ in range(10)} == {200}


async def test_oauth_s_faults_may_name_the_grant_type(ring: Ring) -> None:
    account = ring.world.add_account()
    await ring.connect(account)
    ring.faults.next(f"POST {TOKEN} refresh_token", Fault(status=503))
    tokens = await exchange(ring, ring.codes[account.id])
    answers = [await refresh(ring, tokens.body["refresh_token"]) for _ in range(2)]
    assert [tokens.status, *(answer.status for answer in answers)] == [200, 503, 200]


async def test_a_frozen_ring_handles_nothing_and_a_killed_one_forgets_nothing(ring: Ring) -> None:
    _, token = await connected(ring)
    ring.freeze()
    waiting = asyncio.create_task(call(ring, "GET", "/v1/devices", token))
    await asyncio.sleep(0.05)
    assert ring.ledger.calls_to("GET", "/v1/devices") == []
    ring.thaw()
    assert (await waiting).status == 200
    ring.freeze()
    waiting = asyncio.create_task(call(ring, "GET", "/v1/devices", token))
    await asyncio.sleep(0.05)
    await ring.kill()
    with pytest.raises(aiohttp.ClientError):
        await waiting
    with pytest.raises(aiohttp.ClientConnectorError):
        await call(ring, "GET", "/v1/devices", token)
    ring.thaw()
    await ring.start()
    assert (await call(ring, "GET", "/v1/devices", token)).status == 200


async def test_ring_s_clock_may_go_before_ours(ring: Ring) -> None:
    ring.books.skew = 30
    url = ring.redirect_url(ring.world.add_account())
    assert parse_qs(urlsplit(url).query)["time"] == [str(int((NOW + 30) * 1000))]


async def test_two_apps_share_an_account_and_nothing_else(ring: Ring, partner: Listener) -> None:
    other = Client("client-2", "secret-2", "other-key")
    ring.add_app(other, Partner(f"{partner.url}/second", f"{partner.url}/webhook", f"{partner.url}/link-2"))
    account, token = await connected(ring)
    there = account.under("client-2")
    assert await ring.connect(there) == 200
    assert partner.got[-1][0].path == "/second"
    form = {"grant_type": "authorization_code", "code": ring.codes[account.id]}
    assert (await call(ring, "POST", TOKEN, data=form | FORM)).status == 400
    form |= {"client_id": "client-2", "client_secret": "secret-2"}
    second = (await call(ring, "POST", TOKEN, data=form)).body["access_token"]
    assert (await call(ring, "GET", "/v1/users/me", second)).body["data"]["id"] == account.id
    nonce = nonce_of(ring.redirect_url(there))
    assert nonce == proofs.nonce("other-key", str(int(NOW * 1000)), account.id)
    assert (await call(ring, "POST", INTEGRATION, token, json={"nonce": nonce})).status == 400
    assert (await call(ring, "POST", INTEGRATION, second, json={"nonce": nonce})).status == 200
    assert (await call(ring, "PATCH", INTEGRATION, second, json={"status": "completed"})).status == 200
    await ring.sender.settled()
    request, body = partner.got[-1]
    assert request.headers["X-Signature"] == proofs.signature("other-key", body)
    await ring.remove(there)
    assert [(await call(ring, "GET", "/v1/devices", one)).status for one in (token, second)] == [200, 401]


async def test_ring_s_dead_letters_come_again_on_request(partner: Listener, clock: Clock) -> None:
    partner.answers = [503] * 7
    async with running(registered(partner), CLIENT, lapse=100_000, clock=clock) as ring:
        webhook = ring.make("button_press", ring.world.add_account())
        assert await ring.sender.send(webhook) == "again"
        assert await asyncio.gather(*ring.sender.replay()) == ["delivered"]
        assert ring.sender.dead == []


async def test_a_slow_answer_comes_after_the_deed(ring: Ring) -> None:
    account, token = await connected(ring)
    nonce = nonce_of(ring.redirect_url(account))
    ring.faults.next(f"POST {INTEGRATION}", Fault(delay=5))
    with pytest.raises(TimeoutError):
        await call(ring, "POST", INTEGRATION, token, json={"nonce": nonce}, timeout=aiohttp.ClientTimeout(total=0.1))
    assert account.integration is not None
    assert account.integration.standing == "awaiting"


async def test_webhooks_are_signed_over_the_very_bytes(ring: Ring, partner: Listener) -> None:
    account = ring.world.add_account()
    assert await ring.sender.send(ring.make("motion_detected", account)) == "delivered"
    request, body = partner.got[-1]
    assert request.headers["X-Signature"] == proofs.signature("test-hmac-key", body)
    assert request.content_type == "application/json"


@pytest.mark.parametrize(("status", "outcome"), [(200, "delivered"), (204, "delivered"), (401, "refused"), (302, "again")])
def test_what_an_answer_means_to_ring(status: int, outcome: str) -> None:
    assert judge(status) == outcome
    assert judge(None) == judge(503) == "again"


async def test_4xx_is_never_tried_again(ring: Ring, partner: Listener) -> None:
    partner.answers = [408]
    webhook = ring.make("button_press", ring.world.add_account())
    assert await ring.sender.send(webhook) == "refused"
    assert ring.sender.refused == [webhook]
    assert len(partner.got) == 1


async def test_seven_attempts_with_the_same_bytes_then_ring_s_dead_letters(partner: Listener, clock: Clock) -> None:
    partner.answers = [503] * 7
    async with running(registered(partner), CLIENT, lapse=100_000, clock=clock) as ring:
        webhook = ring.make("button_press", ring.world.add_account())
        assert await ring.sender.send(webhook) == "again"
        assert ring.sender.dead == [webhook]
        assert {body for _, body in partner.got} == {webhook.body}
        assert [attempt.status for attempt in ring.ledger.attempts_of(webhook.request_id)] == [503] * 7


async def test_no_answer_in_time_is_tried_again(ring: Ring, partner: Listener) -> None:
    partner.delays, ring.sender.answer_s = [30], 1
    assert await ring.sender.send(ring.make("button_press", ring.world.add_account())) == "delivered"
    assert [attempt.status for attempt in ring.ledger.attempts] == [None, 200]


async def test_a_partner_that_is_down_is_tried_again(ring: Ring) -> None:
    ring.sender.url = "http://127.0.0.1:9/webhook"
    ring.sender.lapse = 1_000_000
    assert await ring.sender.send(ring.make("button_press", ring.world.add_account())) == "again"


def test_every_documented_type_is_there_with_its_live_oddities() -> None:
    account = Account("ava1.ring.account.A", [Device("d1", "Door")])
    sent = list(webhooks.every(account, 1_770_989_997_200_155_525, client_id="c"))
    bodies = [orjson.loads(webhook.body) for webhook in sent]
    assert {body["data"]["type"] for body in bodies} == set(webhooks.TYPES) - {"app_integration_removed"}
    assert bodies[0]["meta"]["time"] == "2026-02-13T13:39:57.200155525Z"
    assert {place_of(body["data"]) for body in bodies if body["data"]["type"] == "motion_detected"} == set(webhooks.PLACES)
    assert len({orjson.dumps(body["data"]["attributes"].get("component_ids", "absent")) for body in bodies}) == 4
    assert any("account_id" not in body["meta"] and body["meta"]["version"] == "1.0" for body in bodies)


def test_odd_ids_and_absent_fields_are_as_recorded() -> None:
    account = Account("ava1.ring.account.A", [Device("d1", "Door")])
    flood = meta_and_data(webhooks.sensor(account, account.devices[0], 1_770_989_997_200_155_525, type="flood_detected"))
    assert flood[0]["request_id"].endswith("-1770989997200-water_detecte")
    assert len(flood[0]["request_id"]) == 64
    added = meta_and_data(webhooks.integration(account, 1_770_989_997_200_155_525, type="app_integration_added", client_id="c"))
    assert "relationships" not in added[1]
    assert added[1]["attributes"]["source"] == account.id
    trial = meta_and_data(webhooks.subscription(account, 1, type="subscription_activated", trial=True))[1]["attributes"]
    assert trial.keys() == {"source", "source_id", "sub_type", "plan_id", "expires_at"}
    ended = meta_and_data(webhooks.subscription(account, 1, type="subscription_deactivated"))[1]["attributes"]
    assert "expires_at" not in ended
    assert len(doorbell().id) >= 90


async def test_the_page_lets_a_browser_walk_the_flow(ring: Ring, partner: Listener) -> None:
    async def press(path: str, **data: str) -> str:
        async with ring.session.post(ring.url + path, data=data, allow_redirects=False) as answer:
            assert answer.status == 303
            return answer.headers["Location"]

    assert await press("/users") == "/"
    assert await press("/users/0/confirm") == "/"
    assert (await press("/users/0/sign-in")).startswith(f"{partner.url}/account-link?nonce=")
    await press("/users/0/happen", type="motion_detected")
    await press("/users/0/remove")
    await ring.sender.settled()
    async with ring.session.get(ring.url) as page:
        shown = await page.text()
    assert "not connected" in shown
    assert 'name=viewport content="width=device-width' in shown  # readable on a phone
    assert len(partner.got) == 3


def type_of(body: bytes) -> str:
    kind: str = orjson.loads(body)["data"]["type"]
    return kind


def meta_and_data(webhook: webhooks.Webhook) -> Sequence[dict[str, Any]]:
    whole = orjson.loads(webhook.body)
    return whole["meta"], whole["data"]


def place_of(data: dict[str, Any]) -> str:
    return next(place for place in webhooks.PLACES if place.split(".")[1] in (data["attributes"] if place[0] == "a" else data))
