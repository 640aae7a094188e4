"""`ringhook doctor` beside an installation: from the first minute, when Ring has not called, to a link that serves."""

import asyncio
import json
import os
import sys
from dataclasses import replace
from typing import Any

import aiohttp

from deploy.demo.ring import proofs
from deploy.demo.scene import Scene
from deploy.demo.walk import Walk
from tests.e2e.commands import said as explained

PATIENCE_S = 60.0


async def examined(scene: Scene) -> dict[str, Any]:
    """Return what `ringhook doctor --json` says, as this installation is configured."""
    calling = {"RINGHOOK_TOKEN": scene.token, "RINGHOOK_INTERNAL_URL": scene.made.internal}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.command", "doctor", "--json", "-C", str(scene.made.directory)),
        env={"PATH": os.defpath, **scene.made.environment, **calling},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert not error, error
    said: dict[str, Any] = json.loads(out)
    assert (process.returncode == 0) is said["well"]
    return said


async def found(scene: Scene, *codes: str) -> dict[str, Any]:
    """Wait until the doctor's findings are these, in this order."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            said = await examined(scene)
            if [one["code"] for one in said["findings"]] == [*codes]:
                return said
            await asyncio.sleep(0.5)


def done(said: dict[str, Any]) -> list[str]:
    return [step["name"] for step in said["steps"] if step["at"]]


async def test_from_the_first_minute_to_a_link_that_serves(scene: Scene) -> None:
    said = await found(scene, "RH-101")
    assert (said["problems"], done(said), said["away"]) == ([], [], None)
    assert all(look["ours"] for look in said["urls"])
    assert (said["probe"]["status"], said["probe"]["held"]) == (200, True)
    async with aiohttp.ClientSession() as stranger:
        async with stranger.post(f"{scene.made.public}/ring/token-exchange/not-the-secret", data={"code": "c"}) as answer:
            assert answer.status == 404
        await found(scene, "RH-103", "RH-101")
        async with stranger.post(f"{scene.made.public}/ring/webhook", data=b"{}") as answer:
            assert answer.status == 401
    await found(scene, "RH-103", "RH-105", "RH-101")
    await Walk(scene, lambda _line: None).run()
    said = await found(scene, "RH-105")  # somebody's webhooks were refused in this hour; Ring's arrive
    assert len(done(said)) == len(said["steps"]) == 9
    event = next(event for event in scene.alerts.events if event["type"] == "com.ring.button_press")
    life = await explained(scene, "explain", str(event["id"]))
    for words in ("received from Ring, and held: button_press", "linked to your user u-ada", "alerts: attempt 1, ", "accepted"):
        assert words in life, life
    assert "is completed, linked to your user u-ada" in await explained(scene, "explain", str(event["accountid"]))


async def test_a_proxy_that_rewrites_bodies_is_recognised(scene: Scene) -> None:
    webhook = scene.ring.make("button_press", scene.ring.world.add_account())
    rewritten = json.dumps(json.loads(webhook.body), indent=1).encode()
    headers = {"X-Signature": proofs.signature(scene.ring.world.client.hmac_key, webhook.body)}
    async with (
        aiohttp.ClientSession() as proxy,
        proxy.post(f"{scene.made.public}/ring/webhook", data=rewritten, headers=headers) as answer,
    ):
        assert answer.status == 401
    (first, *_) = (await found(scene, "RH-105", "RH-101"))["findings"]
    assert "something on the way here rewrites bodies" in first["seen"]


async def test_another_apps_secret_is_told_once_a_code_comes(scene: Scene) -> None:
    scene.ring.world.client = replace(scene.ring.world.client, client_secret="another")  # .env has a former one
    account = scene.ring.world.add_account()
    assert await scene.ring.connect(account) == 200
    said = await found(scene, "RH-202")
    assert done(said) == ["code"]
