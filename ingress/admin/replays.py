"""`/v1/replays`: what was recorded in a span of time is sent to one destination again, beside what is live."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Protocol, cast

import msgspec
import structlog
from aiohttp import web

from ingress.admin.api import CALLER, Api, found, timed
from ingress.admin.bodies import Nothing
from ingress.admin.deliveries import DEADLINE_S
from ingress.admin.destinations import Destinations, known
from ingress.admin.query import instant
from ingress.admin.turns import Turns
from ingress.errors import Unprocessable
from schemas import cloudevents
from schemas.errors import Rejected
from schemas.events import Event
from schemas.filters import Wants
from schemas.topics import EVENT_RECORDED
from workers.bus.contract import Browser, Held
from workers.runtime.clock import utc_now

log = structlog.get_logger()
FIRST: Final = "first"
EVER: Final = datetime.fromtimestamp(0, UTC)
TOPIC: Final = EVENT_RECORDED.name
IDS_LIMIT: Final = 1_000
SCANNED: Final = 200_000  # records that a dry run looks at
SECONDS: Final = 20.0  # for them
AT_ONCE: Final = 200
PAUSE_S: Final = 0.005
ABSENT: Final = "not configured"

Stretch = tuple[int, int, int]  # partition, its first offset, the one after its last
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]


class Replay(Protocol):
    """One replay; `…_at` are epoch seconds."""

    @property
    def id(self) -> str:
        """What it is called."""
        ...

    @property
    def destination(self) -> str:
        """To whom it goes."""
        ...


class Replays(Protocol):
    """Holds replays; deliver's rows do."""

    def matches(self, filter_: dict[str, Any] | None, ids: Collection[str]) -> Callable[[Event], bool]:
        """Return what says whether an event is wanted. ValueError: what is wrong with the filter."""
        ...

    async def begin(
        self,
        destination: str,
        span: tuple[datetime, datetime],
        filter_: dict[str, Any] | None,
        ids: Collection[str],
        *,
        total: int,
        by: str,
        now: datetime,
    ) -> Replay:
        """Hold the wish for one."""
        ...

    async def every(self) -> Sequence[Replay]:
        """Return the latest, the newest first."""
        ...

    async def find(self, name: str) -> Replay | None:
        """Return one, or None."""
        ...

    async def cancel(self, name: str, now: datetime) -> Replay | None:
        """Send nothing more of it."""
        ...


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to be sent again: recorded from a time on ("first": all that is kept), before another (not said: now)."""

    destination: str
    begin: str = msgspec.field(name="from")
    end: str | None = msgspec.field(default=None, name="to")
    filter: dict[str, Any] | None = None
    ids: Annotated[tuple[Id, ...], msgspec.Meta(max_length=IDS_LIMIT)] = ()
    dry_run: bool = False


def add_replays(api: Api, replays: Replays, destinations: Destinations, browser: Browser, turns: Turns) -> None:
    """Add `GET /v1/replays` and `/v1/replays/{id}` (scope read), `POST /v1/replays` and `…/{id}/cancel` (scope operate)."""

    async def begin(request: web.Request) -> object:
        asked, now = await api.bodies.read(request, Asked), utc_now()
        known(asked.destination, await destinations.served(now))
        span, wanted = spanned(asked, now), understood(replays, asked)
        stretches = await within(browser, span)
        total = sum(end - first for _, first, end in stretches)
        if asked.dry_run:
            async with turns.taken():
                takes = await destinations.takes(asked.destination, now)
                fits = both(wanted, takes.wants(named=bool(asked.ids))) if takes else wanted
                return await counted(browser, stretches, fits) | {"total": total, "filtered": takes is not None}
        made = await replays.begin(asked.destination, span, asked.filter, asked.ids, total=total, by=request[CALLER], now=now)
        log.info("replay.begun", destination=asked.destination, replay=made.id, caller=request[CALLER], total=total)
        return told(made)

    async def listing(_request: web.Request) -> object:
        return {"replays": [told(one) for one in await replays.every()]}

    async def one(request: web.Request) -> object:
        replay = found(await replays.find(request.match_info["id"]))
        states = {seen.name: seen.state for seen in await destinations.standing(utc_now())}
        return told(replay) | {"destination_state": states.get(replay.destination, ABSENT)}

    async def cancel(request: web.Request) -> object:
        await api.bodies.read(request, Nothing)
        log.info("replay.cancel_wished", replay=request.match_info["id"], caller=request[CALLER])
        return told(found(await replays.cancel(request.match_info["id"], utc_now())))

    api.add("POST", "/v1/replays", "operate", begin, deadline_s=DEADLINE_S)
    api.add("GET", "/v1/replays", "read", listing)
    api.add("GET", "/v1/replays/{id}", "read", one)
    api.add("POST", "/v1/replays/{id}/cancel", "operate", cancel)


def spanned(asked: Asked, now: datetime) -> tuple[datetime, datetime]:
    """Return from when to when, or raise Rejected in words."""
    begin = EVER if asked.begin == FIRST else max(instant(asked.begin), EVER)
    end = instant(asked.end) if asked.end else now
    if end > now:
        raise Unprocessable("`to` lies in the future: what comes then is delivered anyhow.", reason="span")
    if begin >= end:
        raise Unprocessable("`from` is not before `to`: there is nothing in between.", reason="span")
    return begin, end


def understood(replays: Replays, asked: Asked) -> Callable[[Event], bool]:
    """Return what says whether an event is wanted, or raise Unprocessable in words."""
    try:
        return replays.matches(asked.filter, asked.ids)
    except ValueError as error:
        raise Unprocessable(f"The filter is not understood: {error}", reason="filter") from error


async def within(browser: Browser, span: tuple[datetime, datetime]) -> Sequence[Stretch]:
    """Return where what was taken in a span lies; on Kafka the ends of transactions lie in between."""
    begin, end = [await browser.since(TOPIC, at) for at in span]
    return [(index, first, max(first, end[index])) for index, first in begin.items()]


async def counted(browser: Browser, stretches: Sequence[Stretch], wanted: Callable[[Event], bool]) -> dict[str, object]:
    """Return how many events of a span are wanted, of those that were looked at, and whether these were all."""
    looked, matched, until = 0, 0, time.monotonic() + SECONDS
    async for held in _recorded(browser, stretches):
        if looked >= SCANNED or time.monotonic() > until:
            return {"looked": looked, "matched": matched, "whole": False}
        looked, event = looked + 1, _event(held)
        matched += event is not None and wanted(event)
    return {"looked": looked, "matched": matched, "whole": True}


async def _recorded(browser: Browser, stretches: Sequence[Stretch]) -> AsyncIterator[Held]:
    for index, first, end in stretches:
        at = first
        while at < end and (read := await browser.read(TOPIC, index, at, AT_ONCE)):
            await asyncio.sleep(PAUSE_S)  # whatever else this process does goes first
            at = read[-1].offset + 1
            for held in read:
                if held.offset < end:
                    yield held


def _event(held: Held) -> Event | None:
    try:
        return cloudevents.read(held.headers, held.value)
    except Rejected:
        return None


def both(one: Wants, other: Wants) -> Wants:
    """Return the test for what both want."""
    return lambda event: one(event) and other(event)


def told(replay: Replay) -> dict[str, object]:
    """Return what is told of a replay as builtins."""
    return cast("dict[str, object]", timed(msgspec.to_builtins(replay)))
