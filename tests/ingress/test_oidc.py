"""Sign-in at an OIDC issuer, from the redirect to the request for the link, and everything that must not get through."""

import asyncio
import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from aiohttp import web
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from ingress.link.signin.discovery import challenge
from ingress.settings import Limits, Oidc
from schemas.records import LinkSecret
from schemas.ring import nonce
from tests.ingress.conftest import KEY, Edge, running, until
from tests.ingress.issuer import CLIENT, KEYS, SECRET, SHARED_RSA, Claims, Issuer, by_public_key, compact, issuing, unsigned
from tests.ingress.test_link import cookie, get, hidden, post, requests
from workers.runtime.secrets import Secret

LOOPBACK = ("127.0.0.0/8",)
MINUTE = 60


@asynccontextmanager
async def at(issuer: Issuer, **changes: object) -> AsyncIterator[Edge]:
    """Serve with sign-in at this issuer, both clocks standing still."""
    signin = Oidc(issuer=issuer.url, client_id=CLIENT, client_secret=Secret(SECRET), allow_networks=LOOPBACK)
    async with running(signin=msgspec.structs.replace(signin, **changes)) as edge:
        issuer.now = lambda: edge.clock().timestamp()
        yield edge


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with issuing() as issuer:
        yield issuer


@pytest.fixture
async def edge(issuer: Issuer) -> AsyncIterator[Edge]:
    async with at(issuer) as edge:
        yield edge


def fresh(edge: Edge) -> str:
    """Return where the Ring app sends a browser now."""
    time = str(int(edge.clock().timestamp() * 1000))
    return f"/ring/account-link?nonce={nonce.make(KEY.encode(), time, 'a')}&time={time}"


async def sent(edge: Edge) -> str:
    """Begin as the Ring app does; return where the browser is sent to sign in."""
    response, _ = await get(edge, fresh(edge))
    response, text = await get(edge, response.headers["Location"])
    assert (response.status, text) == (303, "")
    return response.headers["Location"]


async def back(edge: Edge, path: str) -> tuple[int, str]:
    """Come back from the issuer; follow to the page that is shown."""
    response, text = await get(edge, path)
    if response.status == 303:
        response, text = await get(edge, response.headers["Location"])
    return response.status, text


async def signed_in(edge: Edge, issuer: Issuer) -> tuple[int, str]:
    return await back(edge, issuer.callback(await sent(edge)))


async def test_whoever_signs_in_at_the_issuer_confirms_and_the_link_is_requested_for_issuer_and_subject(
    edge: Edge, issuer: Issuer
) -> None:
    status, text = await signed_in(edge, issuer)
    assert (status, "u***r@example.com" in text, "user@example.com" in text) == (200, True, False)
    assert not requests(edge)
    response, _ = await post(edge, "/ring/account-link/confirm", hidden(text))
    assert (response.status, response.headers["Location"]) == (303, "/ring/account-link/progress")
    (request,) = requests(edge)
    secret = msgspec.json.decode(edge.opener.open(request.secret), type=LinkSecret)
    assert (request.partner_user, secret.account_identifier) == (f"{issuer.url}#248289761001", "u***r@example.com")


def test_roles_without_an_issuer_load_nothing_that_checks_id_tokens() -> None:
    script = "import sys, deploy.roles; sys.exit('joserfc' in sys.modules or 'cryptography' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


async def test_the_browser_is_sent_with_pkce_a_nonce_and_the_wish_for_a_new_sign_in(edge: Edge, issuer: Issuer) -> None:
    location = await sent(edge)
    asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
    assert location.startswith(f"{issuer.url}/authorize?tenant=1&")
    assert (asked["response_type"], asked["max_age"], asked["code_challenge_method"]) == ("code", "0", "S256")
    assert (asked["scope"], asked["client_id"]) == ("openid email", CLIENT)
    assert asked["redirect_uri"] == "http://127.0.0.1/ring/account-link/callback"
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    assert cookie(edge).secret not in location
    await get(edge, issuer.callback(location))
    form, authorization = issuer.forms[0]
    assert (form["grant_type"], challenge(form["code_verifier"])) == ("authorization_code", asked["code_challenge"])
    assert form["redirect_uri"] == asked["redirect_uri"]
    assert authorization == "Basic " + b64encode(b"ringhook:s3cret+of+the+client").decode()


