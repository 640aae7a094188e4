"""The restore drill: an hour-old store beside a bus that went on. No token is dead unnoticed, and nobody is forgotten."""

import asyncio
import json
import os
import shlex
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from deploy.command.backup import elsewhere
from deploy.demo.installation import Role
from deploy.demo.ring.state import Account
from deploy.demo.scene import Scene
from deploy.local import postgres
from tests.chaos.world import until
from tests.e2e.links import linked_event
from tests.e2e.test_commands import ringhook
from tests.e2e.test_keys import all_completed, link
from tests.e2e.test_removal import becomes, delivered

PATIENCE_S = 60.0


async def backed_up(scene: Scene, target: Path) -> None:
    """Make a backup as the README and the command tell, while everything runs."""
    url = scene.made.environment["RINGHOOK_STORE_URL"]
    if url.startswith("sqlite"):
        code, said = await ringhook("backup", str(target), cwd=scene.made.directory, **scene.made.environment)
        assert code == 0, said
        return
    code, said = await ringhook("backup", str(target), cwd=scene.made.directory, **scene.made.environment)
    assert (code, "pg_dump" in said) == (2, True)
    for name in ("mkdir", "pg_dump"):
        await told(url, elsewhere(url, target), name)


async def restored(scene: Scene, target: Path) -> None:
    url = scene.made.environment["RINGHOOK_STORE_URL"]
    if url.startswith("postgresql"):
        await told(url, elsewhere(url, target), "pg_restore")
        assert "  ringhook restored" in elsewhere(url, target).splitlines()
        code, said = await ringhook("restored", cwd=scene.made.directory, **scene.made.environment)
        assert code == 0, said
        _, rights = await ringhook("grants", cwd=scene.made.directory, **scene.made.environment)
        await postgres.command(url, rights)
        return
    store = scene.made.directory / "store.db"
    for old in scene.made.directory.glob("store.db*"):
        old.unlink()
    store.write_bytes((target / "store.db").read_bytes())


async def told(url: str, words: str, name: str) -> None:
    """Type the command of this name that stands in the words."""
    command = next(line for line in words.splitlines() if line.startswith(f"  {name}"))
    environment = {"PGPASSWORD": urlsplit(url).password or "", "PATH": f"{postgres._bin()}:{os.defpath}"}
    process = await asyncio.create_subprocess_exec(*shlex.split(command), env=environment)
    assert await asyncio.wait_for(process.wait(), 60) == 0


async def renewed(scene: Scene, home: Account) -> None:
    """Do what ringhook did in the lost hour: renew an account's tokens; Ring then takes only the new refresh token."""
    (grant,) = (grant for grant in scene.ring.world.grants if grant.account == home.id)
    form = {
        "grant_type": "refresh_token",
        "refresh_token": grant.refresh or "",
        "client_id": scene.made.environment["RINGHOOK_RING_CLIENT_ID"],
        "client_secret": scene.made.environment["RINGHOOK_RING_CLIENT_SECRET"],
    }
    async with aiohttp.ClientSession() as client, client.post(f"{scene.ring.url}/oauth/token", data=form) as answer:
        assert answer.status == 200


async def at_risk(scene: Scene) -> dict[str, str]:
    more = {"RINGHOOK_TOKEN": scene.token, "RINGHOOK_INTERNAL_URL": scene.made.internal}
    code, said = await ringhook(
        "accounts", "list", "--at-risk", "--json", cwd=scene.made.directory, **scene.made.environment | more
    )
    assert code == 0, said
    return {found["account"]: found["risk"] for found in map(json.loads, said.splitlines())}


async def everybody(scene: Scene, act: Callable[[Role], Awaitable[None]]) -> None:
    await asyncio.gather(*(act(role) for role in scene.made.roles.values()))


async def mended(scene: Scene) -> None:
    linker = scene.made.roles.get("up") or scene.made.roles["linker"]
    assert await until(lambda: "store.mended" in linker.log(), PATIENCE_S), linker.log()


@pytest.mark.timeout(300)
async def test_an_hour_old_store_beside_a_newer_bus_is_mended_and_names_who_must_connect_again(
    scene: Scene, tmp_path: Path
) -> None:
    kept, renewed_since = await link(scene), await link(scene)
    await all_completed([kept, renewed_since])
    await linked_event(scene, kept)
    (folder := tmp_path / "backup").mkdir()
    await backed_up(scene, folder)
    linked_since = await link(scene)
    await all_completed([linked_since])
    await linked_event(scene, linked_since)
    before = (await linked_event(scene, kept))["id"]
    await renewed(scene, renewed_since)
    await everybody(scene, Role.stop)
    await restored(scene, folder)
    await everybody(scene, Role.start)
    await mended(scene)
    assert "store.set_back" in "".join(role.log() for role in scene.made.roles.values())
    expected = {renewed_since.id: "lost_refused", linked_since.id: "lost_restored"}
    async with asyncio.timeout(PATIENCE_S):
        while (found := await at_risk(scene)) != expected:  # noqa: ASYNC110 - a list of others
            await asyncio.sleep(0.2)
    assert found == expected
    assert (await linked_event(scene, kept))["partneruserid"] == "u-ada"
    assert scene.archive.ids.count(before) == 1
    assert scene.ring.ledger.codes_sent_twice() == []


@pytest.mark.timeout(300)
async def test_a_restore_is_noticed_where_nothing_but_a_renewal_had_happened_since(scene: Scene, tmp_path: Path) -> None:
    home = await link(scene)
    await all_completed([home])
    await linked_event(scene, home)
    (folder := tmp_path / "backup").mkdir()
    await backed_up(scene, folder)
    await renewed(scene, home)
    await everybody(scene, Role.stop)
    await restored(scene, folder)
    await everybody(scene, Role.start)
    await mended(scene)
    assert "store.set_back" in "".join(role.log() for role in scene.made.roles.values())
    async with asyncio.timeout(PATIENCE_S):
        while await at_risk(scene) != {home.id: "lost_refused"}:  # noqa: ASYNC110 - a list of others
            await asyncio.sleep(0.2)


@pytest.mark.timeout(300)
async def test_what_a_home_that_came_back_in_the_lost_hour_had_coming_is_still_delivered(scene: Scene, tmp_path: Path) -> None:
    home, other = await link(scene), await link(scene)
    await all_completed([home, other])
    await linked_event(scene, home)
    await scene.ring.remove(home)
    await becomes(scene, home, lambda seen: seen["state"] == "removed")
    (folder := tmp_path / "backup").mkdir()
    await backed_up(scene, folder)
    await link(scene, home)
    await linked_event(scene, home)
    for _ in range(3):
        await linked_event(scene, other)  # steps enough for lanes to see that the store was set back
    scene.archive.failures = 1_000_000  # the partner's service is down at the end of the hour
    coming = [await delivered(scene, home) for _ in range(3)]
    assert await until(lambda: {*coming} <= {*scene.alerts.ids}, PATIENCE_S), "all are recorded: another service has them"
    await everybody(scene, Role.stop)
    await restored(scene, folder)
    scene.archive.failures = 0
    await everybody(scene, Role.start)
    await mended(scene)
    assert await until(lambda: {*coming} <= {*scene.archive.ids}, PATIENCE_S)
