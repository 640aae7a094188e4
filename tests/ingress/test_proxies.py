import pytest

from ingress.proxies import Proxies
from schemas.errors import Misconfigured


@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["198.51.100.1, 10.0.0.7"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["6.6.6.6", "198.51.100.1"], "198.51.100.1"),
        ("::ffff:10.0.0.1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", ["192.0.2.1:5678, 10.0.0.7:80"], "192.0.2.1"),
        ("10.0.0.1", ["[2001:db8::1]:443"], "2001:db8::1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["\x1b[31m"], "unreadable"),
        ("10.0.0.1", [""], "unreadable"),
        ("", [], "unreadable"),
    ],
)
def test_the_caller_is_the_nearest_address_that_is_not_a_trusted_proxy(peer: str, forwarded: list[str], caller: str) -> None:
    assert Proxies(["10.0.0.0/8"]).nearest(peer, forwarded) == caller


def test_without_trusted_proxies_nothing_that_is_claimed_counts() -> None:
    assert Proxies().nearest("10.0.0.1", ["198.51.100.1"]) == "10.0.0.1"


def test_a_network_that_is_none_is_misconfigured() -> None:
    with pytest.raises(Misconfigured, match=r"10\.0\.0\.0/8"):
        Proxies(["everywhere"])
