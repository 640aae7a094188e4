"""`POST /v1/deliveries/retry`: one event goes to one destination once more, whatever became of it."""

from secrets import token_hex
from typing import Annotated, Final

import msgspec
import structlog
from aiohttp import web

from ingress.admin.api import CALLER, Api
from ingress.admin.deliveries import DEADLINE_S, looked_up
from ingress.admin.deliveries import Asked as Search
from ingress.admin.destinations import Destinations, known
from ingress.admin.retry import Replays
from ingress.admin.turns import Turns
from ingress.errors import NotFound
from schemas.topics import EVENT_RECORDED
from workers.bus.contract import Browser, Held, Publisher
from workers.runtime.clock import utc_now

log = structlog.get_logger()
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
UNKNOWN: Final = (
    "No attempt to deliver this event was written down, or the event has expired: `ringhook replay --id` looks through "
    "all that is kept."
)


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which event, and to whom; the account makes the search short."""

    event: Text
    destination: Text
    account: Annotated[str, msgspec.Meta(max_length=512)] = ""


def add_resend(
    api: Api, browser: Browser, turns: Turns, destinations: Destinations, *, publisher: Publisher, replays: Replays
) -> None:
    """Add the route (scope operate)."""

    async def resend(request: web.Request) -> object:
        asked, now = await api.bodies.read(request, Asked), utc_now()
        known(asked.destination, await destinations.served(now))
        async with turns.taken():
            held = await recorded(browser, asked)
        name = token_hex(6)
        await replays.prepare(name, asked.destination, [asked.event], by=request[CALLER], now=now)
        await publisher.publish([replays.again(held, name, asked.destination)])
        await replays.prepared(name, utc_now())
        log.info("delivery.retry_wished", destination=asked.destination, replay=name, caller=request[CALLER])
        return {"event": asked.event, "destination": asked.destination, "replay": name}

    api.add("POST", "/v1/deliveries/retry", "operate", resend, deadline_s=DEADLINE_S)


async def recorded(browser: Browser, asked: Asked) -> Held:
    """Return the event as it was recorded, or raise NotFound: an attempt, to whomever, says where it lies."""
    said = await looked_up(browser, Search(event=asked.event, account=asked.account, limit=1), whole=False)
    for attempt in msgspec.convert(said["deliveries"], list[Place]):
        for held in await browser.read(EVENT_RECORDED.name, attempt.index, attempt.offset, 1):
            if held.offset == attempt.offset and held.header("ce_id") == asked.event.encode():
                return held
    raise NotFound(UNKNOWN, reason="unknown_id")


class Place(msgspec.Struct, frozen=True):
    """Where an attempt's event lies."""

    index: int
    offset: int
