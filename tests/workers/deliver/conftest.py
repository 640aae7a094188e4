"""The sink and the bus that every test of deliver uses."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from schemas.topics import declared
from tests.workers.deliver.support import Sink, served
from workers.bus import memory
from workers.bus.contract import Bus


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    sink = Sink()
    app = web.Application()
    app.router.add_post("/ring", sink.ring)
    async with served(app) as url:
        sink.url = f"{url}/ring"
        yield sink


@pytest.fixture
async def bus() -> AsyncIterator[Bus]:
    async with memory.connect("memory:", namespace="test", topics=declared(["alerts"])) as bus:
        yield bus
