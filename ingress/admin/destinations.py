"""`/v1/destinations`: how each fares, over all copies of deliver; pause and resume, which every copy obeys in a second or two."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, Protocol

import msgspec
import structlog
from aiohttp import web

from ingress.admin.api import CALLER, Api, timed
from ingress.admin.bodies import Nothing
from ingress.errors import NotFound
from schemas.filters import Takes
from workers.runtime.clock import utc_now

log = structlog.get_logger()
PATIENCE: Final = 4.0  # seconds for the copies to obey while the caller waits
LOOK: Final = 0.2


class Seen(Protocol):
    """One destination, with whatever else is told of it; what is named `…_at` is in epoch seconds."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def state(self) -> str:
        """How it fares, in a word."""
        ...

    @property
    def copies(self) -> int:
        """How many copies of deliver send to it."""
        ...

    @property
    def obey(self) -> int:
        """How many of them do as the last wish says."""
        ...


class Destinations(Protocol):
    """Knows the destinations and holds the operators' wishes; deliver's rows do."""

    async def standing(self, now: datetime, *, asked: Collection[str] = ()) -> Sequence[Seen]:
        """Return all destinations in the order of their names, and those asked for that are none any more."""
        ...

    async def served(self, now: datetime) -> Sequence[str]:
        """Return in order the names of those that are sent to, or will be: the configuration names them, or a copy runs them."""
        ...

    async def takes(self, name: str, now: datetime) -> Takes | None:
        """Return which events it takes; None where nobody sends to it just now."""
        ...

    async def pause(self, name: str, by: str, now: datetime) -> None:
        """Hold the wish that nothing is sent to it."""
        ...

    async def resume(self, name: str, now: datetime) -> None:
        """Hold the wish that it is sent to."""
        ...


def add_destinations(api: Api, destinations: Destinations) -> None:
    """Add `GET /v1/destinations` (scope read), and `POST /v1/destinations/{name}/pause` and `…/resume` (scope operate)."""

    async def listing(_request: web.Request) -> object:
        return {"destinations": [shown(seen) for seen in await destinations.standing(utc_now())]}

    async def pause(request: web.Request) -> object:
        name = await wished(request)
        await destinations.pause(name, request[CALLER], utc_now())
        log.info("destination.pause_wished", destination=name, caller=request[CALLER])
        return shown(await obeyed(destinations, name))

    async def resume(request: web.Request) -> object:
        name = await wished(request)
        await destinations.resume(name, utc_now())
        log.info("destination.resume_wished", destination=name, caller=request[CALLER])
        return shown(await obeyed(destinations, name))

    async def wished(request: web.Request) -> str:
        await api.bodies.read(request, Nothing)
        return known(request.match_info["name"], [one.name for one in await destinations.standing(utc_now())])

    api.add("GET", "/v1/destinations", "read", listing)
    api.add("POST", "/v1/destinations/{name}/pause", "operate", pause)
    api.add("POST", "/v1/destinations/{name}/resume", "operate", resume)


def known(name: str, names: Sequence[str]) -> str:
    """Return the name, or raise NotFound with those that there are."""
    if name not in names:
        there = f"there are: {', '.join(names)}" if names else "ringhook.toml names none"
        raise NotFound(f"No destination is called so; {there}.", reason="unknown_destination")
    return name


async def obeyed(destinations: Destinations, name: str) -> Seen:
    """Wait a moment for the copies, and return how the destination stands; whether or not they come, the wish is held.

    One that is gone from the configuration was known by its being closed alone, which a wish may just have ended.
    """
    until = asyncio.get_running_loop().time() + PATIENCE
    while True:
        (seen,) = [one for one in await destinations.standing(utc_now(), asked=[name]) if one.name == name]
        if seen.obey == seen.copies or asyncio.get_running_loop().time() > until:
            return seen
        await asyncio.sleep(LOOK)


def shown(seen: Seen) -> object:
    """Return what is told of a destination as builtins."""
    return timed(msgspec.to_builtins(seen))
