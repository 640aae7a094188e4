"""Readiness while PostgreSQL is away: Ring's webhooks are still taken, what needs the store says that it waits."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from deploy.demo.installation import Installation
from deploy.local.postgres import Postgres
from tests.chaos.world import Sink, installation

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]
READY = {"ingress": 200, "linker": 200, "dispatch": 200, "deliver": 200, "admin": 200}


async def answers(client: aiohttp.ClientSession, made: Installation) -> dict[str, int]:
    found = dict[str, int]()
    for name, role in made.roles.items():
        async with client.get(f"{role.internal}/readyz") as answer:
            found[name] = answer.status
    return found


async def until_ready_is(client: aiohttp.ClientSession, made: Installation, expected: dict[str, int]) -> None:
    found = dict[str, int]()
    try:
        async with asyncio.timeout(60):
            while found != expected:
                found = await answers(client, made)
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"{found} is not {expected}")


async def test_roles_that_need_the_store_are_not_ready_without_it_and_ingress_is(
    tmp_path: Path, kafka_url: str, postgres_server: Postgres, postgres_url: str, namespace: str
) -> None:
    more = {"RINGHOOK_BUS_URL": kafka_url, "RINGHOOK_STORE_URL": postgres_url, "RINGHOOK_NAMESPACE": namespace}
    sink = Sink()
    sink.url = "http://127.0.0.1:9/"
    made = installation(tmp_path, sink, **more, RINGHOOK_SINGLE_BROKER="yes")
    await made.prepare()
    async with made.running(*READY), aiohttp.ClientSession() as client:
        await until_ready_is(client, made, READY)
        await postgres_server.kill()
        await until_ready_is(client, made, dict.fromkeys(READY, 503) | {"ingress": 200})
        async with client.get(f"{made.roles['admin'].internal}/") as answer:
            assert (answer.status, "store does not answer" in await answer.text()) == (503, True)
        await postgres_server.start()
        await until_ready_is(client, made, READY)
