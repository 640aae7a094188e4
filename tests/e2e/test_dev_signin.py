"""The first day, without a login page: one passcode for everybody links a home on one machine."""

import asyncio
from pathlib import Path

from deploy.demo.browser import Browser
from deploy.demo.scene import TOML, opened
from tests.e2e.links import linked_event

HANDOFF = 'kind = "handoff"\nlogin_url = "{login}/login"'
DEV = 'kind = "dev"\npasscode_env = "PASSCODE"'


async def test_whoever_knows_the_passcode_links_a_home_as_the_development_user(tmp_path: Path) -> None:
    assert HANDOFF in TOML
    async with opened(tmp_path, toml=TOML.replace(HANDOFF, DEV), PASSCODE="open sesame") as scene, Browser() as browser:
        account = scene.ring.world.add_account()
        assert await scene.ring.connect(account) == 200
        page = await browser.open(scene.ring.redirect_url(account))
        assert (page.status, "Not for production" in page.text) == (200, True)
        page = await browser.submit(page, passcode="a guess")
        assert (page.status, "That is not the passcode." in page.text) == (403, True)
        page = await browser.submit(page, passcode="open sesame")
        assert "dev-user" in page.text
        assert not scene.ring.ledger.calls_to("POST", "/v1/accounts/me/app-integrations")  # nothing is linked before the act
        page = await browser.submit(page)
        async with asyncio.timeout(60):
            while (await browser.ask(page.url))["state"] != "completed":  # noqa: ASYNC110 - a page of others: there is no event
                await asyncio.sleep(0.1)
        event = await linked_event(scene, account)
    assert event["partneruserid"] == "dev-user"
