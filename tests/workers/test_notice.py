import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec
import pytest

from schemas.records import EdgeNoticed
from schemas.topics import EDGE_NOTICED
from workers.bus import memory
from workers.bus.contract import Record
from workers.notice import Notice, Seen, first_contacts
from workers.runtime.database import Database, connect
from workers.runtime.drive import Drive
from workers.runtime.metrics import RECORDS

NOW = datetime(2026, 2, 13, tzinfo=UTC)
Kind = Literal["code", "webhook"]


def noticed(kind: Kind, second: int, *, proven: bool = True) -> Record:
    notice = EdgeNoticed(kind=kind, at=NOW + timedelta(seconds=second), proven=proven, detail={"second": str(second)})
    return Record(topic="edge.noticed", key=kind.encode(), value=msgspec.json.encode(notice))


@pytest.fixture
async def database(store_url: str) -> AsyncIterator[Database]:
    async with connect(store_url) as database:
        await database.create_all()
        yield database


def finished() -> float:
    return sum(RECORDS.labels(job="notice", outcome=outcome)._value.get() for outcome in ("done", "rejected"))


async def told(bus: memory.MemoryBus, database: Database, *records: Record) -> dict[tuple[str, bool], Seen]:
    stop, goal = asyncio.Event(), finished() + len(records)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(Drive(bus, Notice(), database).run(stop))
        await bus.publish(records)
        while finished() < goal:  # noqa: ASYNC110 - the bus tells nobody
            await asyncio.sleep(0.01)
        stop.set()
    return {(seen.kind, seen.proven): seen for seen in await first_contacts(database)}


@pytest.fixture
async def bus() -> AsyncIterator[memory.MemoryBus]:
    async with memory.connect("memory:", namespace="t", topics=[EDGE_NOTICED, EDGE_NOTICED.dead]) as bus:
        assert isinstance(bus, memory.MemoryBus)
        yield bus


async def test_of_each_kind_the_first_stays_and_the_latest_is_described(bus: memory.MemoryBus, database: Database) -> None:
    assert not await first_contacts(database)
    await told(bus, database, noticed("code", 1), noticed("code", 2))
    seen = await told(bus, database, noticed("code", 5), noticed("code", 3, proven=False), noticed("webhook", 4))
    first, last = NOW + timedelta(seconds=1), NOW + timedelta(seconds=5)
    assert seen["code", True] == Seen("code", True, first, last, 3, {"second": "5"})  # noqa: FBT003 - a table row
    assert {key: contact.count for key, contact in seen.items()} == {("code", True): 3, ("code", False): 1, ("webhook", True): 1}
    assert [contact.kind for contact in await first_contacts(database)] == ["code", "code", "webhook"]


async def test_a_batch_that_comes_again_changes_nothing(bus: memory.MemoryBus, database: Database) -> None:
    before = await told(bus, database, noticed("code", 1), noticed("code", 2))
    assert await told(bus, database, noticed("code", 1), noticed("code", 2)) == before


@pytest.mark.parametrize("value", [b'{"kind": "news"}', b'{"x":' + b"[" * 20_000])
async def test_what_is_no_notice_is_a_dead_letter(bus: memory.MemoryBus, database: Database, value: bytes) -> None:
    junk = Record(topic="edge.noticed", key=b"code", value=value)
    assert [*await told(bus, database, junk, noticed("code", 1))] == [("code", True)]
    assert sum(len(log.records) for (topic, _), log in bus.memory.logs.items() if topic == "edge.noticed.dead") == 1
