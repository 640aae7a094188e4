"""`python flood.py PORT DRIPS PAGES COOKIE`: strangers as a process of their own: none of their work is taken for the server's.

DRIPS bodies that come byte by byte, PAGES browsers that follow a link live, and a gzip bomb for every fifty drips. Prints a
line once all stand, and goes on until its stdin ends.
"""

import gzip
import itertools
import resource
import select
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

HEAD: Final = "POST /ring/webhook HTTP/1.1\r\nHost: x\r\nX-Signature: sha256=00\r\n"
DRIP: Final = f"{HEAD}Content-Length: 200000\r\n\r\n".encode()
BOMB: Final = gzip.compress(b"0" * 20_000_000)
BURST: Final = f"{HEAD}Content-Encoding: gzip\r\nContent-Length: {len(BOMB)}\r\n\r\n".encode() + BOMB
DRIP_S: Final = 1.0  # between two bytes of one body
REFRESH_S: Final = 2.0  # between two looks of one live page
TICK_S: Final = 0.1
PATIENCE_MS: Final = 30_000


def main(port: int, drips: int, pages: int, cookie: str) -> None:
    """Open everything, say so, and keep it going."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    look = f"GET /ring/account-link/progress HTTP/1.1\r\nHost: x\r\nCookie: ringhook={cookie}\r\n\r\n".encode()
    dripping, looking = list[socket.socket](), list[socket.socket]()
    for number in range(drips):
        dripping.append(opened(port, DRIP + b"x" * (10 if number % 2 else 9_000)))
        if number % 50 == 0:
            opened(port, BURST).close()
        if number * pages // drips == len(looking):
            looking.append(opened(port, look))
            if len(looking) % 20 == 0:
                answered(looking[-1])
    sys.stdout.write("standing\n")
    sys.stdout.flush()
    drops, looks = spread(dripping, DRIP_S), spread(looking, REFRESH_S)
    while not select.select([sys.stdin], [], [], TICK_S)[0]:
        for each in next(drops):
            tell(each, b"y")
        for each in next(looks):
            with suppress(OSError):
                each.recv(65_536)
            tell(each, look)


def opened(port: int, first: bytes) -> socket.socket:
    """Return a connection that has said this much."""
    made = socket.create_connection(("127.0.0.1", port))
    made.setblocking(False)  # noqa: FBT003 - its own signature
    tell(made, first)
    return made


def tell(where: socket.socket, words: bytes) -> None:
    """Send, if anybody listens still."""
    with suppress(OSError):
        where.send(words)


def answered(where: socket.socket) -> None:
    """Wait for an answer: a queue of connections that overflowed would be the system's matter, and cost each newcomer seconds."""
    waiting = select.poll()
    waiting.register(where, select.POLLIN)
    waiting.poll(PATIENCE_MS)


def spread(all_of_them: list[socket.socket], over_s: float) -> Iterator[list[socket.socket]]:
    """Give those whose turn it is in each tick: each once in so many seconds."""
    ticks = round(over_s / TICK_S)
    return itertools.cycle([all_of_them[number::ticks] for number in range(ticks)])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
