"""Who called, behind proxies that are trusted by configuration. For logs only: nobody is refused or limited by address."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from aiohttp import web

from schemas.errors import Misconfigured

FORWARDED: Final = "X-Forwarded-For"
MOST_HOPS: Final = 10


class Proxies:
    """The networks of the proxies in front of us."""

    def __init__(self, networks: Sequence[str] = ()) -> None:
        """Take networks (`10.0.0.0/8`) or addresses, or raise Misconfigured."""
        self._networks = [_network(text) for text in networks]

    def caller(self, request: web.BaseRequest) -> str:
        """Return the nearest address that is not a trusted proxy's."""
        return self.nearest(request.remote or "", request.headers.getall(FORWARDED, ()))

    def nearest(self, peer: str, forwarded: Sequence[str]) -> str:
        """Walk from the connection's peer backwards through `X-Forwarded-For`, for as long as each hop is trusted.

        What an untrusted hop claims is not looked at, so nobody can forge an address past the first stranger.
        """
        hops = [_bare(hop.strip()) for header in forwarded for hop in header[-1000:].split(",")][-MOST_HOPS:]
        nearest = peer
        while self._trusts(nearest) and hops:
            nearest = hops.pop()
        return nearest if _address(nearest) else "unreadable"

    def _trusts(self, text: str) -> bool:
        address = _address(text)
        return address is not None and any(address in network for network in self._networks)


def _bare(hop: str) -> str:
    """Return a hop without the port that some proxies add: `192.0.2.1:5678`, `[2001:db8::1]:443`."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text, strict=False)
    except ValueError as error:
        raise Misconfigured(f"a trusted proxy is given as a network like 10.0.0.0/8, not {text!r}") from error


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
