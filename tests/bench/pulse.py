"""Ask a process whether it lives, every 5 ms. Usage: pulse.py PORT SECONDS. Prints [longest answer, p99.9, own latest wake], ms.

An answer takes as long as the event loop is busy with something else, and as the process waits for a core. By how much who asks
wakes late tells how long it is that one waits for a core here.
"""

import socket
import sys
import time

PAUSE_S = 0.005
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def main(port: int, seconds: float) -> list[float]:
    """Return the milliseconds."""
    took, late, until = list[float](), list[float](), time.monotonic() + seconds
    with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
        while (began := time.monotonic()) < until:
            line.sendall(REQUEST)
            if not line.recv(4096):
                raise SystemExit("it hung up")
            answered = time.monotonic()
            time.sleep(PAUSE_S)
            took.append((answered - began) * 1000)
            late.append((time.monotonic() - answered - PAUSE_S) * 1000)
    return [max(took), sorted(took)[len(took) * 999 // 1000], max(late)]


print(main(int(sys.argv[1]), float(sys.argv[2])), flush=True)  # noqa: T201 - the result
