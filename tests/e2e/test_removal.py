"""A user removes the app, comes back, and is forgotten: through the public doors, on both engines."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from deploy.demo.ring.state import Account
from deploy.demo.scene import Scene, opened
from deploy.demo.walk import Walk
from tests.chaos.world import until
from tests.e2e.commands import OPERATING, said
from tests.e2e.conftest import ROLES
from tests.e2e.links import linked_event

PATIENCE_S = 60.0


@pytest.fixture
async def scene(engines: dict[str, str], tmp_path: Path) -> AsyncIterator[Scene]:
    async with opened(tmp_path, roles=ROLES if engines else ("up",), toml=OPERATING, **engines) as made:
        yield made


async def borrowed(scene: Scene, account: str) -> int:
    roles = scene.made.roles
    url = (roles.get("up") or roles["linker"]).internal
    headers = {"Authorization": f"Bearer {scene.token}"}
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{url}/v1/accounts/{account}/token", json={}, headers=headers) as answer,
    ):
        return answer.status


async def becomes(scene: Scene, account: Account, right: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    async with asyncio.timeout(PATIENCE_S):
        while not (seen and right(seen)):
            answer = await said(scene, "accounts", "show", account.id, "--json")
            seen = orjson.loads(answer) if answer.startswith("{") else {}  # nothing may be known of it yet
    return seen


async def delivered(scene: Scene, account: Account, kind: str = "button_press") -> str:
    webhook = scene.ring.make(kind, account)
    assert await scene.ring.sender.deliver(webhook) == "delivered"
    return webhook.request_id


async def test_a_removal_ends_what_is_sent_a_relink_begins_again_and_a_forget_is_for_ever(scene: Scene) -> None:
    account, other = scene.ring.world.add_account(), scene.ring.world.add_account()
    walk = Walk(scene, print)
    await walk._link(account)
    await walk._link(other)
    await linked_event(scene, account)
    await delivered(scene, account, "subscription_activated")
    seen = await becomes(scene, account, lambda seen: seen["subscription"] is not None)
    assert (seen["subscription"]["state"], seen["subscription"]["plan_id"]) == ("active", "ring.protect.plus")
    assert "Its Ring subscription is active: ring.protect.plus" in await said(scene, "accounts", "show", account.id)

    removal = await scene.ring.remove(account)
    seen = await becomes(scene, account, lambda seen: seen["state"] == "removed")
    assert (seen["linked"], seen["partner_user"], seen["tokens_end_at"]) == (False, None, None)
    assert await borrowed(scene, account.id) == 409
    assert await until(lambda: removal.request_id in scene.archive.ids, PATIENCE_S), "the partner hears of the removal itself"
    late = [await delivered(scene, account) for _ in range(3)]
    heard = await linked_event(scene, other)  # later than all of them, by its own lane at least
    await asyncio.sleep(2)
    assert heard["accountid"] == other.id
    assert not {*late} & {*scene.archive.ids, *scene.alerts.ids}

    await walk._link(account)
    await linked_event(scene, account)
    assert await scene.ring.sender.deliver(removal) == "delivered"  # once more, long after
    assert (await becomes(scene, account, lambda seen: seen["linked"]))["partner_user"] == "u-ada"

    told = await said(scene, "accounts", "forget", account.id, "--yes")
    assert f"{account.id} is forgotten" in told
    assert "Nothing is known under this id" in await said(scene, "accounts", "show", account.id)
    assert await borrowed(scene, account.id) == 404
    late = [await delivered(scene, account) for _ in range(3)]
    await linked_event(scene, other)
    await asyncio.sleep(2)
    assert not {*late} & {*scene.archive.ids, *scene.alerts.ids}
