"""Destinations come, change and go while ringhook runs: nothing is lost or doubled, and what has a backlog is asked about."""

import base64
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from deploy.demo.installation import Role
from deploy.demo.ring.state import Account
from deploy.demo.scene import Scene, opened
from deploy.demo.walk import Walk
from tests.chaos.world import Sink, until
from tests.e2e.commands import OPERATING, said
from tests.e2e.conftest import ROLES
from tests.e2e.links import linked_event

SECRET = "whsec_" + base64.b64encode(b"a new destination's secret 32 by").decode()
CRM = """
[[destination]]
name = "crm"
url = "{url}"
secret_env = "CRM_SECRET"
allow_http = true
allow_networks = ["127.0.0.0/8"]
"""


class Crm(Sink):
    """Notes the team that each delivery names."""

    def __init__(self) -> None:
        super().__init__()
        self.teams = list[str | None]()

    async def ring(self, request: web.Request) -> web.Response:
        self.teams.append(request.headers.get("x-team"))
        return await super().ring(request)


@dataclass
class World:
    scene: Scene
    crm: Crm
    engines: dict[str, str]
    sent: list[str] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.scene.made.directory / "ringhook.toml"

    async def send(self, account: Account, count: int = 3) -> list[str]:
        found = []
        for _ in range(count):
            webhook = self.scene.ring.make("button_press", account)
            assert await self.scene.ring.sender.deliver(webhook) == "delivered"
            found.append(str(webhook.request_id))
        self.sent += found
        return found

    async def reload(self, *words: str) -> str:
        return await said(self.scene, "reload", *words)


@pytest.fixture
async def world(engines: dict[str, str], tmp_path: Path) -> AsyncIterator[World]:
    roles = ROLES if engines else ("up",)
    async with Crm().open() as crm, opened(tmp_path, roles=roles, toml=OPERATING, **engines) as scene:
        assert isinstance(crm, Crm)
        yield World(scene, crm, engines)


@pytest.mark.timeout(240)
async def test_destinations_come_change_and_go_without_a_restart(world: World) -> None:
    scene, crm, file = world.scene, world.crm, world.file
    account = scene.ring.world.add_account()
    await Walk(scene, print)._link(account)
    await linked_event(scene, account)
    before = file.read_text()
    assert "nothing to change" in await world.reload()

    (scene.made.directory / ".env").write_text(f"CRM_SECRET={SECRET}\n")
    with_crm = before + CRM.format(url=crm.url)
    file.write_text(with_crm)
    early = await world.send(account)
    if world.engines:
        refused = await world.reload()
        assert "topics apply" in refused
        assert "delivery.crm.dead" in refused
        await scene.made._run("topics", "apply")
    assert "added crm" in await world.reload()
    first = await world.send(account)
    assert await until(lambda: {*first} <= {*crm.ids}, 60)
    assert not {*early} & {*crm.ids}, "it gets what is recorded from its first start on"

    file.write_text(with_crm.replace('secret_env = "CRM_SECRET"', 'secret_env = "CRM_SECRET"\nheaders = { X-Team = "a" }'))
    assert "changed crm" in await world.reload()
    second = await world.send(account)
    assert await until(lambda: {*second} <= {*crm.ids}, 60)
    assert (crm.teams[0], crm.teams[-1]) == (None, "a")

    file.write_text(with_crm.replace('name = "crm"', 'name = "crm"\nconcurency = 3'))
    assert "concurency" in await world.reload()
    assert await until(lambda: "configuration.read_anew" in deliver(scene).log(), 10)
    third = await world.send(account)
    assert await until(lambda: {*third} <= {*crm.ids}, 60)

    await said(scene, "destinations", "pause", "crm")
    waiting = await world.send(account)
    assert await until(lambda: {*waiting} <= {*scene.alerts.ids}, 60)
    file.write_text(before)
    asked = await world.reload()
    assert "crm is in ringhook.toml no more, and has " in asked
    assert "crm stays as it is" in asked
    assert "no longer sent to: crm" in await world.reload("--yes")
    file.write_text(with_crm)
    assert "added crm" in await world.reload()
    assert not {*waiting} & {*crm.ids}, "it is still paused"
    await said(scene, "destinations", "resume", "crm")
    assert await until(lambda: {*waiting} <= {*crm.ids}, 60)

    assert crm.ids == [name for name in world.sent if name not in early], "each once, in order"
    assert [name for name in scene.alerts.ids if name in world.sent] == world.sent
    told = orjson.loads(await world.reload("--json"))["copies"]
    assert [one["role"] for one in told] == (["admin", "deliver"] if world.engines else ["up"])


@pytest.mark.timeout(120)
async def test_a_signal_does_the_same_for_one_process(world: World) -> None:
    scene, crm = world.scene, world.crm
    (scene.made.directory / ".env").write_text(f"CRM_SECRET={SECRET}\n")
    world.file.write_text(world.file.read_text() + CRM.format(url=crm.url))
    if world.engines:
        await scene.made._run("topics", "apply")
    os.kill(deliver(scene).process.pid or 0, signal.SIGHUP)
    assert await until(lambda: '"added":["crm"]' in deliver(scene).log().replace(" ", ""), 20), deliver(scene).log()[-2000:]


def deliver(scene: Scene) -> Role:
    return scene.made.roles.get("up") or scene.made.roles["deliver"]
