"""No connection goes inside a network, in whatever notation the address comes."""

from ipaddress import ip_network

import pytest

from workers.runtime.guard import permitted


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "192.0.0.192",
        "192.88.99.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::a00:1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2001:0:7f00:1::",
        "2001:db8::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "fd00:ec2::254",
        "fc00::1",
        "ff02::1",
    ],
)
def test_addresses_inside_are_refused(address: str) -> None:
    assert not permitted(address, ())


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"]
)
def test_public_addresses_pass(address: str) -> None:
    assert permitted(address, ())


def test_an_allowed_network_passes_in_every_notation_and_nothing_else_does() -> None:
    allowed = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert permitted("10.1.2.3", allowed)
    assert permitted("::ffff:10.1.2.3", allowed)
    assert permitted("fd00::1", allowed)
    assert not permitted("127.0.0.1", allowed)
    assert not permitted("64:ff9b::7f00:1", allowed)
