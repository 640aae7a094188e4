"""`GET /` of the internal port."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from deploy.facts import Gathered
from deploy.story import AWAY, Story, add_story, is_loopback
from ingress.admin.gate import Gate
from ingress.settings import Token
from schemas.findings.facts import Facts, Met, Served
from schemas.findings.story import story
from tests.workers.dispatch.house import NOW, USED, House, body, changed, received
from workers.bus import sqlite
from workers.deliver.standing import Destinations
from workers.dispatch.parked import Bounds
from workers.runtime.database import connect
from workers.runtime.listener import internal_app

NO_CALL = story(Facts(now=NOW.timestamp()))
READER = Token(name="reader", sha256=sha256(b"t0ken").hexdigest(), scopes=("read",))
NOBODY = "postgresql://nobody@127.0.0.1:9/nothing"
Client = TestClient[web.Request, web.Application]


@asynccontextmanager
async def telling(store_url: str, host: str = "127.0.0.1") -> AsyncIterator[Client]:
    application = internal_app()
    async with connect(store_url) as database:
        if store_url != NOBODY:
            await database.create_all()
        add_story(application, Story(Gathered(database, Destinations(database, ()))), Gate([READER], {"127.0.0.1"}), host)
        async with TestClient(TestServer(application)) as client:
            yield client


async def test_on_a_loopback_it_tells_the_sentence_to_whoever_asks(sqlite_url: str) -> None:
    async with telling(sqlite_url) as client, client.get("/") as answer:
        assert (answer.status, await answer.text()) == (200, f"{NO_CALL}\n")


async def test_while_the_store_is_away_it_says_so_with_503() -> None:
    async with telling(NOBODY) as client, client.get("/") as answer:
        assert (answer.status, answer.headers["Retry-After"], await answer.text()) == (503, "2", f"{AWAY}\n")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example.com"}, 421),
        ({"Host": ""}, 421),
        ({"Origin": "https://evil.example.com"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ],
)
async def test_neither_a_rebound_name_nor_a_page_of_another_site_may_ask(
    sqlite_url: str, headers: dict[str, str], status: int
) -> None:
    async with telling(sqlite_url) as client, client.get("/", headers=headers) as answer:
        assert (answer.status, NO_CALL in await answer.text()) == (status, False)


async def test_where_others_can_call_it_asks_for_a_token(sqlite_url: str) -> None:
    async with telling(sqlite_url, "0.0.0.0") as client:
        async with client.get("/") as answer:
            assert answer.status == 401
        async with client.get("/", headers={"Authorization": "Bearer t0ken"}) as answer:
            assert answer.status == 200


async def test_events_that_wait_long_for_their_link_are_told_until_it_is_there(tmp_path: Path, namespace: str) -> None:
    async with connect(f"sqlite:///{tmp_path}/store.db") as database:
        await database.create_all()
        bus_url = f"sqlite:///{tmp_path}/bus.db"
        house = House(lambda: sqlite.connect(bus_url, namespace=namespace, topics=USED), database, Bounds())
        clock, told = [NOW], list[str]()
        mine = Story(Gathered(database, Destinations(database, ()), lambda: clock[0]))
        await house.tell([received(body("1"))])
        for seconds in (30, 120):
            clock[0] = NOW + timedelta(seconds=seconds)
            told.append(await mine.told())
        await house.tell([changed("A", 1)])
        told.append(await mine.told())
    assert told == [NO_CALL, f"{NO_CALL} `ringhook doctor` explains RH-704.", NO_CALL]


async def test_a_sentence_is_said_as_it_changes_and_findings_of_a_connection_that_stands_only_now_and_then() -> None:
    """One that comes and goes, as a destination that asks for rest, would fill the terminal."""
    came = (Met(kind="webhook", proven=True, first_at=0.0, last_at=0.0),)
    silent, well = Facts(now=0.0), Facts(now=0.0, contacts=came)
    failing = Facts(now=0.0, contacts=came, destinations=(Served(name="crm", state="failing"),))
    known, said = [silent], list[str]()

    async def gather() -> Facts:
        return known[0]

    telling = Story(gather).telling(said.append)
    for minutes, facts, count in (
        *((0.0, silent, 1), (1.0, silent, 1), (6.0, silent, 2)),
        *((7.0, well, 3), (60.0, well, 3)),
        *((61.0, failing, 4), (61.1, well, 4), (61.2, failing, 4), (67.0, failing, 4), (67.1, well, 5)),
    ):
        known[0] = facts
        await telling(NOW + timedelta(minutes=minutes))
        assert len(said) == count, minutes


def test_what_is_a_loopback() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "::", "10.0.0.1", "admin")] == [
        *(True, True, True),
        *(False, False, False, False),
    ]
