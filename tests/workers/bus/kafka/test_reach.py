"""Why Kafka does not answer, as an operator reads it: which address was tried, and what came of it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvloop
from aiokafka.errors import AuthenticationFailedError, GroupCoordinatorNotAvailableError, RequestTimedOutError
from structlog.testing import capture_logs

from schemas.topics import DAY, Topic
from workers.bus import kafka
from workers.bus.contract import BusUnavailable
from workers.bus.kafka.codes import Refused
from workers.bus.kafka.reach import told
from workers.bus.kafka.url import parse
from workers.bus.kafka.wire import Wire

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def said(url: str, patience: float = 3.0) -> str:
    wire = Wire(parse(url), patience=patience)
    try:
        with pytest.raises(BusUnavailable) as raised:
            await wire.open()
    finally:
        await wire.close()
    return str(raised.value)


async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 mail.example.com\r\n")
    writer.close()


async def stay_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def test_each_address_of_the_url_is_told_with_what_came_of_it() -> None:
    assert await said("kafka://127.0.0.1:9,no-such.example.com:9092") == (
        "no broker in RINGHOOK_BUS_URL answers: 127.0.0.1:9: the connection was refused (nothing listens there); "
        "no-such.example.com:9092: there is no such name"
    )


async def test_what_is_no_kafka_or_speaks_tls_otherwise_is_told() -> None:
    async with listening(hang_up) as port:
        assert "it closed the connection: is it Kafka, and security_protocol right?" in await said(f"kafka://127.0.0.1:{port}")
        tls = await said(f"kafka://127.0.0.1:{port}?security_protocol=SSL")
        assert f"127.0.0.1:{port}: the connection was cut: is it Kafka, and security_protocol right?" in tls


async def test_what_answers_tls_with_something_else_is_told() -> None:
    async with listening(babble) as port:
        tls = await said(f"kafka://127.0.0.1:{port}?security_protocol=SSL")
    assert f"127.0.0.1:{port}: what listens there does not speak TLS as asked: is it Kafka" in tls


async def test_what_listens_and_stays_silent_is_told_with_its_address() -> None:
    async with listening(stay_silent) as port:
        assert await said(f"kafka://u:canary@127.0.0.1:{port}?security_protocol=SASL_PLAINTEXT", patience=0.2) == (
            f"no broker in RINGHOOK_BUS_URL answers: 127.0.0.1:{port}: no answer came in time"
        )


async def test_the_log_tells_it_once_and_the_library_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    topic = Topic(name="alpha", key="test", retention=DAY, writers=("ingress",), readers=("dispatch",))
    with capture_logs() as logged:
        async with kafka.connect("kafka://127.0.0.1:9", namespace="x", topics=(topic,)):
            pass
    why = "no broker in RINGHOOK_BUS_URL answers: 127.0.0.1:9: the connection was refused (nothing listens there)"
    assert logged == [{"event": "producer.waiting", "log_level": "warning", "why": why}]
    logging.getLogger("aiokafka.client").error("a line of the library's own")
    assert capfd.readouterr() == ("", "")


@pytest.mark.kafka
def test_a_connection_that_ended_just_now_is_an_absent_broker(kafka_url: str) -> None:
    """As under uvloop, on which every role runs: writing to a closed connection raises there."""

    async def asked() -> None:
        wire = Wire(parse(kafka_url), patience=5.0)
        try:
            await wire.open()
            await wire.heard()
            for connection in wire.client._conns.values():
                connection._reader.feed_data(b"\0")  # half an answer: so it does not count as closed yet
                connection._writer.transport.abort()
            await asyncio.sleep(0)
            await wire.heard()
        finally:
            await wire.close()

    with pytest.raises(BusUnavailable, match="closed"):
        uvloop.run(asked())


@pytest.mark.kafka
async def test_a_broker_that_is_not_where_it_says_is_told_with_the_setting_that_is_wrong(kafka_url: str) -> None:
    wire = Wire(parse(kafka_url), patience=5.0)
    try:
        await wire.open()
        (broker,) = wire.client.cluster.brokers()
        wire.client.cluster._brokers[broker.nodeId] = broker._replace(host="127.0.0.1", port=9)
        with pytest.raises(BusUnavailable) as raised:
            await wire.coordinator(0, "group")
    finally:
        await wire.close()
    for words in (f"broker {broker.nodeId} at 127.0.0.1:9", "advertised.listeners", "the connection was refused"):
        assert words in str(raised.value)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (AuthenticationFailedError("canary"), "it refuses the user or password"),
        (GroupCoordinatorNotAvailableError(), "Kafka says COORDINATOR_NOT_AVAILABLE"),
        (RequestTimedOutError(), "no answer came in time"),
        (Refused("InitProducerId", 14), "InitProducerId: Kafka says COORDINATOR_LOAD_IN_PROGRESS (14)"),
        (Refused("OffsetFetch", 999), "OffsetFetch: Kafka says error 999"),
        (Refused("sequence numbers used up", 0), "sequence numbers used up"),
    ],
)
def test_kafkas_errors_have_the_names_under_which_they_can_be_looked_up(error: Exception, words: str) -> None:
    assert told(error) == words
