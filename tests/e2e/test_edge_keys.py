"""The edge holds no key that opens what it seals: `ringhook ingress` runs without the linker's keys (security 10)."""

from pathlib import Path

import aiohttp
import msgspec
import pytest
from aiokafka import AIOKafkaConsumer

from schemas.errors import Misconfigured, RinghookError
from schemas.records import CodeReceived
from tests.chaos.world import Sink, installation
from workers.runtime.sealing import CodeOpener

LINKERS = ("RINGHOOK_VAULT_KEYS", "RINGHOOK_CODE_PRIVATE_KEYS", "RINGHOOK_RING_CLIENT_SECRET")


async def code_received(url: str, namespace: str) -> CodeReceived:
    consumer = AIOKafkaConsumer(
        f"{namespace}.code.received.v1", bootstrap_servers=url.removeprefix("kafka://"), auto_offset_reset="earliest"
    )
    async with consumer:
        record = await consumer.getone()
    assert b"canary-code" not in record.value
    return msgspec.json.decode(record.value, type=CodeReceived)


@pytest.mark.kafka
@pytest.mark.postgres
async def test_ingress_starts_without_the_linkers_keys_and_cannot_open_what_it_sealed(
    tmp_path: Path, kafka_url: str, postgres_url: str, namespace: str
) -> None:
    sink = Sink()
    sink.url = "http://127.0.0.1:9/"
    more = {"RINGHOOK_BUS_URL": kafka_url, "RINGHOOK_STORE_URL": postgres_url, "RINGHOOK_NAMESPACE": namespace}
    made = installation(tmp_path, sink, **more, RINGHOOK_SINGLE_BROKER="yes")
    await made.prepare()
    private = {name: made.environment.pop(name) for name in LINKERS}
    async with made.running("ingress"), aiohttp.ClientSession() as client:
        async with client.post(f"{made.public}/ring/token-exchange", data={"code": "canary-code"}) as answer:
            assert answer.status == 200
        sealed = (await code_received(kafka_url, namespace)).code
    assert CodeOpener(private["RINGHOOK_CODE_PRIVATE_KEYS"]).open(sealed) == b"canary-code"
    for value in made.environment.values():
        with pytest.raises((RinghookError, Misconfigured)):
            CodeOpener(value).open(sealed)
