"""Sockets that lead only where the guard permits: checked as each is made, when every name is an address."""

import socket
from collections.abc import Sequence

import aiohttp

from workers.runtime.guard import Guarded, Network, permitted


def guarded(allowed: Sequence[Network]) -> aiohttp.SocketFactoryType:
    """Return a socket factory that makes sockets only for permitted addresses, and raises Guarded for all others."""

    def make(info: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, proto, _, address = info
        if family not in (socket.AF_INET, socket.AF_INET6) or not permitted(address[0], allowed):
            raise Guarded("the address is not a public one")
        return socket.socket(family=family, type=kind, proto=proto)

    return make
