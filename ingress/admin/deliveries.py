"""`GET /v1/deliveries`: the attempts to deliver that were written down, the newest first."""

from collections.abc import Callable, Collection
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web

from ingress.admin.api import HELD, Api
from ingress.admin.backward import Allowance, Tail, newest, tails
from ingress.admin.buried import with_letters
from ingress.admin.query import instant, queried
from ingress.admin.turns import Turns
from schemas.errors import UNREADABLE
from schemas.records import DeliveryAttempted
from schemas.topics import DELIVERY_ATTEMPTED
from workers.bus.contract import Browser, Held
from workers.bus.partition import partition

DEADLINE_S: Final = 60.0  # above what two allowances give, one after the other
WELL: Final = frozenset({"accepted", "cancelled", "unwanted"})
ANSWER: Final = "answer"  # what a destination said: strangers' text, for those who may see bodies
Text = Annotated[str, msgspec.Meta(max_length=512)]
_READ: Final = msgspec.json.Decoder(DeliveryAttempted)


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which attempts are asked for; what is empty does not matter."""

    destination: Text = ""
    event: Text = ""
    account: Text = ""
    failed: bool = False
    since: Text = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=500)] = 50


def add_deliveries(api: Api, browser: Browser, dead: Collection[str], turns: Turns) -> None:
    """Add `GET /v1/deliveries` (scope read; what destinations answered only with the scope bodies, too).

    `dead` are all topics that take dead letters: of one event it is told where these lie, too.
    """

    async def deliveries(request: web.Request) -> object:
        asked, whole = queried(request.query, Asked), "bodies" in request[HELD]
        async with turns.taken():
            said = await looked_up(browser, asked, whole=whole)
            return said | {"deliveries": await with_letters(browser, dead, said["deliveries"])} if asked.event else said

    api.add("GET", "/v1/deliveries", "read", deliveries, deadline_s=DEADLINE_S)


async def looked_up(browser: Browser, asked: Asked, *, whole: bool) -> dict[str, Any]:
    """Return the attempts, and whether these are all: `cut` says what ended the search else."""
    allowance, found = Allowance(), list[dict[str, Any]]()
    indexes: list[Tail[dict[str, Any]]] = await tails(
        browser, DELIVERY_ATTEMPTED.name, instant(asked.since) if asked.since else None
    )
    if asked.account:  # the key, so all of it lies in one index
        indexes = [indexes[partition(asked.account.encode(), len(indexes))]]
    async for attempt in newest(browser, indexes, kept(asked, whole=whole), allowance, together=bool(asked.event)):
        found.append(attempt)
        if len(found) == asked.limit:
            break
    return {"deliveries": found, "scanned": allowance.used, "cut": cut(len(found) == asked.limit, allowance)}


def cut(full: bool, allowance: Allowance) -> str | None:  # noqa: FBT001 - two reasons, in order
    """Return what ended a search before everything was looked at: `limit`, `scanned`, or nothing."""
    return "limit" if full else "scanned" if allowance.ended else None


def kept(asked: Asked, *, whole: bool) -> Callable[[Held], dict[str, Any] | None]:
    """Return what is kept of a record: all that it says, if it is wanted."""

    def keep(held: Held) -> dict[str, Any] | None:
        try:
            attempt = _READ.decode(held.value)
            if not wanted(asked, attempt):
                return None
            said: dict[str, Any] = msgspec.json.decode(held.value)
        except UNREADABLE:
            return None
        return said if whole else {name: value for name, value in said.items() if name != ANSWER}

    return keep


def wanted(asked: Asked, attempt: DeliveryAttempted) -> bool:
    """Say whether an attempt is among those that are asked for."""
    pairs = ((asked.destination, attempt.destination), (asked.event, attempt.event), (asked.account, attempt.account))
    return all(not want or want == have for want, have in pairs) and not (asked.failed and attempt.verdict in WELL)
