"""`GET /v1/events/{event}`: the whole life of one event, from Ring's call to each attempt to deliver it."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web

from ingress.admin.api import HELD, Api, found
from ingress.admin.backward import Allowance, Tail, newest, tails
from ingress.admin.deliveries import DEADLINE_S
from ingress.admin.deliveries import Asked as Attempts
from ingress.admin.deliveries import kept as kept_attempt
from ingress.admin.letters import Address, summary, texts
from ingress.admin.query import instant, queried
from ingress.admin.turns import Turns
from schemas import cloudevents
from schemas.errors import Rejected
from schemas.events import Event
from schemas.topics import DELIVERY_ATTEMPTED, EVENT_RECORDED, WEBHOOK_RECEIVED
from workers.bus.contract import Browser, Held

MOST: Final = 500  # parts of a life that are told


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Down to when it is looked for: whoever knows when it came spares everybody the rest."""

    since: Annotated[str, msgspec.Meta(max_length=64)] = ""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to an event, and where it is written down."""

    what: str  # received, recorded, attempted, buried
    at: datetime
    place: str  # topic:partition:offset
    facts: Mapping[str, Any]


def add_life(api: Api, browser: Browser, dead: Collection[str], turns: Turns) -> None:
    """Add the route (scope read; what destinations answered only with the scope bodies, too). `dead`: topics of dead letters."""

    async def life(request: web.Request) -> object:
        asked, whole = queried(request.query, Asked), "bodies" in request[HELD]
        since = instant(asked.since) if asked.since else None
        async with turns.taken():
            return found(await lived(browser, request.match_info["event"], dead, since, whole=whole))

    api.add("GET", "/v1/events/{event}", "read", life, deadline_s=DEADLINE_S)


async def lived(
    browser: Browser, event: str, dead: Collection[str], since: datetime | None, *, whole: bool
) -> dict[str, object] | None:
    """Return all that is still kept of it, the oldest first, None where nothing is; `cut`: the search ended before that."""
    allowance, parts, indexes = Allowance(), list[Part](), list[Tail[Part]]()
    for topic in (WEBHOOK_RECEIVED.name, EVENT_RECORDED.name, DELIVERY_ATTEMPTED.name, *dead):
        indexes += await tails(browser, topic, since)
    reader = Reader(event, whole=whole)
    async for part in newest(browser, indexes, reader.keep, allowance):
        parts.append(part)
        if begun(parts) or len(parts) == MOST:
            break
    if not parts:
        return None
    ordered = sorted(parts, key=lambda part: part.at)
    return {"event": event, "life": msgspec.to_builtins(ordered), "scanned": allowance.used, "cut": allowance.ended}


def begun(parts: Collection[Part]) -> bool:
    """Say whether the first of Ring's calls was met: what became of it was, and nothing older is of interest."""
    ends = [part.at for part in parts if part.what == "recorded"]
    calls = [part.at for part in parts if part.what == "received" and not part.facts["found"]]
    return bool(ends and calls) and min(calls) <= min(ends)


class Reader:
    """Keeps what a record says of one event."""

    def __init__(self, event: str, *, whole: bool) -> None:
        self._name = event.encode()
        self._attempt = kept_attempt(Attempts(event=event), whole=whole)

    def keep(self, held: Held) -> Part | None:
        """Return what the record says of it, None where it is another's."""
        if held.topic == DELIVERY_ATTEMPTED.name:
            facts = self._attempt(held)
            return part("attempted", held, facts) if facts else None
        if self._name not in {held.header("ce_id"), held.header("request_id")}:
            return None
        if held.topic == WEBHOOK_RECEIVED.name:
            return part("received", held, _received(held))
        return (
            part("recorded", held, _recorded(held)) if held.topic == EVENT_RECORDED.name else part("buried", held, _letter(held))
        )


def part(what: str, held: Held, facts: Mapping[str, Any]) -> Part:
    """Return what happened, as the record has it."""
    return Part(what=what, at=held.time, place=str(Address(held.topic, held.index, held.offset)), facts=facts)


def _received(held: Held) -> dict[str, Any]:
    """Return how it came; `found`: its account was looked up by the device, and this is the copy under that account."""
    said = texts(held)
    return {name: said.get(name, "") for name in ("type", "received_at", "app")} | {"found": "account" in said}


def _recorded(held: Held) -> dict[str, Any]:
    try:
        event: Event = cloudevents.read(held.headers, held.value)
    except Rejected as error:
        return {"unreadable": str(error)}
    names = ("type", "subject", "accountid", "partneruserid", "linked")
    return {name: getattr(event, name) for name in names}


def _letter(held: Held) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(summary(held))
    return {name: told[name] for name in ("reason", "attempts", "status", "account", "type")}
