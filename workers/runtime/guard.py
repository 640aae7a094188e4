"""Which addresses we call for others: none inside a network, in whatever notation, unless it was allowed. Pure.

Checked where the socket is made, so that literal addresses and names that flip are caught alike (security.md 16).
"""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from socket import inet_aton
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# IPv6 forms that carry an IPv4 address: the prefix, and how many bits lie right of the four bytes.
_CARRIERS: Final = (
    (IPv6Network("::ffff:0:0/96"), 0),  # mapped
    (IPv6Network("::/96"), 0),  # compatible
    (IPv6Network("::ffff:0:0:0/96"), 0),  # translated (SIIT)
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64
    (IPv6Network("2002::/16"), 80),  # 6to4
)
_REFUSED: Final = (
    IPv4Network("192.0.0.0/24"),  # protocol assignments, a cloud's metadata among them; older Pythons call them global
    IPv4Network("168.63.129.16/32"),  # a cloud's host services at a public address
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv6Network("64:ff9b:1::/48"),  # NAT64 inside a network
    IPv6Network("2001::/23"),  # protocol assignments; Teredo carries an IPv4 address, obscured
    IPv6Network("3fff::/20"),  # documentation
    IPv6Network("5f00::/16"),  # segment routing inside a network
    IPv6Network("fec0::/10"),  # site-local
)


class Guarded(OSError):
    """The address is not a public one."""


def unwrapped(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 form carries, else the address itself."""
    if isinstance(address, IPv6Address):
        for network, right in _CARRIERS:
            if address in network and int(address) > 1:  # :: and ::1 mean themselves
                return IPv4Address(int(address) >> right & 0xFFFFFFFF)
    return address


def misspelt(host: str) -> bool:
    """Say whether a host is an IPv4 address in a notation that only some take for one: `127.1`, `0x7f.1`, `2130706433`."""
    try:
        IPv4Address(host)
    except ValueError:
        pass
    else:
        return False
    try:
        inet_aton(host.removesuffix("."))
    except (OSError, ValueError):
        return False
    return True


def standing(host: str) -> Sequence[str]:
    """Return the addresses that a host has everywhere: a literal itself, localhost this machine's, any other name none."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return ("127.0.0.1", "::1")
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return ()
    return (host,)


def leads_inside(host: str, allowed: Sequence[Network]) -> bool:
    """Say whether a host that needs no resolving is closed; all others are judged when they are resolved."""
    addresses = standing(host)
    return bool(addresses) and not any(permitted(address, allowed) for address in addresses)


def no_network(text: str) -> str | None:
    """Return why a text is no network like `10.0.0.0/8`, or None where it is one."""
    try:
        ip_network(text)
    except ValueError:
        pass
    else:
        return None
    try:
        return f"is an address and a network in one: write {ip_network(text, strict=False)}"
    except ValueError:
        return "is not a network like 10.0.0.0/8"


def permitted(text: str, allowed: Sequence[Network]) -> bool:
    """Say whether a connection may go to this literal address: a public one, or one in a network that was allowed."""
    address = ip_address(text.partition("%")[0])
    inner = unwrapped(address)
    if any(inner in network or address in network for network in allowed):
        return True
    return _public(inner) and (inner is address or isinstance(inner, IPv4Address))


def _public(address: Address) -> bool:
    """Say whether an address belongs to the open internet."""
    odd = address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback or address.is_link_local
    return address.is_global and not odd and not any(address in network for network in _REFUSED)
