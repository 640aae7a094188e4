"""What others say, told without secrets."""

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
    ],
)
def test_secrets_and_what_looks_like_one_are_taken_out(said: str, expected: str) -> None:
    assert without(said, ("abc", "a/b c", "")) == expected


@given(st.text(min_size=1), st.text(), st.text())
def test_no_secret_stands_in_what_is_left(secret: str, before: str, after: str) -> None:
    assert secret == HIDDEN or secret in HIDDEN or secret not in without(before + secret + after, (secret,)).replace(HIDDEN, "\0")
