"""`GET /v1/dead` and `GET /v1/dead/{address}`: what was put aside, the newest first, over all dead-letter topics."""

from collections.abc import Callable, Collection, Sequence
from typing import Annotated, Protocol

import msgspec
from aiohttp import web

from ingress.admin.api import HELD, Api
from ingress.admin.backward import Allowance, Tail, newest, tails
from ingress.admin.deliveries import DEADLINE_S, cut
from ingress.admin.letters import Address, Letter, address, summary, whole
from ingress.admin.query import instant, queried
from ingress.admin.turns import Turns
from ingress.errors import NotFound, Unprocessable
from workers.bus.contract import Browser, Held

Text = Annotated[str, msgspec.Meta(max_length=512)]


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which letters are asked for; what is empty does not matter."""

    topic: Text = ""
    reason: Text = ""
    since: Text = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50


class Handled(Protocol):
    """Knows which dead letters were handled."""

    async def among(self, addresses: Collection[str]) -> Collection[str]:
        """Return which of these were."""
        ...


def add_dead(api: Api, browser: Browser, topics: Collection[str], turns: Turns, handled: Handled) -> None:
    """Add both routes (scope read; a body only with the scope bodies, too). `topics` are all that take dead letters."""

    async def listing(request: web.Request) -> object:
        asked = queried(request.query, Asked)
        async with turns.taken():
            return await listed(browser, chosen(asked.topic, topics), asked, handled)

    async def letter(request: web.Request) -> object:
        place = address(request.match_info["address"])
        held = await found(browser, topics, place)
        return whole(held, body="bodies" in request[HELD])

    api.add("GET", "/v1/dead", "read", listing, deadline_s=DEADLINE_S)
    api.add("GET", "/v1/dead/{address}", "read", letter)


def chosen(topic: str, topics: Collection[str]) -> Collection[str]:
    """Return the topics that are asked for, or raise Unprocessable in words."""
    if topic and topic not in topics:
        raise Unprocessable(f"{topic[:100]!a} takes no dead letters here; there are {', '.join(topics)}.", reason="topic")
    return [topic] if topic else topics


async def listed(browser: Browser, topics: Collection[str], asked: Asked, handled: Handled) -> dict[str, object]:
    """Return the letters that nobody has handled, and whether these are all: `cut` says what ended the search else."""
    allowance, letters, met, indexes = Allowance(), list[Letter](), list[Letter](), list[Tail[Letter]]()
    since = instant(asked.since) if asked.since else None
    for topic in topics:
        indexes += await tails(browser, topic, since)
    async for each in newest(browser, indexes, kept(asked), allowance):
        met.append(each)
        if len(met) == asked.limit:
            letters, met = letters + await left(met, handled), []
            if len(letters) >= asked.limit:
                break
    letters = (letters + await left(met, handled))[: asked.limit]
    return {"letters": letters, "scanned": allowance.used, "cut": cut(len(letters) == asked.limit, allowance)}


async def left(letters: Sequence[Letter], handled: Handled) -> list[Letter]:
    """Return those that nobody has handled."""
    done = await handled.among([letter.address for letter in letters])
    return [letter for letter in letters if letter.address not in done]


def kept(asked: Asked) -> Callable[[Held], Letter | None]:
    """Return what is kept of a record: what a list tells of it, if it is wanted."""

    def keep(held: Held) -> Letter | None:
        told = summary(held)
        return told if not asked.reason or asked.reason == told.reason else None

    return keep


async def found(browser: Browser, topics: Collection[str], place: Address) -> Held:
    """Return the letter that lies there, or raise NotFound."""
    if place.topic in topics and place.index < len(await browser.spans(place.topic)):
        for held in await browser.read(place.topic, place.index, place.offset, 1):
            if held.offset == place.offset:
                return held
    raise NotFound(f"No dead letter lies at {place}: it has expired, or there was none.", reason="unknown_id")
