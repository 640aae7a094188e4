"""A partner's service borrows an access token, and an operator sees whose users must connect again: through the public doors."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from deploy.demo.scene import TOML, Scene, opened
from deploy.demo.walk import Walk
from tests.e2e.conftest import ROLES

SCOPES = 'scopes = ["claim", "read"]'


@pytest.fixture
async def scene(engines: dict[str, str], tmp_path: Path) -> AsyncIterator[Scene]:
    assert SCOPES in TOML
    toml = TOML.replace(SCOPES, 'scopes = ["claim", "read", "broker"]')
    async with opened(tmp_path, roles=ROLES if engines else ("up",), toml=toml, **engines) as made:
        yield made


async def borrowed(scene: Scene, account: str, **asked: str) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {scene.token}"}
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{broker(scene)}/v1/accounts/{account}/token", json=asked, headers=headers) as answer,
    ):
        return answer.status, await answer.json()


def broker(scene: Scene) -> str:
    roles = scene.made.roles
    return (roles.get("up") or roles["linker"]).internal


def as_the_readme_says() -> Callable[..., str]:
    """Return the README's own ten lines."""
    readme = Path(__file__).parents[2].joinpath("README.md").read_text()
    snippets = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    space: dict[str, Any] = {}
    exec(next(text for text in snippets if "def access_token(" in text), space)  # noqa: S102 - our own README
    asked: Callable[..., str] = space["access_token"]
    return asked


async def taken_by_ring(scene: Scene, token: str) -> bool:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession() as client, client.get(f"{scene.ring.url}/v1/users/me", headers=headers) as answer:
        return answer.status == 200


async def listed(scene: Scene, *words: str) -> str:
    """Return what `ringhook accounts list` prints, to whoever holds the token."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "deploy.command", "accounts", "list", *words),
        env={"PATH": os.defpath, "RINGHOOK_TOKEN": scene.token, "RINGHOOK_INTERNAL_URL": scene.made.internal},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    return out.decode()


async def test_a_service_borrows_tokens_until_the_user_is_gone_and_the_operator_hears_of_it(scene: Scene) -> None:
    scene.ring.world.access_s = 30  # as good as over: each loan is renewed first
    account = scene.ring.world.add_account()
    await Walk(scene, print)._link(account)
    assert (await borrowed(scene, "nobody"))[0] == 404
    assert await taken_by_ring(scene, await asyncio.to_thread(as_the_readme_says(), account.id, scene.token, base=broker(scene)))
    loans = await asyncio.gather(*(borrowed(scene, account.id) for _ in range(4)))
    assert [status for status, _ in loans] == [200] * 4
    assert all(set(loan) == {"access_token", "expires_at"} for _, loan in loans)
    assert await taken_by_ring(scene, loans[-1][1]["access_token"])
    assert await listed(scene, "--at-risk") == "No account is at risk.\n"
    [known] = [orjson.loads(line) for line in (await listed(scene, "--json")).splitlines()]
    assert (known["account"], known["linked"], known["risk"]) == (account.id, True, None)
    assert known["tokens_end_at"] > known["changed_at"]

    scene.ring.world.remove(account)  # and its webhook is still on its way
    status, refused = await borrowed(scene, account.id, rejected=sha256(b"another").hexdigest())
    assert (status, refused["error"]["code"]) == (409, "conflict")
    assert "remove the app in the Ring app and connect it again" in refused["error"]["message"]
    said = await listed(scene, "--at-risk")
    assert said.startswith(f"{account.id}  lost")
    assert "must be connected again: Ring does not renew its tokens" in said
    logs = "".join(role.log() for role in scene.made.roles.values())
    tokens = [loan["access_token"] for _, loan in loans]
    assert "token.lent" in logs
    assert not any(token in logs for token in tokens)
