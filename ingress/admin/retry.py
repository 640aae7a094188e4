"""`POST /v1/dead/retry` and `/v1/dead/drop`: dead letters are tried once more, or left out of the list as handled."""

from collections.abc import Collection, Sequence
from datetime import datetime
from secrets import token_hex
from typing import Annotated, Final, Protocol

import msgspec
import structlog
from aiohttp import web

from ingress.admin.api import CALLER, Api
from ingress.admin.dead import found
from ingress.admin.destinations import Destinations
from ingress.admin.letters import DEAD, Address, address, texts
from ingress.errors import NotFound, Unprocessable
from schemas.topics import WEBHOOK_RECEIVED, dead, delivery
from workers.bus.contract import Browser, Held, Publisher, Record
from workers.runtime.clock import utc_now

log = structlog.get_logger()
AT_ONCE: Final = 100  # the largest of them are 26 MiB
FIRST_DEAD: Final = dead(WEBHOOK_RECEIVED.name)


class Handled(Protocol):
    """Remembers which dead letters were handled."""

    async def claim(self, addresses: Collection[str], by: str, now: datetime) -> Collection[str]:
        """Take those in hand that nobody has, and return them."""
        ...

    async def mark(self, addresses: Collection[str], how: str) -> None:
        """Note what was done about letters in hand."""
        ...

    async def let_go(self, addresses: Collection[str]) -> None:
        """Note that nothing was done about them."""
        ...


class Replays(Protocol):
    """Sends records once more to one destination; deliver's rows do."""

    def again(self, held: Held, name: str, destination: str) -> Record:
        """Return the record that brings an event to it."""
        ...

    async def prepare(self, name: str, destination: str, ids: Collection[str], *, by: str, now: datetime) -> None:
        """Hold the wish that what is about to be published for it is sent."""
        ...

    async def prepared(self, name: str, now: datetime) -> None:
        """Hear that it is published."""
        ...


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which letters: their addresses, as the list prints them."""

    addresses: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=AT_ONCE)]


class Retry:
    """What both routes need."""

    def __init__(
        self,
        browser: Browser,
        publisher: Publisher,
        handled: Handled,
        replays: Replays,
        topics: Collection[str],
        *,
        destinations: Destinations,
    ) -> None:
        """`topics` are all that take dead letters, those of destinations that are no more among them."""
        self._browser, self._publisher, self._handled, self._replays = browser, publisher, handled, replays
        self._topics, self._destinations = topics, destinations

    async def retry(self, addresses: Sequence[str], by: str) -> dict[str, object]:
        """Publish the letters as they were; a crash amid it lets some be tried again, and loses none."""
        letters = await self._letters(addresses)
        aims = {text: self._aim(letter) for text, letter in letters.items()}
        await self._there({aim for aim in aims.values() if aim is not None})
        mine = await self._handled.claim(letters, by, utc_now())
        try:
            await self._publish([(letters[text], aims[text]) for text in letters if text in mine], by)
        except BaseException:
            await self._handled.let_go(mine)
            raise
        await self._handled.mark(mine, "retried")
        return {"retried": len(mine), "already": sorted(letters.keys() - {*mine})}

    async def drop(self, addresses: Sequence[str], by: str) -> dict[str, object]:
        """Note that nothing is to be done about these letters."""
        letters = await self._letters(addresses)
        mine = await self._handled.claim(letters, by, utc_now())
        await self._handled.mark(mine, "dropped")
        return {"dropped": len(mine), "already": sorted(letters.keys() - {*mine})}

    async def _letters(self, addresses: Sequence[str]) -> dict[str, Held]:
        """Return the letters by their addresses, each written in the one way; those of one key as they were put aside."""
        places = {address(text) for text in addresses}
        ordered = sorted(places, key=lambda place: (place.topic, place.index, place.offset))
        return {str(place): await found(self._browser, self._topics, place) for place in ordered}

    async def _publish(self, letters: Sequence[tuple[Held, str | None]], by: str) -> None:
        """Publish letters, each destination's after the wish that they are sent, so that none lies there and nobody knows."""
        name, now = token_hex(6), utc_now()
        aims = sorted({aim for _, aim in letters if aim is not None})
        for aim in aims:
            ids = [texts(letter).get("ce_id", "") for letter, its in letters if its == aim]
            await self._replays.prepare(f"{name}-{aim}", aim, ids, by=by, now=now)
        if letters:
            await self._publisher.publish([revived(letter, name, aim, self._replays) for letter, aim in letters])
        for aim in aims:
            await self._replays.prepared(f"{name}-{aim}", utc_now())

    async def _there(self, aims: Collection[str]) -> None:
        """Raise NotFound where a destination is no more: what is put aside for one that nobody runs is never sent."""
        served = await self._destinations.served(utc_now()) if aims else ()
        for aim in sorted({*aims} - {*served}):
            raise NotFound(f"{aim} is not configured; its letters stay.", reason="unknown_destination")

    def _aim(self, letter: Held) -> str | None:
        """Return the destination to which a letter goes, None where it goes through dispatch; Unprocessable where it cannot."""
        if texts(letter).get("dead_body") == "omitted":
            raise Unprocessable(f"The body of {place(letter)} was too large to be kept with it.", reason="omitted")
        if letter.topic == FIRST_DEAD:
            return None
        name = letter.topic.removeprefix(delivery("")).removesuffix(dead(""))
        if letter.topic != dead(delivery(name)):
            raise Unprocessable(f"What was on {letter.topic.removesuffix(dead(''))} is of use for a moment only.", reason="topic")
        return name


def place(letter: Held) -> Address:
    """Return where a letter lies."""
    return Address(letter.topic, letter.index, letter.offset)


def revived(letter: Held, name: str, aim: str | None, replays: Replays) -> Record:
    """Return the record that a letter was, on the way to where it failed."""
    if aim is not None:
        return replays.again(letter, f"{name}-{aim}", aim)
    headers = tuple((title, value) for title, value in letter.headers if not title.startswith(DEAD))
    return Record(topic=WEBHOOK_RECEIVED.name, key=letter.key, value=letter.value, headers=headers)


def add_retry(api: Api, retry: Retry) -> None:
    """Add both routes (scope operate)."""

    async def again(request: web.Request) -> object:
        asked = await api.bodies.read(request, Asked)
        log.info("dead.retry_wished", letters=len(asked.addresses), caller=request[CALLER])
        return await retry.retry(asked.addresses, request[CALLER])

    async def drop(request: web.Request) -> object:
        asked = await api.bodies.read(request, Asked)
        log.info("dead.drop_wished", letters=len(asked.addresses), caller=request[CALLER])
        return await retry.drop(asked.addresses, request[CALLER])

    api.add("POST", "/v1/dead/retry", "operate", again, deadline_s=30.0)
    api.add("POST", "/v1/dead/drop", "operate", drop, deadline_s=30.0)