async def test_the_way_to_the_issuer_tells_nobody_where_it_came_from_and_is_not_kept(edge: Edge, issuer: Issuer) -> None:
    await get(edge, fresh(edge))
    response, text = await get(edge, "/ring/account-link/oidc")
    assert (response.headers["Referrer-Policy"], response.headers["Cache-Control"], text) == ("no-referrer", "no-store", "")
    response, _ = await get(edge, issuer.callback(response.headers["Location"]))
    assert (response.headers["Referrer-Policy"], response.headers["Cache-Control"]) == ("no-referrer", "no-store")
    assert "248289761001" not in response.headers["Location"]


async def test_many_browsers_at_once_ask_the_issuer_once(edge: Edge, issuer: Issuer) -> None:
    await get(edge, fresh(edge))
    responses = await asyncio.gather(*(get(edge, "/ring/account-link/oidc") for _ in range(20)))
    assert {response.status for response, _ in responses} == {303}
    assert issuer.asked == ["metadata"]


@pytest.mark.parametrize(
    ("methods", "secret", "sent_in_form", "sent_in_header"),
    [
        (["client_secret_post", "client_secret_basic"], SECRET, False, True),
        (["client_secret_post", "private_key_jwt"], SECRET, True, False),
        (["none", "client_secret_post"], None, False, False),
    ],
)
async def test_the_client_names_itself_in_the_way_that_the_issuer_knows(
    issuer: Issuer, methods: list[str], secret: str | None, *, sent_in_form: bool, sent_in_header: bool
) -> None:
    issuer.methods = methods
    async with at(issuer, client_secret=Secret(secret) if secret else None) as edge:
        assert (await signed_in(edge, issuer))[0] == 200
    form, authorization = issuer.forms[0]
    assert ("client_secret" in form, bool(authorization)) == (sent_in_form, sent_in_header)
    assert sent_in_header or form["client_id"] == CLIENT


@pytest.mark.parametrize("alg", KEYS)
async def test_each_allowed_signature_is_believed(edge: Edge, issuer: Issuer, alg: str) -> None:
    issuer.alg = alg
    issuer.rotate("k1")
    assert (await signed_in(edge, issuer))[0] == 200


async def test_a_token_that_names_no_key_is_checked_by_the_only_one(edge: Edge, issuer: Issuer) -> None:
    issuer.kid = None
    assert (await signed_in(edge, issuer))[0] == 200


Twist = Callable[[Claims], object]


def put(**changes: object) -> Twist:
    return lambda claims: claims.update(changes)


def moved(name: str, seconds: float) -> Twist:
    return lambda claims: claims.update({name: claims["iat"] + seconds})


def without(name: str) -> Twist:
    return lambda claims: claims.pop(name)


FALSE = {
    "another issuer": (put(iss="https://evil.example.com"), "id_token_issuer"),
    "an issuer with a slash more": (lambda claims: claims.update(iss=claims["iss"] + "/"), "id_token_issuer"),
    "another audience": (put(aud="another"), "id_token_audience"),
    "no audience": (put(aud=[]), "id_token_audience"),
    "two audiences and no party": (put(aud=[CLIENT, "another"]), "id_token_party"),
    "another party": (put(azp="another"), "id_token_party"),
    "another nonce": (put(nonce="A" * 43), "id_token_nonce"),
    "no nonce": (without("nonce"), "id_token_nonce"),
    "a nonce beyond ASCII": (put(nonce="é"), "id_token_nonce"),
    "expired": (moved("exp", -MINUTE), "id_token_expired"),
    "no expiry": (without("exp"), "id_token_unreadable"),
    "an expiry in words": (put(exp="never"), "id_token_unreadable"),
    "from the future": (moved("iat", MINUTE + 1), "id_token_issued"),
    "issued before it was asked for": (moved("iat", -MINUTE - 1), "id_token_issued"),
    "not yet good": (moved("nbf", MINUTE + 1), "id_token_future"),
    "no auth_time": (without("auth_time"), "id_token_auth_time"),
    "an old session": (moved("auth_time", -MINUTE - 1), "id_token_auth_time"),
    "a sign-in of tomorrow": (moved("auth_time", 86_400), "id_token_auth_time"),
    "no subject": (put(sub=""), "id_token_subject"),
    "a subject with a line end": (put(sub="a\nb"), "id_token_subject"),
    "a subject that has no end": (put(sub="a" * 256), "id_token_subject"),
    "a subject that is a number": (put(sub=42), "id_token_unreadable"),
}


