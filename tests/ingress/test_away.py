"""`/v1` while the store or the bus is away: whoever asks is told which, and nothing of where it is."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from ingress.admin.api import Api
from ingress.admin.gate import Gate
from schemas.topics import EVENT_RECORDED
from tests.ingress.test_admin import bearer, listening, token
from workers.bus import kafka
from workers.bus.contract import BusUnavailable
from workers.bus.kafka.codes import Refused
from workers.runtime.database import connect
from workers.runtime.listener import internal_app
from workers.runtime.storefault import StoreRefused

NOWHERE = "u:canary@127.0.0.1:9"
STORE = "the store (RINGHOOK_STORE_URL) does not answer as it should"
BUS = "the bus (RINGHOOK_BUS_URL) does not answer as it should"


async def store() -> None:
    async with connect(f"postgresql://{NOWHERE}/x") as database, database.read():
        pass


async def bus() -> None:
    address = kafka.url.parse(f"kafka://{NOWHERE}?security_protocol=SASL_PLAINTEXT")
    async with kafka.browse.browser(address, kafka.names.Names("t", [EVENT_RECORDED])) as browser:
        await browser.spans(EVENT_RECORDED.name)


def raising(error: Exception) -> Callable[[], Awaitable[None]]:
    async def meet() -> None:
        raise error

    return meet


@asynccontextmanager
async def asked(meet: Callable[[], Awaitable[None]]) -> AsyncIterator[aiohttp.ClientSession]:
    """Serve a route of `/v1` that meets what is away, read and told."""
    application = internal_app()
    api = Api(application, Gate([token("read"), token("operate")], {"127.0.0.1"}))

    async def answering(_request: web.Request) -> object:
        await meet()
        return {}

    api.add("GET", "/v1/it", "read", answering)
    api.add("POST", "/v1/it", "operate", answering)
    async with listening(application) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        yield client


@pytest.mark.parametrize(
    ("meet", "which"),
    [
        (store, STORE),
        (bus, BUS),
        (raising(StoreRefused("canary")), "the store (RINGHOOK_STORE_URL) does not let us in"),
        (raising(BusUnavailable("canary")), BUS),
        (raising(Refused("canary", 7)), "the bus (RINGHOOK_BUS_URL) answers with an error"),
    ],
)
async def test_a_caller_is_told_what_is_away_and_not_where_it_is(meet: Callable[[], Awaitable[None]], which: str) -> None:
    async with asked(meet) as client:
        for method, scope, what in (("GET", "read", "Cannot be looked up"), ("POST", "operate", "Cannot be held")):
            async with client.request(method, "/v1/it", headers=bearer(scope), json={}) as answer:
                assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
                said = (await answer.json())["error"]
            assert said == {"code": "unavailable", "message": f"{what} just now: {which}. Try again in a moment."}
