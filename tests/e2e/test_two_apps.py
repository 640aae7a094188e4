"""Users move to another app, since Ring cannot rotate a key: through the public doors, on both engines."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from deploy.demo.browser import Browser
from deploy.demo.ring.ring import Partner
from deploy.demo.ring.state import Account, Client
from deploy.demo.scene import TOML, Scene, opened
from deploy.demo.walk import Walk
from tests.chaos.world import until
from tests.e2e.conftest import ROLES
from tests.e2e.links import linked_event
from tests.e2e.test_removal import PATIENCE_S, becomes, borrowed

NEW = Client("new-client", secrets.token_hex(16), secrets.token_hex(32))
PATH = secrets.token_urlsafe(24)
VALUES = {
    "RINGHOOK_RING_CLIENT_ID": NEW.client_id,
    "RINGHOOK_RING_CLIENT_SECRET": NEW.client_secret,
    "RINGHOOK_RING_HMAC_KEY": NEW.hmac_key,
    "RINGHOOK_EXCHANGE_SECRET": PATH,
}
BRIEF = 50  # seconds: an access token that counts as expired at once, so that whoever borrows it has it renewed


@pytest.fixture
async def scene(engines: dict[str, str], tmp_path: Path) -> AsyncIterator[Scene]:
    toml = TOML.replace('scopes = ["claim", "read"]', 'scopes = ["claim", "read", "broker"]')
    second = {f"{name}_NEXT": value for name, value in VALUES.items()}
    async with opened(tmp_path, roles=ROLES if engines else ("up",), toml=toml, **engines, **second) as made:
        public = made.made.public
        urls = (f"{public}/ring/token-exchange/{PATH}", f"{public}/ring/webhook", f"{public}/ring/account-link")
        made.ring.add_app(NEW, Partner(*urls))
        yield made


async def counted(scene: Scene, name: str) -> float:
    """Return the sum of dispatch's counters of this name whose events came by another app."""
    role = scene.made.roles.get("up") or scene.made.roles["dispatch"]
    async with aiohttp.ClientSession() as client, client.get(f"{role.internal}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name) and '"other_app"' in line)


async def put_aside(scene: Scene, account: Account) -> str:
    """Send webhooks until one is put aside since its app is not the account's; return its id. What came before it passed."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            before, webhook = await counted(scene, "ringhook_events_total"), scene.ring.make("button_press", account)
            assert await scene.ring.sender.deliver(webhook) == "delivered"
            while True:
                if webhook.request_id in scene.archive.ids:
                    break
                if await counted(scene, "ringhook_events_total") > before:
                    return webhook.request_id
                await asyncio.sleep(0.1)


async def passes(scene: Scene, account: Account) -> None:
    """Send webhooks until one passes: that its app is the account's travels on a topic of its own."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            webhook = scene.ring.make("button_press", account)
            assert await scene.ring.sender.deliver(webhook) == "delivered"
            if await until(lambda name=webhook.request_id: name in scene.archive.ids, 2):  # type: ignore[misc] # bound now
                return


async def link(scene: Scene, account: Account, grants: int) -> None:
    assert await scene.ring.connect(account) == 200
    await becomes(scene, account, lambda seen: [one["state"] for one in seen.get("grants", ())].count("unclaimed") == 1)
    await becomes(scene, account, lambda seen: len(seen["grants"]) == grants)


async def sign_in(scene: Scene, account: Account) -> None:
    walk = Walk(scene, print)
    async with Browser() as browser:
        await walk._followed(browser, await walk._sign_in(browser, account))


async def renamed(scene: Scene) -> None:
    """End the move as an operator does: the second app's values go to the first one's names, and the roles start anew."""
    roles = scene.made.roles.values()
    await asyncio.gather(*(role.stop() for role in roles))
    for role in roles:
        kept = {name: value for name, value in role._environment.items() if not name.endswith("_NEXT")}
        role._environment = kept | VALUES
    await asyncio.gather(*(role.start() for role in roles))


@pytest.mark.timeout(240)  # every role starts twice
async def test_users_move_to_another_app_and_each_apps_word_counts_while_its_grants_are_open(scene: Scene) -> None:
    ring, archive = scene.ring, scene.archive
    account = ring.world.add_account()
    moved = account.under(NEW.client_id)
    early = [ring.make("device_added", one) for one in (account, moved)]
    assert [await ring.sender.deliver(one) for one in early] == ["delivered"] * 2

    await link(scene, account, 1)
    await sign_in(scene, account)
    await linked_event(scene, account)
    assert [one.request_id in archive.ids for one in early] == [True, False]
    assert await counted(scene, "ringhook_waiting_ended_total") == 1
    aside = [early[1].request_id, await put_aside(scene, moved)]

    ring.world.access_s = BRIEF
    await link(scene, moved, 2)
    await passes(scene, moved)
    await linked_event(scene, account)
    await sign_in(scene, moved)
    aside.append(await put_aside(scene, account))
    await linked_event(scene, moved)

    aside.append((await ring.remove(account)).request_id)
    await ring.sender.settled()
    await linked_event(scene, moved)
    assert (await becomes(scene, account, lambda seen: seen["linked"]))["state"] == "completed"

    await renamed(scene)
    await linked_event(scene, moved)
    renewals = len([call for call in ring.ledger.calls if call.path == "/oauth/token"])
    assert await borrowed(scene, account.id) == 200
    assert len([call for call in ring.ledger.calls if call.path == "/oauth/token"]) == renewals + 1
    newcomer = ring.world.add_account().under(NEW.client_id)
    await link(scene, newcomer, 1)
    await sign_in(scene, newcomer)
    await linked_event(scene, newcomer)
    assert not {*aside} & {*archive.ids, *scene.alerts.ids}
