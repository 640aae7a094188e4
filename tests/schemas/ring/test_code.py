"""The Token Exchange request: ring-contract.md §3."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.ring.code import CODE_LIMIT, NoCode, parse

CODE = "aX9-_.~+/=kQ"


@pytest.mark.parametrize(
    ("body", "query", "form"),
    [
        (b"code=aX9-_.~%2B%2F%3DkQ", "", "form"),
        (b"code=aX9-_.~%2B%2F%3DkQ\r\n", "", "form"),
        (b"authorization_code=aX9-_.~%2B%2F%3DkQ&state=", "", "form"),
        (b'{"code": "aX9-_.~+/=kQ"}', "", "json"),
        (b'\xef\xbb\xbf \r\n{"authorization_code": "aX9-_.~+/=kQ", "x": [1, {"code": "other"}]}', "", "json"),
        (b'{"code": null, "authorization_code": "aX9-_.~+/=kQ"}', "", "json"),
        (b"", "code=aX9-_.~%2B/%3DkQ", "query"),
        (b"{}", "code=aX9-_.~%2B/%3DkQ", "query"),
        (b"\xff\xfe", "code=aX9-_.~%2B/%3DkQ", "query"),
        (b"code=aX9-_.~%2B%2F%3DkQ&code=aX9-_.~%2B%2F%3DkQ", "authorization_code=aX9-_.~%2B/%3DkQ", "form"),
    ],
)
def test_the_code_is_found_by_the_shape_of_the_body(body: bytes, query: str, form: str) -> None:
    posted = parse(body, query)
    assert (posted.code, posted.form) == (CODE, form)
    assert CODE not in repr(posted)


@pytest.mark.parametrize(
    ("body", "query", "reason"),
    [
        (b"", "", "no_code"),
        (b"code=", "", "no_code"),
        (b"grant_type=authorization_code", "", "no_code"),
        (b'{"code": ""}', "", "no_code"),
        (b'{"code": "a"', "", "no_code"),
        (b'[{"code": "a"}]', "", "no_code"),
        (b'{"data": {"code": "a"}}', "", "no_code"),
        (b"code=a&code=b", "", "two_codes"),
        (b"code=a&authorization_code=b", "", "two_codes"),
        (b'{"code": "a", "code": "b"}', "", "two_codes"),
        (b"code=a", "code=b", "two_codes"),
        (b"code=" + b"a" * (CODE_LIMIT + 1), "", "code_too_long"),
        (b'{"code": ["a"]}', "", "code_malformed"),
        (b'{"code": 7}', "", "code_malformed"),
        (b'{"code": "a\\u0000b"}', "", "code_malformed"),
        (b'{"code": "\\ud800"}', "", "no_code"),
        (b"code=caf%C3%A9", "", "code_malformed"),
        (b"code=a%0Ab", "", "code_malformed"),
        (b"code=a b", "", "code_malformed"),
        (b'{"a":' * 2_000 + b"1" + b"}" * 2_000, "", "no_code"),
        (b'{"a":' + b"9" * 10_000 + b"}", "", "no_code"),
    ],
)
def test_what_holds_no_single_code_is_refused_with_its_reason(body: bytes, query: str, reason: str) -> None:
    with pytest.raises(NoCode) as refused:
        parse(body, query)
    assert refused.value.reason == reason


def test_a_code_of_2_kib_is_still_taken() -> None:
    assert len(parse(b"code=" + b"a" * CODE_LIMIT, "").code) == CODE_LIMIT


def test_field_names_are_noted_from_a_fixed_list_only() -> None:
    assert parse(b"code=a&state=s&jane%40example.com=1&hush=2", "").fields == ("code", "other", "state")
    with pytest.raises(NoCode) as refused:
        parse(b'{"token": "secret", "scope": "x"}', "")
    assert (refused.value.form, refused.value.fields) == ("json", ("other", "scope"))


@given(st.binary() | st.binary().map(b'{"code":'.__add__) | st.binary().map(b"code=".__add__), st.text())
def test_any_request_yields_a_code_or_no_code(body: bytes, query: str) -> None:
    with suppress(NoCode):
        posted = parse(body, query)
        assert posted.code.isascii()
        assert 0 < len(posted.code) <= CODE_LIMIT
