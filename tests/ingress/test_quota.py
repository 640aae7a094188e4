"""How often a token may call, as a table."""

from ingress.admin.quota import Quota


def test_a_burst_is_let_through_and_then_so_many_a_second() -> None:
    quota = Quota(rate=2.0, burst=3.0)
    assert [quota.spend("a", 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert quota.spend("a", 0.4) > 0
    assert quota.spend("a", 0.5) == 0.0
    assert quota.spend("b", 0.5) == 0.0  # another's share is its own


def test_rest_gives_back_no_more_than_a_burst_and_a_clock_that_steps_back_gives_nothing() -> None:
    quota = Quota(rate=2.0, burst=3.0)
    assert [quota.spend("a", 1_000.0) for _ in range(4)][-1] > 0
    assert quota.spend("a", 0.0) > 0
    assert [quota.spend("a", 9_000.0) == 0.0 for _ in range(4)] == [True, True, True, False]
