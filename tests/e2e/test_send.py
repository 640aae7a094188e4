"""`ringhook send`: a sample event of each of Ring's types, signed and shaped as deliveries are."""

import json
import sys
from asyncio import create_subprocess_exec, subprocess, wait_for
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from deploy.samples import ACCOUNT, TYPES, USER, sample
from schemas.events import event_type
from tests.chaos.world import SECRET, Sink, installation
from tests.workers.deliver.support import served


@pytest.fixture
async def partner() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """A service that checks the signature, takes motion, and nothing else."""
    came: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        event = Webhook(SECRET).verify(await request.read(), dict(request.headers))
        came.append(event)
        return web.Response(status=204 if "motion" in event["type"] else 422)

    application = web.Application()
    application.router.add_post("/ring", take)
    async with served(application) as url:
        yield url, came


async def send(folder: Path, environment: dict[str, str], *words: str) -> tuple[int, str]:
    process = await create_subprocess_exec(
        *(sys.executable, "-m", "deploy.command", "send", *words),
        cwd=folder,
        env={"PATH": "", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    out, _ = await wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode()


async def test_a_service_gets_a_sample_and_what_it_says_is_told(
    tmp_path: Path, partner: tuple[str, list[dict[str, Any]]]
) -> None:
    url, came = partner
    sink = Sink()
    sink.url = f"{url}/ring"
    environment = installation(tmp_path, sink).environment
    code, said = await send(tmp_path, environment, "motion_detected", "--destination", "sink")
    assert (code, "answered 204 in " in said) == (0, True), said
    (event,) = came
    assert (event["type"], event["accountid"], event["partneruserid"]) == ("com.ring.motion_detected", ACCOUNT, USER)
    assert event["id"].startswith("ringhook-sample-")
    assert event["data"]["payload"]["data"]["type"] == "motion_detected"

    code, said = await send(tmp_path, environment, "button_press", "--destination", "sink", "--json")
    assert (code, json.loads(said)["status"]) == (1, 422)
    code, said = await send(tmp_path, environment, "button_press", "--destination", "sinc")
    assert (code, said) == (2, "No destination is called 'sinc'; there are: sink\n")
    code, said = await send(tmp_path, environment, "doorbell", "--destination", "sink")
    assert (code, "'motion_detected'" in said) == (2, True)


@pytest.mark.parametrize("kind", TYPES)
def test_there_is_a_sample_of_each_type(kind: str) -> None:
    made = sample(kind)
    assert (made.type, made.linked, made.accountid) == (event_type(kind), True, ACCOUNT)
    assert made.data.recognised
