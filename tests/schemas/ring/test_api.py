"""Both answer shapes of Ring's API and what each status means: ring-contract.md §2 and §5."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Rejected
from schemas.ring import answers, api

NOW = datetime(2026, 2, 13, 13, 40, tzinfo=UTC)


def error(title: str) -> bytes:
    return json.dumps({"errors": [{"status": "400", "title": title, "detail": "more words"}]}).encode()


def test_requests_are_what_ring_documents() -> None:
    assert api.exchange_form("id", "hush", "abc") == {
        "grant_type": "authorization_code",
        "client_id": "id",
        "client_secret": "hush",
        "code": "abc",
    }
    assert api.refresh_form("id", "hush", "r")["grant_type"] == "refresh_token"
    assert json.loads(api.claim_body("n", "u***r@example.com")) == {"account_identifier": "u***r@example.com", "nonce": "n"}
    assert json.loads(api.claim_body("n", None)) == {"nonce": "n"}
    assert json.loads(api.complete_body()) == {"status": "completed"}


def test_a_token_answer_is_read_and_its_repr_hides_the_tokens() -> None:
    body = b'{"access_token":"acc","refresh_token":"ref","expires_in":14400,"scope":"ava.v1:read","token_type":"Bearer"}'
    found = api.read_tokens(body)
    assert (found.access_token, found.refresh_token, found.expires_in, found.scope) == ("acc", "ref", 14400, "ava.v1:read")
    assert "acc" not in repr(found)
    assert "ref" not in repr(found)


@pytest.mark.parametrize(("said", "seconds"), [("3600", 3600), ('"3600"', 3600), ("null", 14400), ("-1", 14400), ("0", 14400)])
def test_a_lifetime_that_makes_no_sense_is_the_usual_one(said: str, seconds: int) -> None:
    assert api.read_tokens(b'{"access_token":"a","expires_in":%s}' % said.encode()).expires_in == seconds


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b'{"access_token":7}', b'{"access_token":"a b"}', b'{"access_token":"a\\r\\nX: y"}']
)
def test_a_token_answer_without_a_usable_token_is_rejected(body: bytes) -> None:
    with pytest.raises(Rejected):
        api.read_tokens(body)


@pytest.mark.parametrize("body", [b'{"data":{"type":"users","id":"ava1.x"}}', b'{"id":"ava1.x"}'])
def test_the_account_is_read_from_both_shapes(body: bytes) -> None:
    assert api.read_account(body) == "ava1.x"


@pytest.mark.parametrize(
    ("call", "status", "body", "meaning"),
    [
        ("exchange", 200, b"{}", "done"),
        ("exchange", 400, b'{"error":"invalid_grant"}', "refused"),
        ("exchange", 401, b"", "refused"),
        ("exchange", 403, b"", "refused"),
        ("exchange", 429, b"", "limited"),
        ("exchange", 503, b"", "unavailable"),
        ("exchange", 500, b"", "ambiguous"),
        ("exchange", 504, b"", "ambiguous"),
        ("exchange", 307, b"", "unavailable"),
        ("refresh", 400, b'{"error":"invalid_grant"}', "refused"),
        ("refresh", 401, b'{"error":"invalid_grant"}', "refused"),
        ("refresh", 401, b"", "doubtful"),
        ("refresh", 403, b"<html>Access denied</html>", "doubtful"),
        ("refresh", 404, b"", "doubtful"),
        ("refresh", 401, b'{"error":"invalid_client"}', "client"),
        ("refresh", 400, b'{"error":"unauthorized_client"}', "client"),
        ("exchange", 401, b'{"error":"invalid_client"}', "client"),
        ("refresh", 502, b"", "ambiguous"),
        ("account", 403, b"", "unauthorised"),
        ("account", 401, b"", "unauthorised"),
        ("account", 500, b"", "unavailable"),
        ("claim", 200, b"not json", "done"),
        ("claim", 400, error("Invalid Nonce"), "invalid_nonce"),
        ("claim", 400, error("Missing Required Fields"), "refused"),
        ("claim", 401, b"", "unauthorised"),
        ("claim", 400, b"", "refused"),
        ("claim", 403, b"", "doubtful"),
        ("claim", 405, b"<html>", "doubtful"),
        ("claim", 413, b"", "doubtful"),
        ("claim", 404, b"", "absent"),
        ("claim", 502, b"", "ambiguous"),
        ("claim", 503, b"", "unavailable"),
        ("complete", 204, b"", "done"),
        ("complete", 400, error("Invalid Status Transition"), "transition"),
        ("complete", 400, b"", "refused"),
        ("complete", 404, b"", "absent"),
        ("complete", 403, b"<html>Access denied</html>", "doubtful"),
        ("complete", 500, b"", "ambiguous"),
        ("complete", 502, b"<html>", "ambiguous"),
        ("complete", 504, b"", "ambiguous"),
        ("complete", 503, b"", "unavailable"),
        ("devices", 401, b"", "unauthorised"),
        ("devices", 429, b"", "limited"),
    ],
)
def test_each_status_means_what_the_contract_says(call: answers.Call, status: int, body: bytes, meaning: str) -> None:
    assert answers.classify(call, status, None, body, NOW).meaning == meaning


def test_rings_own_words_are_kept_short_and_printable() -> None:
    assert api.read_errors(error("Invalid\x1b[31m Nonce")) == ("Invalid [31m Nonce", "more words")
    assert api.read_errors(b'{"error":"invalid_grant","error_description":"%s"}' % (b"x " * 250)) == (
        "invalid_grant",
        ("x " * 100).strip(),
    )


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("999999999999999999999", 3600),
        ("Fri, 13 Feb 2026 13:41:00 GMT", 60),
        ("Fri, 13 Feb 2026 13:39:00 GMT", 0),
        ("Fri, 13 Feb 2099 13:39:00 -0000", 3600),
        ("soon", None),
        ("-5", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: int | None) -> None:
    assert answers.wait(header, NOW) == (None if seconds is None else timedelta(seconds=seconds))


CALLS: tuple[answers.Call, ...] = ("exchange", "refresh", "account", "claim", "complete", "devices")


@given(st.sampled_from(CALLS), st.integers(100, 599), st.none() | st.text(), st.binary() | st.text().map(error))
def test_any_answer_is_read(call: answers.Call, status: int, header: str | None, body: bytes) -> None:
    answer = answers.classify(call, status, header, body, NOW)
    assert (answer.meaning == "done") is (200 <= status < 300)