def refused(reason: str) -> float:
    return REGISTRY.get_sample_value("ringhook_signin_failures_total", {"why": reason}) or 0


async def demand_refused(edge: Edge, issuer: Issuer, reason: str) -> None:
    before = refused(reason)
    status, text = await signed_in(edge, issuer)
    assert (status, hidden(text), refused(reason) - before) == (403, {}, 1)
    assert "We could not make sure who signed in, so nothing was connected. Open the Ring app and tap Sign In" in text


@pytest.mark.parametrize("attack", FALSE)
async def test_a_token_that_says_what_it_must_not_signs_nobody_in(edge: Edge, issuer: Issuer, attack: str) -> None:
    twist, reason = FALSE[attack]
    issuer.twist = lambda claims: twist(claims) and None
    await demand_refused(edge, issuer, reason)


@pytest.mark.parametrize(
    "twist",
    [
        put(aud=[CLIENT]),
        put(aud=[CLIENT, "another"], azp=CLIENT),
        moved("exp", -MINUTE + 1),
        moved("iat", MINUTE),
        moved("nbf", MINUTE),
        moved("auth_time", -MINUTE),
    ],
)
async def test_a_clock_a_minute_off_and_a_second_audience_are_no_attack(edge: Edge, issuer: Issuer, twist: Twist) -> None:
    issuer.twist = lambda claims: twist(claims) and None
    assert (await signed_in(edge, issuer))[0] == 200


def by_stranger(claims: Claims) -> str:
    return compact({"alg": "RS256", "kid": "k1"}, claims, KEYS["RS256"]())


FORGED = {
    "unsigned": (unsigned, "id_token_algorithm"),
    "signed with the public key as a secret": (by_public_key, "id_token_algorithm"),
    "signed by a stranger": (by_stranger, "id_token_signature"),
    "with a key of another kind": (
        lambda claims: compact({"alg": "ES256", "kid": "k1"}, claims, KEYS["ES256"]()),
        "id_token_key",
    ),
    "with a key inside it": (
        lambda claims: compact({"alg": "ES256", "jwk": (key := KEYS["ES256"]()).as_dict(private=False)}, claims, key),
        "id_token_key",
    ),
    "with a demand unknown to us": (
        lambda claims: compact({"alg": "RS256", "kid": "k1", "crit": ["x"], "x": 1}, claims, SHARED_RSA),
        "id_token_unreadable",
    ),
    "altered": (
        lambda claims: compact({"alg": "RS256", "kid": "k1"}, claims, SHARED_RSA)[:-8] + "AAAAAAAA",
        "id_token_signature",
    ),
    "nothing": (lambda _claims: "x", "id_token_unreadable"),
    "two dots": (lambda _claims: "..", "id_token_unreadable"),
    "beyond ASCII": (lambda _claims: "é.é.é", "id_token_unreadable"),
}


@pytest.mark.parametrize("attack", FORGED)
async def test_a_forged_token_signs_nobody_in(edge: Edge, issuer: Issuer, attack: str) -> None:
    issuer.forge, reason = FORGED[attack]
    await demand_refused(edge, issuer, reason)


async def test_after_a_change_of_keys_they_are_fetched_again_and_not_for_every_stranger(edge: Edge, issuer: Issuer) -> None:
    assert (await signed_in(edge, issuer))[0] == 200
    for kid in ("k2", "k2", None):  # another name, another key under the old name, no name
        issuer.rotate(kid)
        edge.clock.now += timedelta(seconds=10)
        assert (await signed_in(edge, issuer))[0] == 200
    issuer.asked.clear()
    issuer.forge = by_stranger
    edge.clock.now += timedelta(seconds=10)
    for _ in range(3):
        await demand_refused(edge, issuer, "id_token_key")
    assert issuer.asked.count("keys") == 1


