"""A topic that is not there, and a broker that does not know its topics yet: one that has just started lists none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from deploy.local.kafka import running
from tests.workers.bus.kafka.conftest import TOPICS
from tests.workers.deliver.support import until
from workers.bus import kafka
from workers.bus.contract import Lane, Stop
from workers.bus.kafka import absent
from workers.bus.kafka.absent import Absence

NEVER = 3600.0


@asynccontextmanager
async def consuming(url: str, namespace: str) -> AsyncIterator[list[int]]:
    """Consume alpha; yield the lanes that were opened."""
    opened, stop = list[int](), asyncio.Event()

    async def work(lane: Lane, ends: Stop) -> None:
        await lane.open()
        opened.append(lane.index)
        while not ends.is_set():
            await lane.fetch(10, 0.1)

    async with kafka.connect(url, namespace=namespace, topics=TOPICS) as bus:
        task = asyncio.create_task(bus.consume(["alpha"], "readers", work, stop, atomic=False))
        yield opened
        stop.set()
        await task


def said(logs: list[dict[str, str]]) -> list[str]:
    return [line["why"] for line in logs if line["event"] == "consumer.rebuilt"]


@pytest.mark.kafka
async def test_a_broker_that_lists_no_topic_may_be_starting_and_is_believed_after_some_seconds(
    namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    remedy = f"topic {namespace}.alpha.v1 is not there: run `ringhook topics apply`"
    waits = f"Kafka lists no topic yet, as it does while it starts: {namespace}.alpha.v1 is waited for"
    async with running() as broker:
        monkeypatch.setattr(absent, "SETTLED", NEVER)
        with capture_logs() as logs:
            async with consuming(broker.url, namespace) as opened:
                await until(lambda: said(logs))
                assert said(logs) == [waits]
                monkeypatch.setattr(absent, "SETTLED", 0.0)
                await until(lambda: said(logs) == [waits, remedy])
                await kafka.apply(broker.url, namespace=namespace, topics=TOPICS, single_broker=True)
                await until(lambda: len(opened) == TOPICS[0].partitions)
        monkeypatch.setattr(absent, "SETTLED", NEVER)
        with capture_logs() as logs:
            async with consuming(broker.url, f"not-{namespace}"):
                await until(lambda: said(logs))
        assert said(logs) == [remedy.replace(namespace, f"not-{namespace}")], "it lists others"


@pytest.mark.kafka
async def test_a_check_looks_again_where_no_topic_is_listed(namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(absent, "SETTLED", NEVER)
    async with running() as broker:
        checking = asyncio.create_task(kafka.check(broker.url, namespace=namespace, topics=TOPICS, single_broker=True))
        await asyncio.wait([checking], timeout=1.0)
        assert not checking.done()
        await kafka.apply(broker.url, namespace=namespace, topics=TOPICS, single_broker=True)
        assert await checking == []
        missing = await kafka.check(broker.url, namespace=f"not-{namespace}", topics=TOPICS, single_broker=True)
        assert [line.partition(": ")[0] for line in missing] == [f"not-{namespace}.{name}.v1" for name in ("alpha", "beta")]


def test_what_is_listed_and_was_not_known_is_waited_for_and_begins_the_time_anew() -> None:
    absence = Absence()
    assert absence.settled([], 100.0) is False
    assert absence.settled([], 100.0 + absent.SETTLED - 0.1) is False
    assert absence.settled([], 100.0 + absent.SETTLED) is True
    assert absence.settled(["other"], 101.0) is True
    assert absence.settled([], 200.0) is False, "it has started anew since"
