"""What is decided about an issuer's words, whatever they are."""

import contextlib
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as some

from ingress.link.signin.discovery import UNREADABLE, Discovered, discovered
from ingress.link.signin.fetch import Answered, Unanswered
from ingress.link.signin.identity import masked, partner_user
from ingress.link.signin.idtoken import Claims, Expected, read_keys, verify
from ingress.link.signin.provider import given as id_token
from schemas.errors import Misconfigured, Rejected
from tests.ingress.issuer import KEYS, SHARED_RSA, b64, compact, sign

ISSUER = "https://login.example.com/"
NOW = datetime(2026, 2, 15, tzinfo=UTC)
EXPECTED = Expected(issuer=ISSUER, client_id="ringhook", nonce="n", asked=NOW)
LISTS = b"[" * 50_000 + b"]" * 50_000
DEEP = [b'{"x": %s}' % LISTS, b'{"keys": [{"x": %s}]}' % LISTS, b'{"email": %s}' % LISTS]
JSON = some.recursive(
    some.none() | some.booleans() | some.floats(allow_nan=False) | some.text(),
    lambda inner: (
        some.lists(inner) | some.dictionaries(some.sampled_from(["kty", "n", "e", "crv", "x", "kid", "alg", "use"]), inner)
    ),
)
BODIES = some.binary() | JSON.map(msgspec.json.encode) | some.sampled_from(DEEP)


def metadata(**changes: object) -> bytes:
    found = dict.fromkeys(("authorization_endpoint", "token_endpoint", "jwks_uri"), "https://other.example.com/x?y=1")
    return msgspec.json.encode({"issuer": ISSUER, **found, **changes})


def test_metadata_may_lead_to_other_hosts() -> None:
    assert discovered(metadata(), ISSUER).token_endpoint == "https://other.example.com/x?y=1"


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint", "jwks_uri"])
@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.com/x",
        "javascript:alert(1)",
        "//login.example.com/x",
        "/x",
        "https://",
        "https://user@login.example.com/x",
        "https://login.example.com/x#y",
        "https://login.example.com:0/x",
        "https://login.example.com:x/",
        "https://login.example.com/\nx",
        "https://[x/",
        None,
        5,
    ],
)
def test_an_address_that_nobody_should_follow_is_refused(name: str, url: object) -> None:
    with pytest.raises(Misconfigured):
        discovered(metadata(**{name: url}), ISSUER)


def test_the_issuer_must_call_itself_as_the_file_does() -> None:
    for other in ("https://login.example.com", "https://login.example.com//", "https://evil.example.com/"):
        with pytest.raises(Misconfigured, match="calls itself"):
            discovered(metadata(issuer=other), ISSUER)


@given(BODIES)
@example(DEEP[0])
def test_whatever_metadata_are_they_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(Misconfigured):
        assert isinstance(discovered(body, ISSUER), Discovered)


@given(BODIES | some.lists(JSON).map(lambda keys: msgspec.json.encode({"keys": keys})))
@example(DEEP[1])
def test_whatever_keys_are_they_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(*UNREADABLE):
        read_keys(body)


@given(some.sampled_from([200, 400, 401, 500]), BODIES)
def test_whatever_the_token_endpoint_says_it_is_a_token_or_an_error_of_ours(status: int, body: bytes) -> None:
    with contextlib.suppress(Rejected, Misconfigured, Unanswered):
        assert id_token(Answered(status, body))


KNOWN = read_keys(msgspec.json.encode({"keys": [{**SHARED_RSA.as_dict(private=False), "kid": "k1"}]}))


@given(some.text() | some.lists(BODIES, min_size=3, max_size=3).map(lambda parts: ".".join(map(b64, parts))))
def test_whatever_a_token_is_it_is_refused_with_a_reason(token: str) -> None:
    with pytest.raises(Rejected) as caught:
        verify(token, KNOWN, EXPECTED, NOW)
    assert caught.value.reason.startswith("id_token_")


@given(BODIES)
@example(DEEP[2])
def test_a_signed_token_that_says_nothing_sensible_is_refused_too(payload: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        verify(sign({"alg": "RS256"}, payload, SHARED_RSA), KNOWN, EXPECTED, NOW)
    assert caught.value.reason == "id_token_unreadable"


def test_keys_that_cannot_check_signatures_are_passed_over() -> None:
    good = KEYS["ES256"]().as_dict(private=False)
    rsa = SHARED_RSA.as_dict(private=False)
    useless = [
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": "new"},
        {},
        {**good, "use": "enc"},
        {**good, "x": "AA"},
        {**good, "crv": "P-1"},
        {"kty": "EC"},
        {**rsa, "n": rsa["n"][:100]},  # too weak
        {**rsa, "n": rsa["n"] * 8},  # too slow
    ]
    (key,) = read_keys(msgspec.json.encode({"keys": [*useless, good]}))
    assert (key.kty, key.crv) == ("EC", "P-256")


def test_a_key_for_one_algorithm_checks_no_other() -> None:
    key = {**SHARED_RSA.as_dict(private=False), "alg": "PS256"}
    with pytest.raises(Rejected) as caught:
        verify(compact({"alg": "RS256"}, {}, SHARED_RSA), read_keys(msgspec.json.encode({"keys": [key]})), EXPECTED, NOW)
    assert caught.value.reason == "id_token_key"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("user@example.com", "u***r@example.com"),
        ("al@example.com", "a***@example.com"),
        ("a@example.com", "a***@example.com"),
        ("bob@example.com", "b***@example.com"),
        ("user+ring@sub.example.com", "u***g@sub.example.com"),
        ("@example.com", None),
        ("user@", None),
        ("us er@example.com", None),
        ("user@example.com\n", None),
        ("user@exämple.com", None),
        ("\u202euser@example.com", None),
        ("", None),
    ],
)
def test_an_address_is_masked_or_not_shown_at_all(address: str, shown: str | None) -> None:
    assert masked(address) == shown


def test_two_people_never_have_one_name() -> None:
    def name(issuer: str, subject: str) -> str:
        return partner_user(Claims(iss=issuer, sub=subject, aud="x", exp=0, iat=0))

    assert name("https://a.example.com/1", "2") == "https://a.example.com/1#2"
    assert name("https://a.example.com/1", "2") != name("https://a.example.com/", "12")