async def test_metadata_and_keys_are_kept_for_ten_minutes(edge: Edge, issuer: Issuer) -> None:
    for _ in range(3):
        assert (await signed_in(edge, issuer))[0] == 200
    assert (issuer.asked.count("metadata"), issuer.asked.count("keys"), issuer.asked.count("token")) == (1, 1, 3)


async def test_what_was_begun_in_another_browser_is_worth_nothing_in_this_one(edge: Edge, issuer: Issuer) -> None:
    path = issuer.callback(await sent(edge))
    edge.client.cookie_jar.clear()
    assert (await back(edge, path))[0] == 403
    await sent(edge)
    assert (await back(edge, path))[0] == 403
    assert "token" not in issuer.asked
    assert not requests(edge)


async def test_an_answer_is_good_once(edge: Edge, issuer: Issuer) -> None:
    path = issuer.callback(await sent(edge))
    assert (await back(edge, path))[0] == 200
    status, text = await back(edge, path)
    assert (status, "begun again" in text) == (403, True)
    assert issuer.asked.count("token") == 1


async def test_an_answer_to_an_earlier_try_is_not_taken(edge: Edge, issuer: Issuer) -> None:
    path = issuer.callback(await sent(edge))
    await get(edge, "/ring/account-link/oidc")
    assert (await back(edge, path))[0] == 403


async def test_a_form_that_was_shown_before_another_try_is_not_taken(edge: Edge, issuer: Issuer) -> None:
    _, text = await signed_in(edge, issuer)
    await get(edge, "/ring/account-link/oidc")
    assert (await post(edge, "/ring/account-link/confirm", hidden(text)))[0].status == 403
    assert not requests(edge)


async def test_the_code_of_another_attempt_is_refused_by_the_issuer_and_its_token_by_us(edge: Edge, issuer: Issuer) -> None:
    code, _ = issuer.authorize(await sent(edge))
    edge.client.cookie_jar.clear()
    location = await sent(edge)
    status, text = await back(edge, issuer.callback(location, code=code))
    assert (status, "used already" in text) == (403, True)
    stolen, _ = issuer.authorize(location.replace("nonce=", "nonce=x"))  # an issuer without PKCE and with another's nonce
    assert (await back(edge, issuer.callback(location, code=stolen)))[0] == 403


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("&error=access_denied&error_description=<script>", "You were not signed in"),
        ("&error=server_error", "You were not signed in"),
        ("&error=<script>", "You were not signed in"),
        ("", "You were not signed in"),
        ("&code=", "You were not signed in"),
        ("&code=" + "x" * 5000, "You were not signed in"),
        ("&code=a&code=b", "begun again"),
        ("&code=a&iss=https://evil.example.com", "We could not make sure"),
    ],
)
async def test_what_the_issuer_did_not_like_is_told_in_words_of_ours(edge: Edge, issuer: Issuer, query: str, words: str) -> None:
    _, state = issuer.authorize(await sent(edge))
    status, text = await back(edge, f"/ring/account-link/callback?state={state}{query}")
    assert (status, words in text, "tap Sign In" in text, "script" in text) == (403, True, True, False)
    assert "token" not in issuer.asked


async def test_an_error_that_comes_without_our_state_is_told_too(edge: Edge) -> None:
    await sent(edge)
    status, text = await back(edge, "/ring/account-link/callback?error=access_denied")
    assert (status, "You were not signed in" in text) == (403, True)


async def test_an_issuer_that_always_names_itself_must_do_so(edge: Edge, issuer: Issuer) -> None:
    issuer.extra = {"authorization_response_iss_parameter_supported": True}
    assert (await signed_in(edge, issuer))[0] == 403
    assert (await back(edge, issuer.callback(await sent(edge), iss=issuer.url)))[0] == 200


