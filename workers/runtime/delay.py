"""Waiting, told and not counted: a line when it begins, one a minute while it lasts, and one when it is over."""

import time
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger()
AGAIN: Final = 60.0  # seconds between two lines about the same
LONG: Final = 5.0  # seconds of waiting whose end is worth a line


class Delay:
    """What those who share it wait for: twelve lanes that miss one store are one delay."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._told: dict[str, float] = {}

    def waits(self, event: str, why: str, **facts: object) -> None:
        """Tell why, unless that was told within the last minute."""
        now = self._clock()
        self._since = now if self._since is None else self._since
        if why in self._told and now - self._told[why] < AGAIN:
            return
        self._told = {known: at for known, at in self._told.items() if now - at < AGAIN} | {why: now}
        log.warning(event, why=why, **facts)

    def goes_on(self, event: str, **facts: object) -> None:
        """Tell that a long wait is over; the next one is told at once."""
        if self._since is None:
            return
        lasted, self._since = self._clock() - self._since, None
        if lasted >= LONG:
            self._told.clear()
            log.info(event, seconds=round(lasted), **facts)
