"""What an operator sees of the SQLite bus."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
from prometheus_client import REGISTRY

from schemas.topics import MESSAGE_LIMIT
from workers.bus.contract import Lane, Record, Stop, TooLarge
from workers.bus.sqlite import SqliteBus

Open = Callable[..., AbstractAsyncContextManager[SqliteBus]]


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"ringhook_bus_{name}", labels) or 0


async def test_publishes_and_commits_are_counted_with_their_records(opened: Open) -> None:
    stop = asyncio.Event()

    async def work(lane: Lane, told: Stop) -> None:
        start = await lane.open()
        if lane.index == 0:
            await lane.commit(start.next, b"", [record, record])
            stop.set()
        await told.wait()

    record = Record(topic="alpha", key=b"key", value=b"value")
    names = ("publish_seconds_count", "records_published_total", "commit_seconds_count")
    before = [sample(name) for name in names]
    done, ended = sample("commits_total", outcome="done"), sample("sessions_ended_total", reason="stop")
    async with opened() as bus:
        await bus.publish([record, record, record])
        await bus.consume(["alpha"], "group", work, stop, atomic=True)
    assert [sample(name) - was for name, was in zip(names, before, strict=True)] == [1, 5, 1]
    assert sample("commits_total", outcome="done") - done == 1
    assert sample("sessions_ended_total", reason="stop") - ended == 2


async def test_refused_publishes_are_counted_by_reason(opened: Open) -> None:
    before = sample("publish_failures_total", reason="too_large")
    async with opened() as bus:
        with pytest.raises(TooLarge):
            await bus.publish([Record(topic="alpha", key=b"key", value=b"x" * (MESSAGE_LIMIT + 1))])
    assert sample("publish_failures_total", reason="too_large") - before == 1


async def test_the_file_shows_what_it_uses_and_may_use(opened: Open) -> None:
    async with opened("?bytes=123456789") as bus:
        await bus.keeper.look()
    assert sample("file_bytes", what="cap") == 123_456_789
    assert 0 < sample("file_bytes", what="used") < 1_000_000
    assert sample("file_bytes", what="disk") > 0
