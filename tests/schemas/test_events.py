"""What tells one event from another under the same request id."""

from hypothesis import given
from hypothesis import strategies as st

from schemas import events

PART = st.text(max_size=8)


def test_the_digest_is_the_same_on_every_machine() -> None:
    assert events.digest("a", "motion_detected", "d1") == "129f2e00761bc1b9453fcc690383602c"
    assert events.digest(None, "x", None) == events.digest("", "x", "")


@given(st.tuples(PART, PART, PART), st.tuples(PART, PART, PART))
def test_different_events_have_different_digests(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    assert (events.digest(*one) == events.digest(*other)) is (one == other)


def test_a_second_event_under_a_taken_id_gets_another_id() -> None:
    assert events.suffixed("r1", "0123456789abcdef" * 2) == "r1~0123456789abcdef"
