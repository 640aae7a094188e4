"""`GET /v1/events`: what is recorded, as it comes, to whoever looks on; the reader keeps its own place, as a cursor."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web

from ingress.admin import cursor
from ingress.admin.api import HELD, Api
from ingress.admin.cursor import Positions
from ingress.admin.looking import TOPIC, Looking, Page
from ingress.admin.query import instant, queried
from ingress.admin.turns import Turns
from ingress.errors import Unprocessable
from schemas import cloudevents
from schemas.errors import UNREADABLE, Rejected
from schemas.filters import Wants, compiled, everything
from workers.bus.contract import Browser, Stop

AT_ONCE: Final = 4
DEADLINE_S: Final = 45.0  # 20 of waiting, and what the bus may take
FIRST: Final = "first"
FILTER: Final = 2_000  # characters: a line of HTTP holds 8,190, and most signs of JSON take three there


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which events are asked for: those behind a cursor, from the first or a time on, or (neither) what is new."""

    after: Annotated[str, msgspec.Meta(max_length=1_000)] = ""
    begin: Annotated[str, msgspec.Meta(max_length=64)] = msgspec.field(default="", name="from")
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100
    wait_s: Annotated[float, msgspec.Meta(ge=0, le=20)] = 0.0
    filter: Annotated[str, msgspec.Meta(max_length=FILTER)] = ""


def add_events(api: Api, browser: Browser, leaving: Stop) -> None:
    """Add `GET /v1/events` (scope read; `data` only with the scope bodies, too)."""
    turns = Turns(AT_ONCE, "wait for events", abreast=AT_ONCE)

    async def events(request: web.Request) -> object:
        asked = asked_of(request.query)
        wants, whole = wanted(asked.filter), "bodies" in request[HELD]
        looking = Looking(browser, lambda: leaving.is_set() or gone(request))
        async with turns.taken():
            page = await looking.page(await begun(browser, asked), wants, limit=asked.limit, wait_s=asked.wait_s)
        return told(page, bare=not whole)

    api.add("GET", "/v1/events", "read", events, deadline_s=DEADLINE_S)


def asked_of(query: Mapping[str, str]) -> Asked:
    """Return what a query asks for, or raise Rejected in words."""
    asked = queried(query, Asked)
    if asked.after and asked.begin:
        raise Rejected("Say `after` or `from`, not both.", reason="query")
    return asked


async def begun(browser: Browser, asked: Asked) -> Positions:
    """Return where to begin."""
    spans = await browser.spans(TOPIC)
    if asked.after:
        return cursor.read(asked.after, spans)
    if asked.begin and asked.begin != FIRST:
        return await browser.since(TOPIC, instant(asked.begin))
    return {span.index: span.first if asked.begin else span.next for span in spans}


def wanted(text: str) -> Wants:
    """Return the test that a filter in JSON stands for, or raise Unprocessable in words."""
    if not text:
        return everything
    try:
        expression: Any = msgspec.json.decode(text)
    except UNREADABLE as error:
        raise Unprocessable(f"The filter is no JSON: {error}", reason="filter") from error
    try:
        return compiled(expression)
    except ValueError as error:
        raise Unprocessable(f"The filter cannot be used: {error}", reason="filter") from error


def gone(request: web.Request) -> bool:
    """Say whether the caller has hung up."""
    return request.transport is None or request.transport.is_closing()


def told(page: Page, *, bare: bool) -> dict[str, object]:
    """Return a page as JSON says it: events as CloudEvents in structured mode, `bare` ones without their data."""
    events = [cloudevents.structured(event, cloudevents.sequence(held.offset), bare=bare) for held, event in page.found]
    return {
        "events": [msgspec.Raw(event) for event in events],
        "next": cursor.written(page.positions),
        "more": page.more,
        "expired": page.expired,
        "unreadable": page.unreadable,
        "data": not bare,
    }
