"""Each usual mistake behind a signature that does not fit is recognised, and nothing else is."""

import hmac
import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.ring.misfit import LONGEST, Misfit, misfit
from schemas.ring.signature import sign, verify

KEY = b"test-hmac-key"
BODY = b'{"meta":{"request_id":"r1"},"data":{"attributes":{"name":"T\xc3\xbcr"}}}'
SENT = sign(KEY, BODY)
PRETTY = json.dumps(json.loads(BODY)).encode()
OURS = "our-key-with-dashes"

MISTAKES: list[tuple[Misfit, bytes, str, bytes]] = [
    ("body_rewritten", KEY, SENT, PRETTY),
    ("body_rewritten", KEY, SENT, json.dumps(json.loads(BODY), indent=2, ensure_ascii=False).encode()),
    ("body_rewritten", KEY, sign(KEY, PRETTY), BODY),
    ("body_line_end", KEY, SENT, BODY + b"\n"),
    ("body_line_end", KEY, sign(KEY, BODY + b"\n"), BODY),
    ("signature_base64", KEY, b64encode(hmac.digest(KEY, BODY, "sha256")).decode(), BODY),
    ("signature_base64", KEY, "sha256=" + b64encode(hmac.digest(KEY, BODY, "sha256")).decode().rstrip("="), BODY),
    ("key_line_end", KEY + b"\n", SENT, BODY),
    ("key_line_end", b" " + KEY, SENT, BODY),
    ("key_line_end", KEY, sign(KEY + b"\n", BODY), BODY),
    ("key_quoted", b'"' + KEY + b'"', SENT, BODY),
    ("key_encoded", b64encode(KEY), SENT, BODY),
    ("key_decoded", KEY, sign(b64encode(KEY), BODY), BODY),
    ("key_hex", KEY.hex().encode(), SENT, BODY),
    ("key_hex", KEY, sign(KEY.hex().encode(), BODY), BODY),
]


@pytest.mark.parametrize(("why", "key", "header", "body"), MISTAKES)
def test_each_usual_mistake_is_recognised(why: Misfit, key: bytes, header: str, body: bytes) -> None:
    assert verify({"first": key}, header, body) is None
    assert misfit([b"another app's", key], header, body) == why


@pytest.mark.parametrize("header", [None, "", "sha256=", "é", "\udcff" * 64, sign(b"another key", BODY), "0" * 64, "=" * 44])
def test_where_none_fits_nothing_is_said(header: str | None) -> None:
    assert misfit([KEY], header, BODY) is None


def test_a_long_body_is_not_looked_into() -> None:
    body = b"[" + b"1," * LONGEST + b"1]"
    assert misfit([KEY], sign(KEY, json.dumps(json.loads(body)).encode()), body) is None


@pytest.mark.parametrize("body", [b"[" * 60_000, b'"\\ud800"', b"nan", b"\xff\xfe", b'{"a":1e999}'])
def test_no_body_is_too_odd(body: bytes) -> None:
    assert misfit([KEY], SENT, body) is None


@given(st.text(st.characters(exclude_categories=())), st.binary(max_size=200), st.binary(min_size=1, max_size=60))
def test_no_header_body_or_key_raises(header: str, body: bytes, key: bytes) -> None:
    misfit([key], header, body)
