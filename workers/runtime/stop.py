"""Signals set events: first that the process is leaving, then that it stops; or that its configuration is to be read anew.

While it is leaving it works on, and says so to whoever asks, so that a load balancer can look away. Whoever waits for the stop
ends between two records, never in mid-write.
"""

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

WANTED: Final = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True)
class Ending:
    """How far a process is on its way out, and whether somebody wishes that it reads its configuration anew."""

    leaving: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    reload: asyncio.Event = field(default_factory=asyncio.Event)


@contextmanager
def on_signals(*, drain_s: float = 0.0) -> Iterator[Ending]:
    """Give what SIGTERM and SIGINT set: `leaving` at once; `stop` too, or `drain_s` seconds after a SIGTERM.

    A second signal of a kind ends the process at once; SIGINT cuts the drain short, since a person waits. SIGHUP sets `reload`,
    or stops what a terminal began.
    """
    loop = asyncio.get_running_loop()
    ending = Ending()

    def first(number: signal.Signals) -> None:
        ending.leaving.set()
        if number == signal.SIGTERM and drain_s:
            loop.call_later(drain_s, ending.stop.set)
        else:
            ending.stop.set()
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)

    for number in WANTED:
        loop.add_signal_handler(number, first, number)
    if sys.stdin is not None and sys.stdin.isatty():  # its terminal was closed
        loop.add_signal_handler(signal.SIGHUP, first, signal.SIGHUP)
    else:
        loop.add_signal_handler(signal.SIGHUP, ending.reload.set)
    try:
        yield ending
    finally:
        for number in (*WANTED, signal.SIGHUP):
            loop.remove_signal_handler(number)
