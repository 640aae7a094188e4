"""Signals set an event; whoever waits for it ends between two records, never in mid-write."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def on_signals(*signals: signal.Signals) -> Iterator[asyncio.Event]:
    """Give an event that SIGTERM and SIGINT (or `signals`) set; a second signal ends the process at once."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    wanted = signals or (signal.SIGTERM, signal.SIGINT)

    def first(number: signal.Signals) -> None:
        stop.set()
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)

    for number in wanted:
        loop.add_signal_handler(number, first, number)
    try:
        yield stop
    finally:
        for number in wanted:
            loop.remove_signal_handler(number)
