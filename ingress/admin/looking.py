"""Filling pages of events, and waiting for what is new."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ingress.admin.cursor import Positions
from ingress.admin.forward import expired, onward, unread
from schemas import cloudevents
from schemas.errors import Rejected
from schemas.events import Event
from schemas.filters import Wants
from schemas.topics import EVENT_RECORDED
from workers.bus.contract import Browser, Held, Span

LOOK_S: Final = 0.25  # between two looks for what is new
SCANNED: Final = 2_000  # records looked at for one page, wanted or not
BYTES: Final = 2**20  # of a page, beyond its last event
TOPIC: Final = EVENT_RECORDED.name


@dataclass
class Page:
    """What was found, and where the next page begins."""

    limit: int
    positions: dict[int, int]
    found: list[tuple[Held, Event]] = field(default_factory=list)
    expired: int = 0
    unreadable: int = 0
    more: bool = False
    _scanned: int = 0
    _bytes: int = 0

    def take(self, held: Held, wants: Wants) -> None:
        """Look at one record, and go past it."""
        self.positions[held.index] = held.offset + 1
        self._scanned += 1
        try:
            event = cloudevents.read(held.headers, held.value)
        except Rejected:
            self.unreadable += 1
            return
        if wants(event):
            self.found.append((held, event))
            self._bytes += len(held.value)

    @property
    def full(self) -> bool:
        """Say whether it holds what it may."""
        return len(self.found) >= self.limit or self._bytes >= BYTES or self._scanned >= SCANNED

    def keep_up(self, spans: Sequence[Span]) -> None:
        """Go past what has expired, and count it."""
        self.expired += expired(self.positions, spans)
        self.positions.update({span.index: max(span.first, self.positions[span.index]) for span in spans})


@dataclass(frozen=True)
class Looking:
    """Fills pages of `event.recorded`; `over` says that nobody waits any more."""

    browser: Browser
    over: Callable[[], bool]

    async def page(self, begin: Positions, wants: Wants, *, limit: int, wait_s: float) -> Page:
        """Return the next page from there on, an empty one after `wait_s`.

        Who waits gets what comes together: a page that is not full is filled once more, or each event would be an answer.
        """
        until = asyncio.get_running_loop().time() + wait_s
        page, gathering = Page(limit, dict(begin)), False
        while True:
            await self._fill(page, wants)
            if page.full or gathering or self.over() or asyncio.get_running_loop().time() + LOOK_S > until:
                return page
            gathering = bool(page.found)
            await asyncio.sleep(LOOK_S)

    async def _fill(self, page: Page, wants: Wants) -> None:
        spans = await self.browser.spans(TOPIC)
        page.keep_up(spans)
        while unread(page.positions, spans) and not page.full:
            records, positions = await onward(self.browser, TOPIC, page.positions, spans, page.limit)
            page.positions.update(positions)
            for held in records:
                page.take(held, wants)
                if page.full:
                    break
        page.more = bool(unread(page.positions, spans))
