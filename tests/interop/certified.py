"""A home linked by somebody who signs in at npm's oidc-provider, which is certified: `make interop`."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from deploy.demo.browser import Browser, Page
from deploy.demo.scene import TOML, Scene, opened
from deploy.local import ports
from tests.e2e import issuers
from tests.e2e.links import linked_event
from tests.e2e.test_oidc_signin import HANDOFF

PLACE: Final = Path(__file__).parents[2] / "build" / "interop"


async def signed_in(browser: Browser, page: Page, login: str) -> Page:
    """Fill in the provider's own forms: who it is, then that the app may know it."""
    while "/interaction/" in page.url:
        page = await browser.submit(page, login=login, password="any")
    return page


async def link(scene: Scene, issuer: str, login: str) -> dict[str, object]:
    async with Browser() as browser:
        account = scene.ring.world.add_account()
        assert await scene.ring.connect(account) == 200
        page = await browser.open(scene.ring.redirect_url(account))
        assert page.url.startswith(f"{issuer}/interaction/")
        page = await signed_in(browser, page, login)
        assert (page.status, f"{login[0]}***{login[-1]}@example.com" in page.text) == (200, True), page.text
        shown = page.url
        page = await browser.submit(page)
        async with asyncio.timeout(60):
            while (await browser.ask(page.url))["state"] != "completed":  # noqa: ASYNC110 - a page of others: there is no event
                await asyncio.sleep(0.1)
        event = await linked_event(scene, account)
        # a second tap, with the session that the provider has by now: it asks for the user all the same
        page = await browser.open(scene.ring.redirect_url(account))
        assert page.url.startswith(f"{issuer}/interaction/")
        assert page.url != shown
    return event


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_home_is_linked_by_whoever_signs_in_at_a_certified_provider(tmp_path: Path, algorithm: str) -> None:
    (port,) = ports.free(1)
    issuer = f"http://127.0.0.1:{port}"
    toml = TOML.replace(HANDOFF, issuers.signin(issuer))
    async with opened(tmp_path, toml=toml, ISSUER_SECRET=issuers.SECRET) as scene:
        redirect = f"{scene.made.public}/ring/account-link/callback"
        command = ("node", str(PLACE / "provider.mjs"), issuer, redirect, issuers.CLIENT, issuers.SECRET, algorithm)
        async with issuers.process("certified", command, issuer, {}):
            event = await link(scene, issuer, "alice")
    assert event["partneruserid"] == f"{issuer}#alice"
