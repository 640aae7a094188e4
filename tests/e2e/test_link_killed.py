"""ringhook killed with -9 while Ring holds each of its calls: a fresh one ends every link, or says why not (correctness §7)."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import aiohttp
import pytest

from deploy.demo.browser import Browser, Page
from deploy.demo.installation import Role
from deploy.demo.ring.faults import Fault
from deploy.demo.ring.state import Account, doorbell
from deploy.demo.scene import USER, Scene
from tests.chaos.world import until
from tests.e2e.links import linked_event

TOKEN = "POST /oauth/token"
ME = "GET /v1/users/me"
CLAIM = "POST /v1/accounts/me/app-integrations"
COMPLETE = "PATCH /v1/accounts/me/app-integrations"
DONE = Fault(delay=60)  # Ring did what was asked, and is silent
NOT_DONE = Fault(delay=60, status=503)
LOST = "a code is never sent twice: remove the app in the Ring app and connect it again"
PATIENCE_S = 90.0  # the dead linker's leases last 20 s


@dataclass
class Home:
    """One account whose link is under way while ringhook is killed."""

    held: str
    fault: Fault
    account: Account
    browser: Browser
    page: Page | None = None
    told: dict[str, object] = field(default_factory=dict)

    async def follow(self) -> str:
        """Look at the page that the user watches; empty while nobody answers."""
        try:
            self.told = await self.browser.ask(self.page.url) if self.page else {}
        except (aiohttp.ClientError, TimeoutError):
            return ""
        return str(self.told["state"])


async def confirm(scene: Scene, home: Home) -> None:
    """Let the user tap Sign In, sign in at the partner's and confirm."""
    page = await home.browser.open(scene.ring.redirect_url(home.account))
    page = await home.browser.submit(page, user=USER[0], password=USER[1])
    home.page = await home.browser.submit(page)


async def hold(scene: Scene, home: Home) -> None:
    """Bring a link to the call that Ring holds."""
    before = calls(scene, home.held)
    scene.ring.faults.next(home.held, home.fault)
    assert await scene.ring.connect(home.account) == 200
    if home.held in {CLAIM, COMPLETE}:
        await confirm(scene, home)
    assert await until(lambda: calls(scene, home.held) > before, PATIENCE_S), home.held


def calls(scene: Scene, endpoint: str) -> int:
    return len(scene.ring.ledger.calls_to(*endpoint.split(" ")))


def linker(scene: Scene) -> Role:
    return scene.made.roles.get("up") or scene.made.roles["linker"]


async def lost(scene: Scene) -> float:
    """Return how many links the linker gave up as lost, as it tells operators."""
    async with aiohttp.ClientSession() as client, client.get(f"{linker(scene).internal}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith('ringhook_links_total{state="lost",what="grant"}'))


async def follow_until(homes: list[Home], ends: Callable[[str], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not all([ends(await home.follow()) for home in homes]):  # noqa: ASYNC110 - pages of others: there is no event
            await asyncio.sleep(0.2)


def judge(scene: Scene, home: Home) -> None:
    """The link stands at Ring, and no POST was repeated before a PATCH had shown that the last one never came."""
    assert home.account.integration is not None
    assert home.account.integration.standing == "completed"
    mine = [call for call in scene.ring.ledger.calls if call.account == home.account.id and "app-integrations" in call.path]
    methods = [call.method for call in mine]
    assert methods[0] == "POST"
    assert "POST POST" not in " ".join(methods)
    posts = Counter(call.nonce for call in mine if call.method == "POST")  # a sign-in's nonce is its own
    assert max(posts.values()) <= (2 if (home.held, home.fault) == (CLAIM, NOT_DONE) else 1)


@pytest.mark.timeout(400)
async def test_killed_at_each_call_to_ring_every_link_completes_or_is_known_as_lost(scene: Scene) -> None:
    async with AsyncExitStack() as stack:
        homes = [
            Home(held, fault, scene.ring.world.add_account(doorbell()), await stack.enter_async_context(Browser()))
            for held in (COMPLETE, CLAIM, ME, TOKEN)  # the last call first: on its way there a link meets no other's fault
            for fault in (DONE, NOT_DONE)
        ]
        for home in homes:
            await hold(scene, home)
        await linker(scene).process.kill()
        await linker(scene).start()
        for home in homes:
            if home.page is None:
                await confirm(scene, home)
        unlucky = [home for home in homes if home.held == TOKEN]
        await follow_until([home for home in homes if home.held != TOKEN], lambda state: state == "completed")
        await the_lost_are_known_and_mended(scene, unlucky)
        for home in homes:
            judge(scene, home)
        events = await asyncio.gather(*(linked_event(scene, home.account) for home in homes))
    assert {event["partneruserid"] for event in events} == {f"u-{USER[0]}"}
    assert scene.ring.ledger.codes_sent_twice() == []
    assert len(scene.ring.ledger.calls_to(*TOKEN.split(" "))) == len(homes) + len(unlucky)


async def the_lost_are_known_and_mended(scene: Scene, homes: list[Home]) -> None:
    """A code whose outcome died with the linker is given up in words; connecting again in the Ring app is the way out."""
    async with asyncio.timeout(PATIENCE_S):
        while await lost(scene) < len(homes):  # noqa: ASYNC110 - figures of others: there is no event
            await asyncio.sleep(0.2)
    assert linker(scene).log().count(LOST) >= len(homes)
    for home in homes:
        assert await home.follow() not in {"completed", "claimed", "awaiting"}
        assert await scene.ring.connect(home.account) == 200
        await confirm(scene, home)
    await follow_until(homes, lambda state: state == "completed")
