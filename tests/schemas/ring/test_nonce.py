"""The nonce of the Account Link URL: ring-contract.md §2 and its fixed vector."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.ring import nonce
from schemas.ring.nonce import Freshness

KEY = b"test-hmac-key"
TIME = "1771130906289"
ACCOUNT = "ava1.ring.account.XXXYYY"
GOOD = "qexVypp7hnEZKz7jsI96n5DEp_jrbDeSKXSYWP5KHHE"
SENT = datetime(2026, 2, 15, 4, 48, 26, 289_000, tzinfo=UTC)
ANY = st.text(st.characters(exclude_categories=()))


def test_the_fixed_vector_of_the_contract() -> None:
    assert nonce.make(KEY, TIME, ACCOUNT) == GOOD
    assert nonce.match(KEY, GOOD, TIME, [ACCOUNT]) == ACCOUNT


def test_the_one_account_is_found_among_many_and_the_rest_is_not_read() -> None:
    read: list[str] = []

    def pool() -> Iterator[str]:
        for account in (*(f"other{n}" for n in range(50)), ACCOUNT, "never"):
            read.append(account)
            yield account

    assert nonce.match(KEY, GOOD, TIME, pool()) == ACCOUNT
    assert read[-1] == ACCOUNT


def test_another_key_time_or_account_does_not_match() -> None:
    assert nonce.match(b"other", GOOD, TIME, [ACCOUNT]) is None
    assert nonce.match(KEY, GOOD, "1771130906290", [ACCOUNT]) is None
    assert nonce.match(KEY, GOOD, TIME, ["ava1.ring.account.XXXYYZ"]) is None
    assert nonce.match(KEY, GOOD, TIME, []) is None


@pytest.mark.parametrize(
    "bad", ["", GOOD[:-1], GOOD + "=", GOOD[:-1] + "F", GOOD[:-1] + "+", GOOD + "\n", "é" * 43, "\udcff" * 43]
)
def test_what_cannot_be_a_nonce_matches_nothing(bad: str) -> None:
    assert not nonce.well_formed(bad)
    assert nonce.match(KEY, bad, TIME, [ACCOUNT]) is None


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        (0, Freshness.FRESH),
        (600, Freshness.FRESH),
        (600.001, Freshness.STALE),
        (-60, Freshness.FRESH),
        (-60.001, Freshness.FUTURE),
    ],
)
def test_a_time_is_good_for_600_s_with_60_s_of_skew(age: float, expected: Freshness) -> None:
    assert nonce.sent_at(TIME) == SENT
    assert nonce.check_time(TIME, SENT + timedelta(seconds=age)) is expected


@pytest.mark.parametrize(
    "bad", ["", "177113090628", TIME + "0", "-177113090628", "1771130906.28", "١٧٧١١٣٠٩٠٦٢٨٩", TIME + "\n", " " + TIME[1:]]
)
def test_anything_but_13_digits_is_malformed(bad: str) -> None:
    assert nonce.check_time(bad, SENT) is Freshness.MALFORMED


@pytest.mark.parametrize("length", [1, 63, 64, 65, 200])
def test_a_key_of_any_length_makes_and_matches(length: int) -> None:
    key = b"k" * length
    assert nonce.match(key, nonce.make(key, TIME, ACCOUNT), TIME, [ACCOUNT]) == ACCOUNT
    assert nonce.match(key + b"k", nonce.make(key, TIME, ACCOUNT), TIME, [ACCOUNT]) is None


@given(st.binary(min_size=1), st.from_regex(r"\A[0-9]{13}\Z"), st.lists(st.text(), min_size=1))
def test_what_is_made_is_matched(key: bytes, time: str, accounts: list[str]) -> None:
    made = nonce.make(key, time, accounts[-1])
    assert nonce.well_formed(made)
    assert nonce.match(key, made, time, accounts) == accounts[-1]


@given(ANY, ANY, st.lists(ANY))
def test_no_input_raises(given_nonce: str, time: str, accounts: list[str]) -> None:
    assert nonce.match(KEY, given_nonce, time, accounts) is None
    assert nonce.check_time(time, SENT) in Freshness
