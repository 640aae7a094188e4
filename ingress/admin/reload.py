"""`POST /v1/reload`: every process that may change while it runs reads its configuration anew, and says what came of it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Protocol

import msgspec
import structlog
from aiohttp import web

from ingress.admin.api import CALLER, Api
from workers.runtime.clock import utc_now
from workers.runtime.reloads import Told, Wish, is_silent, wished

log = structlog.get_logger()
PATIENCE: Final = 20.0  # seconds for all of them: what a delivery has under way may end first
LOOK: Final = 0.2
DEADLINE_S: Final = 30.0

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=40)]


class Reloads(Protocol):
    """Holds the wish, and what each process made of it."""

    async def ask(self, wish: Wish) -> None:
        """Hold a wish."""
        ...

    async def told(self, at: datetime) -> Sequence[Told]:
        """Return what the processes tell that were there at that time, or came since, and have not ended."""
        ...


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Destinations that may go though they have events that they have not got."""

    drop: Annotated[tuple[Name, ...], msgspec.Meta(max_length=1_000)] = ()


def add_reload(api: Api, reloads: Reloads) -> None:
    """Add the route (scope operate)."""

    async def reload(request: web.Request) -> object:
        asked = await api.bodies.read(request, Asked)
        await reloads.ask(wish := wished(request[CALLER], utc_now().timestamp(), asked.drop))
        log.info("configuration.reload_wished", caller=wish.by, drop=wish.drop)
        return {"copies": [shown(one, wish, utc_now()) for one in await met(reloads, wish)]}

    api.add("POST", "/v1/reload", "operate", reload, deadline_s=DEADLINE_S)


async def met(reloads: Reloads, wish: Wish) -> Sequence[Told]:
    """Wait a while for the processes that were there when it was held, or came since, and return what they tell.

    Whether or not they have met it, the wish is held. Who fell silent is not waited for, and not left out.
    """
    until = asyncio.get_running_loop().time() + PATIENCE
    while True:
        told = await reloads.told(datetime.fromtimestamp(wish.at, UTC))
        waited_for = [one for one in told if one.wish < wish.id and not is_silent(one, utc_now())]
        if not waited_for or asyncio.get_running_loop().time() > until:
            return told
        await asyncio.sleep(LOOK)


def shown(one: Told, wish: Wish, now: datetime) -> dict[str, Any]:
    """Return what is told of a process; of one that has met neither the wish nor a later one, how far it is."""
    heard = one.wish >= wish.id
    begun = {"begun": one.said.get("begun") == wish.id, "silent": is_silent(one, now)}
    return {"copy": one.copy, "role": one.role, "heard": heard, **(one.said if heard else begun)}
