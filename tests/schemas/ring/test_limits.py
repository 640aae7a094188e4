"""Ring's words about its limit, in every form that the field writes them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.ring.limits import LONGEST, Limit, read

NOW = datetime(2026, 2, 13, 13, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    ("limit", "left", "reset", "expected"),
    [
        ("100", "7", None, Limit(100, 7)),
        ("100", "0", "2", Limit(100, 0, 2.0)),
        ("100, 100;w=1", " 3 ", "0.5", Limit(100, 3, 0.5)),
        ("100", "0", str(int(NOW.timestamp()) + 4), Limit(100, 0, 4.0)),
        ("100", "0", str(int(NOW.timestamp()) - 4), Limit(100, 0, 0.0)),
        ("100", "0", "86400", Limit(100, 0, LONGEST)),
        ("0", "0", None, Limit(None, 0)),
        ("0.5", "0.5", None, Limit(None, 0)),
        ("20.9", "3", None, Limit(20, 3)),
        (None, None, None, Limit()),
        ("many", "-1", "soon", Limit()),
        ("", "1e9", "²", Limit()),
        ("1.²", "1.٣", "1.5²", Limit()),
        ("1.", "2.", "3.", Limit(1, 2, 3.0)),
    ],
)
def test_limits_are_read(limit: str | None, left: str | None, reset: str | None, expected: Limit) -> None:
    given = {"Limit": limit, "Remaining": left, "Reset": reset}
    assert read({f"X-RateLimit-{name}": text for name, text in given.items() if text is not None}, NOW) == expected


DIGITS = st.text("1²", min_size=1, max_size=2)
SAID = st.none() | st.text() | st.text("19.,;²٣-+e_ ") | st.builds("{}.{}".format, DIGITS, DIGITS)


@given(SAID, SAID, SAID)
def test_whatever_the_headers_say_is_read_and_is_a_limit_to_live_by(
    limit: str | None, left: str | None, reset: str | None
) -> None:
    given = {"Limit": limit, "Remaining": left, "Reset": reset}
    found = read({f"X-RateLimit-{name}": text for name, text in given.items() if text is not None}, NOW)
    assert found.most is None or found.most >= 1
    assert found.left is None or found.left >= 0
    assert found.reset is None or 0 <= found.reset <= LONGEST