@pytest.mark.parametrize("query", ["", "?state=", "?state=x&code=y", "?state=%C3%A9&code=y", "?state=%ED%A0%80&code=y"])
async def test_a_callback_that_nobody_asked_for_is_403(edge: Edge, issuer: Issuer, query: str) -> None:
    assert (await get(edge, "/ring/account-link/callback" + query))[0].status == 403
    await get(edge, fresh(edge))  # begun, and not sent to the issuer yet
    assert (await get(edge, "/ring/account-link/callback" + query))[0].status == 403
    await sent(edge)
    assert (await get(edge, "/ring/account-link/callback" + query))[0].status == 403
    assert "token" not in issuer.asked


async def test_a_sign_in_that_outlives_the_nonce_is_told_to_begin_in_the_ring_app_again(edge: Edge, issuer: Issuer) -> None:
    path = issuer.callback(await sent(edge))
    edge.clock.now += timedelta(minutes=11)
    status, text = await back(edge, path)
    assert (status, "more than ten minutes ago. Open the Ring app and tap Sign In there again." in text) == (410, True)
    assert (await get(edge, "/ring/account-link/oidc"))[0].status == 410
    assert "token" not in issuer.asked


async def test_gets_alone_never_link_whatever_session_the_issuer_has(edge: Edge, issuer: Issuer) -> None:
    _, text = await signed_in(edge, issuer)
    for path in (fresh(edge), "/ring/account-link/oidc", "/ring/account-link/callback", "/ring/account-link/confirm"):
        async with edge.client.get(path, params=hidden(text), allow_redirects=False) as response:
            await response.read()
    assert not requests(edge)


async def test_once_confirmed_the_way_to_the_issuer_leads_to_the_live_page(edge: Edge, issuer: Issuer) -> None:
    _, text = await signed_in(edge, issuer)
    await post(edge, "/ring/account-link/confirm", hidden(text))
    response, _ = await get(edge, "/ring/account-link/oidc")
    assert response.headers["Location"] == "/ring/account-link/progress"


@pytest.mark.parametrize(
    ("email", "more", "shown"),
    [
        ("al@example.com", {}, "a***@example.com"),
        ("user@example.com", {"email_verified": False}, None),
        ("user@example.com", {"email_verified": True}, "u***r@example.com"),
        ("no address", {}, None),
        ("a@b@example.com", {}, None),
        (None, {}, None),
        (["user@example.com"], {}, None),
    ],
)
async def test_people_see_a_masked_address_or_the_subject(
    edge: Edge, issuer: Issuer, email: object, more: dict[str, object], shown: str | None
) -> None:
    issuer.email, issuer.twist = email, lambda claims: claims.update(more)
    status, text = await signed_in(edge, issuer)
    assert (status, text.count("248289761001"), text.count("@example.com")) == ((200, 0, 1) if shown else (200, 1, 0))
    assert shown is None or shown in text


Broken = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def elsewhere(_request: web.Request) -> web.StreamResponse:
    return web.Response(status=307, headers={"Location": "/moved"})


