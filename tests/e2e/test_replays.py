"""An operator sends a span of time again, and what was dead: by commands, on both engines."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from aiohttp import web

from deploy.demo.ring.state import Account
from deploy.demo.ring.webhooks import Webhook
from deploy.demo.scene import Scene, opened
from deploy.demo.walk import Walk
from tests.chaos.world import Sink, until
from tests.e2e.commands import OPERATING, said
from tests.e2e.conftest import ROLES
from tests.e2e.links import linked_event

SECRET = "whsec_" + base64.b64encode(b"a picky destination's 32 byte ky").decode()
PICKY = """
[[destination]]
name = "picky"
url = "{url}"
secret_env = "PICKY_SECRET"
allow_http = true
allow_networks = ["127.0.0.0/8"]
from = "first"
"""


class Picky(Sink):
    """Refuses some events as wrong, and notes by which replay the others came."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = set[str]()
        self.replays = list[str | None]()
        self.takes = 0.0

    async def ring(self, request: web.Request) -> web.Response:
        if request.headers["webhook-id"] in self.refused:
            return web.Response(status=422)
        self.replays.append(request.headers.get("webhook-replay"))
        answer = await super().ring(request)
        await asyncio.sleep(self.takes)
        return answer


@dataclass
class World:
    scene: Scene
    picky: Picky


@pytest.fixture
async def world(engines: dict[str, str], tmp_path: Path) -> AsyncIterator[World]:
    roles = ROLES if engines else ("up",)
    async with Picky().open() as picky:
        assert isinstance(picky, Picky)
        toml = OPERATING + PICKY.format(url=picky.url)
        async with opened(tmp_path, roles=roles, toml=toml, PICKY_SECRET=SECRET, **engines) as scene:
            yield World(scene, picky)


async def sent(scene: Scene, webhook: Webhook) -> str:
    assert await scene.ring.sender.deliver(webhook) == "delivered"
    return str(webhook.request_id)


async def presses(scene: Scene, count: int) -> tuple[Account, list[str]]:
    """Link an account and ring its bell so often; return it, and the ids of what was sent."""
    account = scene.ring.world.add_account()
    await Walk(scene, print)._link(account)
    await linked_event(scene, account)
    return account, [await sent(scene, scene.ring.make("button_press", account)) for _ in range(count)]


async def letters(scene: Scene) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in (await said(scene, "dead", "list", "--json")).splitlines()]


@pytest.mark.timeout(240)
async def test_a_span_is_sent_again_and_dead_letters_are_tried_once_more(world: World) -> None:
    scene, picky = world.scene, world.picky
    account, ids = await presses(scene, 4)
    assert await until(lambda: {*ids} <= {*picky.ids} and {*ids} <= {*scene.alerts.ids}, 60)
    before = len(picky.ids)

    dry = await said(
        scene, "replay", "--destination", "picky", "--from", "1h", *(f"--id={name}" for name in ids[:2]), "--dry-run"
    )
    assert dry.startswith("2 of "), dry
    assert "would be sent" in dry, dry
    whole = await said(scene, "replay", "--destination", "picky", "--from", "first", "--filter", '{"suffix":{"type":"_press"}}')
    again = picky.ids[before:]
    assert f"is done: {len(again)} accepted, of {len(again)}." in whole, whole
    assert [name for name in again if name in ids] == ids
    assert {*picky.replays[:before]} == {None}
    assert len({*picky.replays[before:]}) == 1
    assert {scene.alerts.ids.count(name) for name in ids} == {1}, "nobody else gets it again"
    assert "done" in await said(scene, "replay", "list")

    one = ["deliveries", "retry", ids[0], "--destination", "picky"]
    assert f"{ids[0]} is put aside for picky" in await said(scene, *one)
    assert await until(lambda: picky.ids.count(ids[0]) == 3, 60)

    bad = scene.ring.make("button_press", account)
    picky.refused.add(str(bad.request_id))
    await sent(scene, bad)
    found: list[dict[str, object]] = []
    for _ in range(60):
        if found := [one for one in await letters(scene) if one["id"] == bad.request_id]:
            break
    (letter,) = found
    picky.refused.clear()
    address = str(letter["address"])
    assert (await said(scene, "dead", "retry", address)) == "1 to be tried once more.\n"
    assert await until(lambda: bad.request_id in picky.ids, 60)
    assert "was handled before" in await said(scene, "dead", "retry", address)
    assert address not in [one["address"] for one in await letters(scene)]
    assert picky.ids.count(str(bad.request_id)) == 1


@pytest.mark.timeout(300)
async def test_a_replay_is_whole_and_in_order_though_deliver_is_killed_amid_it(world: World) -> None:
    scene, picky = world.scene, world.picky
    _, ids = await presses(scene, 60)
    assert await until(lambda: {*ids} <= {*picky.ids}, 60)
    before, picky.takes = len(picky.ids), 0.05
    wanted = ["--destination", "picky", "--from", "first", "--filter", '{"suffix":{"type":"_press"}}']
    await said(scene, "destinations", "pause", "picky")
    begun = orjson.loads(await said(scene, "replay", *wanted, "--no-wait", "--json"))
    assert "paused, until `ringhook destinations resume picky`" in await said(scene, "replay", "show", begun["id"])
    await said(scene, "destinations", "resume", "picky")
    for more in (5, 25):
        assert await until(lambda: len(picky.ids) >= before + more, 60)  # noqa: B023 - called in this turn only
        role = scene.made.roles.get("up") or scene.made.roles["deliver"]
        await role.process.kill()
        await role.start()
    async with asyncio.timeout(120):
        while "is done: " not in (told := await said(scene, "replay", "show", begun["id"])):
            assert "is being" in told, told
            await asyncio.sleep(1)
    again = [name for name in picky.ids[before:] if name in ids]
    assert list(dict.fromkeys(again)) == ids
    assert len(again) <= len(ids) + 2 * 6, "twice what was under way, or accepted in the last quarter of a second"
    assert {*picky.replays[before:]} == {begun["id"]}
