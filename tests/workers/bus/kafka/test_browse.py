"""Looking into topics on the broker itself: transactions that are open, aborted or many, and a broker that is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaProducer

from deploy.local.kafka import Kafka
from schemas.topics import physical
from tests.workers.bus.kafka.conftest import Place, persist, record
from workers.bus import kafka
from workers.bus.contract import Browser, BusUnavailable, Span
from workers.bus.kafka.url import parse

pytestmark = pytest.mark.kafka
FIRST = 0  # the index that is written to


@asynccontextmanager
async def transactional(place: Place) -> AsyncIterator[AIOKafkaProducer]:
    options = parse(place.url).options()
    async with AIOKafkaProducer(**options, transactional_id=f"{place.namespace}.stranger") as producer:
        yield producer


async def values(browser: Browser, offset: int = 0) -> list[bytes]:
    async with asyncio.timeout(10):
        return [held.value for held in await browser.read("alpha", FIRST, offset, 100)]


async def come(browser: Browser, expected: list[bytes]) -> None:
    """Return once that is what can be read: the broker writes the marker of an ended transaction a moment later."""
    async with asyncio.timeout(10):
        while await values(browser) != expected:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.02)


async def write(producer: AIOKafkaProducer, place: Place, value: bytes) -> None:
    await producer.send_and_wait(physical(place.namespace, "alpha"), value, partition=FIRST)


async def test_what_was_aborted_is_not_there_and_stands_in_nobodys_way(place: Place) -> None:
    async with place.open() as bus, bus.browse() as browser, transactional(place) as producer:
        for number in range(3):
            await producer.begin_transaction()
            await write(producer, place, b"aborted %d" % number)
            await producer.abort_transaction()
        assert await values(browser) == []
        await bus.publish([record(b"one")])
        await come(browser, [b"one"])
        for offset in range(6):
            assert await values(browser, offset) == [b"one"], "six offsets are aborted records and markers"
        await producer.begin_transaction()
        await write(producer, place, b"aborted too")
        await producer.abort_transaction()
        assert await values(browser, 7) == []


async def test_more_than_a_mebibyte_of_aborted_records_is_passed_over(place: Place) -> None:
    async with place.open() as bus, bus.browse() as browser, transactional(place) as producer:
        await producer.begin_transaction()
        for _ in range(6):
            await write(producer, place, b"x" * 500_000)
        await producer.abort_transaction()
        await bus.publish([record(b"one")])
        await come(browser, [b"one"])


async def test_an_open_transaction_hides_what_follows_until_it_ends(place: Place) -> None:
    async with place.open() as bus, bus.browse() as browser, transactional(place) as producer:
        await bus.publish([record(b"before")])
        await producer.begin_transaction()
        await write(producer, place, b"within")
        await bus.publish([record(b"behind")])
        assert await values(browser) == [b"before"]
        assert (await browser.spans("alpha"))[FIRST] == Span(FIRST, 0, 1)
        await producer.commit_transaction()
        await come(browser, [b"before", b"within", b"behind"])


async def test_a_silent_broker_is_told_in_words_and_asked_again_when_it_is_back(fragile: Place, kafka_server: Kafka) -> None:
    async with fragile.open() as bus, bus.browse() as browser:
        await persist(bus, [record(b"one")])
        assert await values(browser) == [b"one"]
        await kafka_server.freeze()
        with pytest.raises(BusUnavailable, match="no answer came in time"):
            await asyncio.wait_for(browser.read("alpha", FIRST, 0, 10), 15)
        with pytest.raises(BusUnavailable, match=r"no broker in RINGHOOK_BUS_URL answers: 127\.0\.0\.1"):
            await asyncio.wait_for(browser.spans("alpha"), 15)
        await kafka_server.thaw()
        assert await values(browser) == [b"one"]


async def test_a_topic_that_is_not_there_is_told_with_what_makes_it(kafka_url: str, namespace: str) -> None:
    place = Place(kafka_url, namespace)
    async with kafka.connect(place.url, namespace=namespace, topics=()) as bus, bus.browse():
        pass  # nothing was asked, so nothing was connected
    await place.prepare()
    await place.delete("beta")
    async with place.open() as bus, bus.browse() as browser:
        with pytest.raises(BusUnavailable, match=r"beta\.v1 is not there: `ringhook topics apply` creates it"):
            await asyncio.wait_for(browser.spans("beta"), 15)
