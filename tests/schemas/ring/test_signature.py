"""The webhook's signature: ring-contract.md §4 and its fixed vector."""

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import App
from schemas.ring.signature import refusal, sign, verify

KEY = b"test-hmac-key"
BODY = b'{"meta":{"request_id":"r1"}}'
GOOD = "sha256=df9b6d5a9c5300d8b38852b0c2c3aa8345ef313b37876ade2355bda369a1cff9"
HEX = GOOD.removeprefix("sha256=")
KEYS: dict[App, bytes] = {"first": KEY, "next": b"another key"}


def test_the_fixed_vector_of_the_contract() -> None:
    assert sign(KEY, BODY) == GOOD
    assert verify(KEYS, GOOD, BODY) == "first"


@pytest.mark.parametrize("header", [HEX, "SHA256=" + HEX, "Sha256=" + HEX.upper(), HEX.upper()])
def test_prefix_and_case_do_not_matter(header: str) -> None:
    assert verify(KEYS, header, BODY) == "first"


def test_either_of_two_keys_is_enough_and_the_answer_says_which() -> None:
    assert verify(KEYS, sign(b"another key", BODY), BODY) == "next"
    assert verify({}, GOOD, BODY) is None


def test_one_changed_bit_anywhere_is_refused() -> None:
    assert verify(KEYS, GOOD, BODY + b" ") is None
    wrong = [GOOD[:at] + ("0" if GOOD[at] != "0" else "1") + GOOD[at + 1 :] for at in range(7, len(GOOD))]
    assert not any(verify(KEYS, header, BODY) for header in wrong)


def test_the_nonces_encoding_is_not_a_signature() -> None:
    assert verify(KEYS, hmac.digest(KEY, BODY, "sha256").decode("latin-1"), BODY) is None


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (None, "missing"),
        ("", "missing"),
        ("sha256=", "malformed"),
        ("sha1=" + HEX, "malformed"),
        ("sha256:" + HEX, "malformed"),
        ("sha256=sha256=" + HEX, "malformed"),
        (HEX[:-1], "malformed"),
        (HEX + "00", "malformed"),
        (HEX[:62] + "\n ", "malformed"),
        (" " * 64, "malformed"),
        ("é" * 64, "malformed"),
        ("٣" * 64, "malformed"),
        ("\udcff" * 64, "malformed"),
        ("\0" * 64, "malformed"),
        ("sha256=" + "0" * 64, "mismatch"),
    ],
)
def test_every_bad_header_is_the_same_refusal_with_its_reason(header: str | None, why: str) -> None:
    assert verify(KEYS, header, BODY) is None
    assert refusal(header) == why


@given(
    st.text(st.characters(exclude_categories=())) | st.text("0123456789abcdefABCDEF \udc80=", min_size=60, max_size=72),
    st.binary(),
)
def test_no_header_raises(header: str, body: bytes) -> None:
    assert verify(KEYS, header, body) is None
    assert refusal(header) in ("missing", "malformed", "mismatch")


@given(st.binary(min_size=1), st.binary())
def test_what_is_signed_verifies(key: bytes, body: bytes) -> None:
    assert verify({"first": key}, sign(key, body), body) == "first"
