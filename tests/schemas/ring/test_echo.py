"""What others say, told without secrets."""

import json
from collections.abc import Callable
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.ring.echo import HIDDEN, without


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("code abc is not known", "code … is not known"),
        ("a%2Fb+c and a/b c and a%2Fb%20c", "… and … and …"),
        ("Bearer eyJhbGciOiJIUzI1NiJ9.e30.Zm9v is not good", "Bearer … is not good"),
        ("unsupported_grant_type for app-integrations", "unsupported_grant_type for app-integrations"),
        ("Invalid Status Transition · pending does not become completed.",) * 2,
        ("x" * 40, HIDDEN),
        ("so " * 682 + "abc", "so " * 681 + "so…"),
        (r'{"code":"a\/b c","was":"\u0061bc"}', '{"code":"…","was":"…"}'),
        ("a%2fb%20c, %61%62c, a%2Fb+c", "…, …, …"),
        (r"a%2Fb\u0020c and a\/b+c", "… and …"),
        (r"\/xyz", "…"),
    ],
)
def test_secrets_and_what_looks_like_one_are_taken_out(said: str, expected: str) -> None:
    assert without(said, ("abc", "a/b c", "/xyz", "")) == expected


@given(st.text(min_size=1), st.text(), st.text())
def test_no_secret_stands_in_what_is_left(secret: str, before: str, after: str) -> None:
    assert secret in f"{HIDDEN}\0" or secret not in without(before + secret + after, (secret,)).replace(HIDDEN, "\0")


def in_json(secret: str) -> str:
    return json.dumps(secret)[1:-1].replace("/", r"\/")


def in_units(secret: str) -> str:
    units = secret.encode("utf-16-be", errors="surrogatepass").hex()
    return "".join(rf"\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def in_percents(secret: str) -> str:
    return "".join(f"%{byte:02x}" for byte in secret.encode(errors="surrogatepass"))


def in_form(secret: str) -> str:
    return quote_plus(secret, errors="surrogatepass")


SPELT = st.sampled_from([str, in_json, in_units, in_percents, in_form, lambda secret: in_json(in_form(secret))])


@given(st.text(min_size=1), SPELT)
def test_no_secret_stands_there_as_json_or_a_url_spells_it(secret: str, spelt: Callable[[str], str]) -> None:
    said = spelt(secret)
    assert secret in f"{HIDDEN}\0" or said not in without(f"'{said}'", (secret,)).replace(HIDDEN, "\0")


@given(st.text('abYZ059-_.~+/=% "\\\né', min_size=12), SPELT)
def test_nothing_is_left_of_a_long_secret(secret: str, spelt: Callable[[str], str]) -> None:
    assert {*without(f"'{spelt(secret)}'", (secret,))} == {*"'…"}