async def a_page(_request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>maintenance</html>", content_type="text/html")


async def an_error(_request: web.Request) -> web.StreamResponse:
    return web.json_response({}, status=500)


async def hung_up(request: web.Request) -> web.StreamResponse:
    request.transport.close()  # type: ignore[union-attr] # it is there while the request is
    return web.Response()


async def another(_request: web.Request) -> web.StreamResponse:
    names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
    return web.json_response({"issuer": "https://evil.example.com", **dict.fromkeys(names, "https://evil.example.com/")})


async def never(_request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(30)
    return web.Response()


async def answered(edge: Edge, path: str, status: int) -> bool:
    """Say whether this status comes at once."""
    try:
        async with asyncio.timeout(0.1):
            return (await get(edge, path))[0].status == status
    except TimeoutError:
        return False


async def dripping(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    for _ in range(500):
        await response.write(b" ")
        await asyncio.sleep(0.02)
    return response


@pytest.mark.parametrize("broken", [elsewhere, a_page, an_error, hung_up, another])
async def test_an_issuer_out_of_order_is_503_in_words_and_works_again_when_it_does(
    edge: Edge, issuer: Issuer, broken: Broken
) -> None:
    issuer.metadata_answer = broken
    response, _ = await get(edge, fresh(edge))
    before = refused("provider")
    with capture_logs() as lines:
        response, text = await get(edge, "/ring/account-link/oidc")
    assert refused("provider") == before + 1
    assert (response.status, "The sign-in service does not answer just now." in text) == (503, True)
    assert "moved" not in issuer.asked
    assert [line["event"] for line in lines if line["log_level"] == "error"] == []
    issuer.metadata_answer = None
    edge.clock.now += timedelta(seconds=3)
    assert (await signed_in(edge, issuer))[0] == 200


@pytest.mark.parametrize("broken", [elsewhere, a_page, an_error, hung_up])
async def test_a_token_endpoint_out_of_order_is_503_and_signs_nobody_in(edge: Edge, issuer: Issuer, broken: Broken) -> None:
    issuer.token_answer = broken
    status, text = await signed_in(edge, issuer)
    assert (status, "The sign-in service does not answer just now." in text, hidden(text)) == (503, True, {})
    assert "moved" not in issuer.asked


async def test_a_sign_in_that_met_a_broken_issuer_is_tried_again_from_the_page_that_says_so(edge: Edge, issuer: Issuer) -> None:
    issuer.token_answer = an_error
    _, text = await signed_in(edge, issuer)
    (again,) = re.findall(r'<a href="([^"]*)">Try again</a>', text)
    issuer.token_answer = None
    response, _ = await get(edge, again)
    assert (await back(edge, issuer.callback(response.headers["Location"])))[0] == 200


async def test_an_issuer_that_hangs_takes_no_page_away_but_its_own(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingress.link.signin.fetch.PATIENCE_S", 0.5)
    issuer.metadata_answer = never
    signin = Oidc(issuer=issuer.url, client_id=CLIENT, allow_networks=LOOPBACK)
    async with running(signin=signin, limits=Limits(pages=2)) as edge:
        await get(edge, fresh(edge))
        hanging = [asyncio.create_task(get(edge, "/ring/account-link/oidc")) for _ in range(2)]
        await until(lambda: answered(edge, "/ring/account-link/oidc", 503))
        assert (await get(edge, "/ring/account-link/progress"))[0].status == 200
        assert (await get(edge, fresh(edge)))[0].status == 303
        assert {response.status for response, _ in await asyncio.gather(*hanging)} == {503}


async def test_an_answer_beyond_256_kib_is_not_read_to_its_end(edge: Edge, issuer: Issuer) -> None:
    issuer.padding = 300_000
    await get(edge, fresh(edge))
    assert (await get(edge, "/ring/account-link/oidc"))[0].status == 503
    issuer.padding = 0
    edge.clock.now += timedelta(seconds=3)
    location = await sent(edge)
    issuer.padding = 300_000
    assert (await back(edge, issuer.callback(location)))[0] == 503


@pytest.mark.parametrize("slow", [never, dripping])
async def test_a_slow_issuer_ends_by_our_deadline(issuer: Issuer, monkeypatch: pytest.MonkeyPatch, slow: Broken) -> None:
    monkeypatch.setattr("ingress.link.signin.fetch.PATIENCE_S", 0.2)
    issuer.metadata_answer = slow
    async with at(issuer) as edge:
        await get(edge, fresh(edge))
        async with asyncio.timeout(3):
            assert (await get(edge, "/ring/account-link/oidc"))[0].status == 503


async def test_while_the_issuer_is_away_the_last_that_is_known_of_it_serves_for_a_day(edge: Edge, issuer: Issuer) -> None:
    assert (await signed_in(edge, issuer))[0] == 200
    issuer.metadata_answer = an_error
    edge.clock.now += timedelta(hours=23)
    assert (await signed_in(edge, issuer))[0] == 200
    edge.clock.now += timedelta(hours=2)
    await get(edge, fresh(edge))
    assert (await get(edge, "/ring/account-link/oidc"))[0].status == 503


async def test_an_issuer_that_is_away_is_not_asked_for_each_browser(edge: Edge, issuer: Issuer) -> None:
    issuer.metadata_answer = an_error
    await get(edge, fresh(edge))
    statuses = {(await get(edge, "/ring/account-link/oidc"))[0].status for _ in range(5)}
    assert (statuses, issuer.asked) == ({503}, ["metadata"])


async def refuses(request: web.Request) -> web.StreamResponse:
    form = await request.post()
    return web.json_response({"error": "invalid_client", "error_description": f"{SECRET} {form['code']}"}, status=401)


async def test_a_refused_client_is_told_to_the_operator_and_not_to_the_user(edge: Edge, issuer: Issuer) -> None:
    issuer.token_answer = refuses
    with capture_logs() as lines:
        status, text = await signed_in(edge, issuer)
    assert (status, "invalid_client" in text) == (503, False)
    (line,) = [line for line in lines if line["event"] == "signin.provider_failed"]
    assert "client_secret_env" in line["why"]


@pytest.mark.parametrize(
    ("change", "words"),
    [("no auth_time", "auth_time"), ("another audience", "client_id"), ("a sign-in of tomorrow", "auth_time")],
)
async def test_a_token_that_nobody_can_believe_is_told_to_the_operator(
    edge: Edge, issuer: Issuer, change: str, words: str
) -> None:
    twist, _ = FALSE[change]
    issuer.twist = lambda claims: twist(claims) and None
    with capture_logs() as lines:
        assert (await signed_in(edge, issuer))[0] == 403
    (line,) = [line for line in lines if line["event"] == "signin.provider_failed"]
    assert words in line["why"]


async def test_what_an_issuer_repeats_in_its_error_is_told_without_our_secrets(edge: Edge, issuer: Issuer) -> None:
    carried: list[str] = []

    async def echoes(request: web.Request) -> web.StreamResponse:
        form = await request.post()
        carried.extend([str(form["code"]), str(form["code_verifier"]), SECRET])
        return web.json_response({"error": f"bad {SECRET} {form['code']} {form['code_verifier']}"}, status=400)

    issuer.token_answer = echoes
    with capture_logs() as lines:
        _, text = await signed_in(edge, issuer)
    (line,) = [line for line in lines if line["event"] == "signin.provider_failed"]
    assert "bad" in line["why"]
    assert not [secret for secret in carried if secret[:8] in text + str(lines)]


async def test_an_issuer_inside_a_network_is_not_asked_unless_it_is_allowed(issuer: Issuer) -> None:
    async with at(issuer, allow_networks=()) as edge:
        await get(edge, fresh(edge))
        assert (await get(edge, "/ring/account-link/oidc"))[0].status == 503
    assert issuer.asked == []


async def test_metadata_that_lead_into_a_network_lead_nowhere(issuer: Issuer) -> None:
    issuer.extra = {"token_endpoint": issuer.url.replace("127.0.0.1", "[::ffff:127.0.0.2]") + "/token"}
    async with at(issuer, allow_networks=("127.0.0.1/32",)) as edge:
        assert (await signed_in(edge, issuer))[0] == 503
    issuer.extra = {"token_endpoint": issuer.url.replace("127.0.0.1", "127.0.0.2") + "/token"}
    async with at(issuer, allow_networks=("127.0.0.1/32",)) as edge:
        assert (await signed_in(edge, issuer))[0] == 503
    assert "token" not in issuer.asked


async def test_no_proxy_of_the_environment_hears_of_it(edge: Edge, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await signed_in(edge, issuer))[0] == 200


async def test_no_code_token_address_or_secret_is_in_a_line_of_the_log(edge: Edge, issuer: Issuer) -> None:
    issuer.twist = lambda claims: claims.update(nonce="x")
    with capture_logs() as lines:
        first = issuer.callback(await sent(edge))
        await back(edge, first)
        issuer.token_answer = refuses
        await back(edge, again := issuer.callback(await sent(edge)))
    assert "signin.provider_failed" in {line["event"] for line in lines}
    sent_along = [value for path in (first, again) for (value,) in parse_qs(urlsplit(path).query).values()]
    for canary in (*sent_along, "user@example.com", SECRET, cookie(edge).secret, issuer.forms[0][0]["code_verifier"]):
        assert canary not in str(lines)
