"""The headers beside a webhook's raw bytes: what ingress writes, dispatch reads."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import Rejected
from schemas.ring import arrival
from schemas.ring.peek import peek

AT = datetime(2026, 2, 13, 13, 40, 0, 5, tzinfo=UTC)


def test_what_is_written_is_read() -> None:
    seen = peek(b'{"meta":{"request_id":"r1"},"data":{"type":"motion_detected"}}')
    expected = arrival.Arrival(request_id="r1", type="motion_detected", received_at=AT, app="next")
    assert arrival.read(arrival.headers(seen, AT, "next")) == expected


def test_a_body_that_says_nothing_has_no_type() -> None:
    assert arrival.read(arrival.headers(peek(b"?"), AT, "first")).type is None


@given(
    st.dictionaries(
        st.sampled_from(("request_id", "type", "received_at", "app")), st.binary() | st.sampled_from((b"first", b"2026-02-13"))
    )
)
def test_any_headers_are_read_or_rejected(headers: dict[str, bytes]) -> None:
    with pytest.raises(Rejected):
        arrival.read(headers.items())
