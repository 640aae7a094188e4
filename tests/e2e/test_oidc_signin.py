"""A home linked by somebody who signs in at an OIDC provider that others wrote."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.demo.browser import Browser
from deploy.demo.scene import TOML, Scene, opened
from tests.e2e import issuers
from tests.e2e.conftest import ROLES
from tests.e2e.links import linked_event

HANDOFF = 'kind = "handoff"\nlogin_url = "{login}/login"'


@pytest.fixture
async def issuer() -> AsyncIterator[str]:
    async with issuers.mock() as issuer:
        yield issuer


@pytest.fixture
async def scene(engines: dict[str, str], tmp_path: Path, issuer: str) -> AsyncIterator[Scene]:
    assert HANDOFF in TOML
    toml = TOML.replace(HANDOFF, issuers.signin(issuer))
    roles = ROLES if engines else ("up",)
    async with opened(tmp_path, roles=roles, toml=toml, ISSUER_SECRET=issuers.SECRET, **engines) as made:
        yield made


async def test_whoever_signs_in_at_the_issuer_and_confirms_links_a_home(scene: Scene, issuer: str) -> None:
    async with Browser() as browser:
        account = scene.ring.world.add_account()
        assert await scene.ring.connect(account) == 200
        page = await browser.open(scene.ring.redirect_url(account))
        assert page.url.startswith(f"{issuer}/oauth2/authorize?")
        page = await browser.submit(page, sub="user@example.com", action="deny")
        assert (page.status, "You were not signed in" in page.text) == (403, True)
        page = await browser.open(scene.ring.redirect_url(account))
        page = await browser.submit(page, sub="user@example.com")
        assert (page.status, "u***r@example.com" in page.text) == (200, True)
        assert not scene.ring.ledger.calls_to("POST", "/v1/accounts/me/app-integrations")  # nothing is linked before the act
        page = await browser.submit(page)
        async with asyncio.timeout(60):
            while (await browser.ask(page.url))["state"] != "completed":  # noqa: ASYNC110 - a page of others: there is no event
                await asyncio.sleep(0.1)
        event = await linked_event(scene, account)
    assert event["partneruserid"] == f"{issuer}#user@example.com"
    logs = "".join(role.log() for role in scene.made.roles.values())
    assert "u***r" not in logs
    assert issuers.SECRET not in logs
