"""PostgreSQL killed with -9 and frozen while dispatch works: it goes on by itself, and nothing is lost or doubled."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from deploy.local.postgres import Postgres
from schemas import cloudevents, topics
from schemas.ring import arrival
from schemas.ring.peek import peek
from tests.workers.dispatch.house import counted
from workers.bus import memory
from workers.bus.contract import Record
from workers.dispatch.job import Dispatch
from workers.dispatch.parked import Bounds
from workers.runtime.database import Database, connect
from workers.runtime.drive import Drive

NOW = datetime(2026, 2, 13, 14, tzinfo=UTC)
EVENTS = 600
pytestmark = pytest.mark.postgres


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    with capture_logs() as logged:
        yield logged


def webhook(number: int) -> Record:
    meta = {"version": "1.1", "time": NOW.isoformat(), "request_id": str(number), "account_id": f"A{number % 7}"}
    data = {"id": "x", "type": "button_press", "attributes": {"source": f"D{number % 7}", "source_type": "devices"}}
    body = json.dumps({"meta": meta, "data": data}).encode()
    seen = peek(body)
    return Record(topic="webhook.received", key=seen.key, value=body, headers=arrival.headers(seen, NOW, "first"))


@pytest.fixture
async def database(postgres_server: Postgres, namespace: str) -> AsyncIterator[Database]:
    url = await postgres_server.create_database(namespace)
    async with connect(url) as database:
        await database.create_all()
        yield database


async def killed(server: Postgres) -> None:
    await server.kill()
    await asyncio.sleep(0.5)
    await server.start()


async def frozen(server: Postgres) -> None:
    await server.freeze()
    await asyncio.sleep(2)
    await server.thaw()


async def test_dispatch_outlives_its_store(postgres_server: Postgres, database: Database) -> None:
    before = {name: counted("button_press", name) for name in ("published", "duplicate")}
    faults: list[Callable[[Postgres], Awaitable[None]]] = [killed, frozen, killed]
    used = (topics.WEBHOOK_RECEIVED, topics.ACCOUNT_CHANGED, topics.EVENT_RECORDED, topics.WEBHOOK_RECEIVED.dead)
    async with memory.connect("memory:", namespace="t", topics=used) as bus:
        assert isinstance(bus, memory.MemoryBus)
        stop = asyncio.Event()
        async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
            tasks.create_task(Drive(bus, Dispatch("test", Bounds(wait=timedelta(0))), database, clock=lambda: NOW).run(stop))
            feeding = tasks.create_task(feed(bus))
            for fault in faults:
                await asyncio.sleep(0.7)
                await fault(postgres_server)
            await feeding
            while len(recorded(bus)) < EVENTS:  # noqa: ASYNC110 - the bus tells nobody
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.2)
            stop.set()
        outcomes = {name: counted("button_press", name) - before[name] for name in before}
        assert outcomes == {"published": EVENTS, "duplicate": EVENTS}, "each once, however often a step is tried"
        for number in range(7):
            mine = [event for account, event in recorded(bus) if account == f"A{number}"]
            assert mine == [each for each in range(EVENTS) if each % 7 == number]


async def feed(bus: memory.MemoryBus) -> None:
    """Publish every event, and each a second time soon after."""
    for number in range(EVENTS):
        await bus.publish([webhook(number), webhook(max(0, number - 9))])
        await asyncio.sleep(0.005)


def recorded(bus: memory.MemoryBus) -> list[tuple[str, int]]:
    held = [record for (topic, _), log in bus.memory.logs.items() if topic == "event.recorded" for record in log.records]
    events = [cloudevents.read(record.headers, record.value) for record in held]
    return [(event.accountid, int(event.id)) for event in events]
