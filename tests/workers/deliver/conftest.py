"""The sink and the bus that every test of deliver uses."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from schemas.topics import declared
from tests.workers.deliver import support
from tests.workers.deliver.support import Sink, served
from workers.bus import memory, sqlite
from workers.bus.contract import Bus
from workers.runtime.database import Database, connect


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    sink = Sink()
    app = web.Application()
    app.router.add_post("/ring", sink.ring)
    async with served(app) as url:
        sink.url = f"{url}/ring"
        yield sink


@pytest.fixture(autouse=True)
async def store(sqlite_url: str) -> AsyncIterator[Database]:
    async with connect(sqlite_url) as database:
        await database.create_all()
        support.STORES.append(database)
        yield database
        support.STORES.remove(database)


@pytest.fixture(params=["memory", "sqlite"])
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bus]:
    topics = declared(["alerts"])
    opened = {
        "memory": lambda: memory.connect("memory:", namespace="test", topics=topics),
        "sqlite": lambda: sqlite.connect(f"sqlite:///{tmp_path}/bus.db", namespace="test", topics=topics),
    }
    async with opened[request.param]() as bus:
        yield bus
