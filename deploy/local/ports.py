"""Loopback ports that stay free: below the range from which the kernel serves outgoing connections.

A client that keeps dialling a stopped server's port may otherwise be given that very port as its own, and talk to itself.
A port that was given is not listened on at once: so processes side by side choose from others, and none is given twice soon.
"""

import contextlib
import os
import secrets
import socket
from collections import deque

FIRST, LAST = 20_000, 32_000
SHARES = 16  # of the ports, one for each process by its pid
_given: deque[int] = deque(maxlen=(LAST - FIRST) // SHARES // 2)


def free(count: int = 1) -> list[int]:
    """Return `count` ports of 127.0.0.1 that nobody listens on."""
    with contextlib.ExitStack() as held:
        return [held.enter_context(_bound()).getsockname()[1] for _ in range(count)]


def _bound() -> socket.socket:
    for _ in range(200):
        port = FIRST + SHARES * secrets.randbelow((LAST - FIRST) // SHARES) + os.getpid() % SHARES
        if port in _given:
            continue
        candidate = socket.socket()
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            candidate.close()
        else:
            _given.append(port)
            return candidate
    raise OSError("no free port on 127.0.0.1 between 20000 and 32000")
