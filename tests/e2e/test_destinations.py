"""An operator looks at destinations, pauses one and lets it go on: by commands, on both engines."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from deploy.demo.scene import Scene, opened
from deploy.demo.walk import Walk
from tests.chaos.world import until
from tests.e2e.commands import OPERATING, said
from tests.e2e.conftest import ROLES
from tests.e2e.links import linked_event


@pytest.fixture
async def scene(engines: dict[str, str], tmp_path: Path) -> AsyncIterator[Scene]:
    async with opened(tmp_path, roles=ROLES if engines else ("up",), toml=OPERATING, **engines) as made:
        yield made


@pytest.mark.timeout(180)
async def test_a_paused_destination_gets_nothing_over_restarts_and_then_everything_in_order(scene: Scene) -> None:
    account = scene.ring.world.add_account()
    await Walk(scene, print)._link(account)
    await linked_event(scene, account)
    assert "there are: alerts, archive" in await said(scene, "destinations", "pause", "alarms")

    words = await said(scene, "destinations", "pause", "alerts")
    assert words.startswith("alerts is paused: nothing is sent to it"), words
    assert "copies" not in words, "every copy has heard of it"
    missed = [scene.ring.make("button_press", account) for _ in range(5)]
    for webhook in missed:
        assert await scene.ring.sender.deliver(webhook) == "delivered"
    assert await until(lambda: {webhook.request_id for webhook in missed} <= {*scene.archive.ids}, 60)
    deliver = scene.made.roles.get("deliver") or scene.made.roles["up"]
    await deliver.process.kill()
    await deliver.start()
    later = await linked_event(scene, account)
    await asyncio.sleep(1)
    mine = [*(webhook.request_id for webhook in missed), later["id"]]
    assert not {*mine} & {*scene.alerts.ids}

    seen = {one["name"]: one for one in orjson.loads(await said(scene, "destinations", "status", "--json"))["destinations"]}
    assert (seen["alerts"]["state"], seen["alerts"]["closed_by"]) == ("paused", "login")
    assert seen["archive"]["state"] == "well"
    assert seen["archive"]["copies"] in {1, 2}, "one that was killed is missed after a quarter of a minute"
    assert "alerts  paused  paused by login since" in await said(scene, "destinations", "status", "alerts")

    assert "alerts is sent to again." in await said(scene, "destinations", "resume", "alerts")
    assert await until(lambda: {*mine} <= {*scene.alerts.ids}, 60)
    assert [name for name in scene.alerts.ids if name in mine] == mine
    assert "alerts  well" in await said(scene, "destinations", "status")
