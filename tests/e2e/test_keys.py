"""`ringhook keys` on a running installation: links complete, all is sealed again, and kill -9 in the middle loses nothing."""

import asyncio
import re
from contextlib import AsyncExitStack
from hashlib import sha256
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from deploy.demo.browser import Browser
from deploy.demo.installation import Role
from deploy.demo.ring.state import Account, doorbell
from deploy.demo.scene import USER, Scene, opened
from linker.held import columns_of
from linker.rows import Grant
from linker.sealed import Sealed
from linker.store import Store
from linker.tables import grants
from linker.vault import Vault
from tests.chaos.world import until
from tests.e2e.conftest import ROLES
from tests.e2e.test_commands import ringhook
from workers.runtime.database import connect
from workers.runtime.sealing import Keyring, generate_key

NAME = "RINGHOOK_VAULT_KEYS"
MANY = 1_500
PATIENCE_S = 60.0


def configured(folder: Path) -> str:
    return re.findall(rf"{NAME}=(.*)", (folder / ".env").read_text())[0]


def vault(folder: Path, scene: Scene) -> Vault:
    return Vault(Keyring.parse(configured(folder)), scene.made.environment.get("RINGHOOK_NAMESPACE", "ringhook"))


def old_link(number: int) -> Grant:
    name = sha256(b"%d" % number).hexdigest()
    return Grant(
        app="first",
        code_hash=name,
        account=f"old-{number}",
        received_at=1.0,
        generation=1,
        due_at=None,
        state="completed",
        stage="rest",
    )


async def fill(scene: Scene, tokens: Vault) -> None:
    """Put links of former days into the store."""
    async with connect(scene.made.environment["RINGHOOK_STORE_URL"]) as database, database.begin() as connection:
        links = (old_link(number) for number in range(MANY))
        sealed = [replace(link, access=tokens._seal(link, "access", link.account or "")) for link in links]
        await connection.execute(grants.insert(), [columns_of(link) for link in sealed])


async def keys(scene: Scene, *words: str) -> tuple[int, str]:
    return await ringhook("keys", *words, cwd=scene.made.directory, **scene.made.environment)


async def figure(client: aiohttp.ClientSession, linker: Role, name: str) -> float | None:
    async with client.get(f"{linker.internal}/metrics") as answer:
        found = re.findall(rf"^{re.escape(name)} (\S+)$", await answer.text(), re.MULTILINE)
    return float(found[0]) if found else None


async def link(scene: Scene, account: Account | None = None) -> Account:
    """Let somebody link a home, a new one unless it is given, from the Ring app to the end."""
    account = account or scene.ring.world.add_account(doorbell())
    assert await scene.ring.connect(account) == 200
    async with Browser() as browser:
        page = await browser.open(scene.ring.redirect_url(account))
        page = await browser.submit(page, user=USER[0], password=USER[1])
        await browser.submit(page)
    return account


async def all_completed(homes: list[Account]) -> None:
    assert await until(
        lambda: all(home.integration and home.integration.standing == "completed" for home in homes), PATIENCE_S
    ), [home.integration for home in homes]


async def killed_in_the_middle(linker: Role) -> None:
    """Restart the linker with its new keys, and kill it once it has sealed some rows and not all."""
    await linker.stop()
    await linker.start()
    async with aiohttp.ClientSession() as client, asyncio.timeout(PATIENCE_S):
        while not await figure(client, linker, "ringhook_vault_resealed_total"):  # noqa: ASYNC110 - figures of others
            await asyncio.sleep(0.01)
    await linker.process.kill()


async def nothing_older(linker: Role) -> None:
    async with aiohttp.ClientSession() as client, asyncio.timeout(PATIENCE_S):
        while await figure(client, linker, 'ringhook_vault_rows{key="older"}') != 0:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)


async def every_token_opens(scene: Scene, tokens: Vault, homes: list[Account]) -> None:
    async with connect(scene.made.environment["RINGHOOK_STORE_URL"]) as database:
        store = Store(database)
        for number in range(0, MANY, 20):
            found = await store.grant(old_link(number).code_hash)
            assert found is not None
            assert tokens.open(found, "access") == found.account
        for home in homes:
            described = await store.account(home.id)
            assert described is not None
            assert tokens.open(described[1][0], "access") in {
                token for grant in scene.ring.world.grants for token in grant.access
            }


@pytest.mark.timeout(300)
async def test_keys_change_while_links_go_on(engines: dict[str, str], tmp_path: Path) -> None:
    first = generate_key("k1")
    (tmp_path / ".env").write_text(f"# the keys\n{NAME}={first}\n")
    async with AsyncExitStack() as stack:
        roles = ROLES if engines else ("up",)
        scene = await stack.enter_async_context(opened(tmp_path, roles=roles, **{NAME: ""}, **engines))
        await fill(scene, vault(tmp_path, scene))
        homes = [await link(scene) for _ in range(2)]
        await all_completed(homes)
        assert (await keys(scene, "add", "k2"))[0] == 0
        assert (await keys(scene, "rotate", "k2"))[0] == 0
        linker = scene.made.roles.get("up") or scene.made.roles["linker"]
        await killed_in_the_middle(linker)
        code, said = await keys(scene, "retire", "k1")
        assert (code, "k1 is still needed: it seals the tokens of" in said) == (2, True), said
        await linker.start()
        homes += [await link(scene) for _ in range(2)]
        await all_completed(homes)
        await nothing_older(linker)
        await deploy_is_over(scene)
        code, said = await keys(scene, "retire", "k1")
        assert (code, "now has k2." in said) == (0, True), said
        assert first.partition(":")[2] not in linker.log()
        await every_token_opens(scene, vault(tmp_path, scene), homes)
        assert scene.ring.ledger.codes_sent_twice() == []


async def deploy_is_over(scene: Scene) -> None:
    """Let the 90 s be over after which a linker that was killed counts as gone; on one machine nobody has to wait for them."""
    if scene.made.environment["RINGHOOK_STORE_URL"].startswith("postgresql"):
        async with connect(scene.made.environment["RINGHOOK_STORE_URL"]) as database, database.begin() as connection:
            await connection.exec_driver_sql("update linker_vault_keys set seen_at = seen_at - 90 where key = 'k1'")
    else:
        async with connect(scene.made.environment["RINGHOOK_STORE_URL"]) as database:
            assert (await Sealed(database).known())["k1"].seen_ago is None


async def test_another_key_under_the_same_id_does_not_start(tmp_path: Path) -> None:
    async with opened(tmp_path) as scene:
        up, at = scene.made.roles["up"], {**scene.made.environment}
        await up.stop()
        wrong = generate_key("k1")
        code, said = await ringhook("up", cwd=tmp_path, **at | {NAME: wrong, "RINGHOOK_INTERNAL_LISTEN": "127.0.0.1:0"})
        assert (code, "'k1' is not the key that sealed what the store holds" in said, "Traceback" in said) == (2, True, False), (
            said
        )
        assert wrong.partition(":")[2] not in said
