"""Loopback ports that stay free: below the range from which the kernel serves outgoing connections.

A client that keeps dialling a stopped server's port may otherwise be given that very port as its own, and talk to itself.
"""

import contextlib
import secrets
import socket

FIRST, LAST = 20_000, 32_000


def free(count: int = 1) -> list[int]:
    """Return `count` ports of 127.0.0.1 that nobody listens on."""
    with contextlib.ExitStack() as held:
        return [held.enter_context(_bound()).getsockname()[1] for _ in range(count)]


def _bound() -> socket.socket:
    for _ in range(200):
        candidate = socket.socket()
        try:
            candidate.bind(("127.0.0.1", FIRST + secrets.randbelow(LAST - FIRST)))
        except OSError:
            candidate.close()
        else:
            return candidate
    raise OSError("no free port on 127.0.0.1 between 20000 and 32000")
