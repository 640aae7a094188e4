"""The walk through the whole flow: each step is told as it happens, seen from Ring's and the partner's side."""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

import aiohttp

from deploy.demo.browser import Browser, Page
from deploy.demo.ring.ledger import Call
from deploy.demo.ring.state import Account, doorbell
from deploy.demo.ring.webhooks import Webhook, older
from deploy.demo.scene import FAILURES, USER, Scene

Say = Callable[[str], None]
Event = dict[str, object]
T = TypeVar("T")
PATIENCE_S: Final = 30.0
CALLS: Final = {
    ("POST", "/oauth/token"): "ringhook exchanged the code for tokens",
    ("GET", "/v1/users/me"): "ringhook asked whose account it is: the account is known, nobody has claimed it yet",
    ("POST", "/v1/accounts/me/app-integrations"): "ringhook told Ring who it is (POST with the nonce): Ring awaits",
    ("PATCH", "/v1/accounts/me/app-integrations"): "ringhook completed the link (PATCH): now Ring will send webhooks",
}


class DemoFailed(Exception):
    """Something that must happen did not."""


@dataclass
class Sent:
    """What Ring sent, by what has to become of it."""

    linked: list[str] = field(default_factory=list)  # ids: once on event.recorded, at both services
    early: list[str] = field(default_factory=list)  # those of them that came before the link
    waiting: int = 0  # of an account that is not linked: kept, and nowhere yet
    quarantined: int = 0  # answered 200, kept as a dead letter
    copies: int = 0  # sent again with the same id: dropped
    refused: int = 0  # bad signatures: 401


class Walk:
    """One run of the demo."""

    def __init__(self, scene: Scene, say: Say) -> None:
        self.scene, self._say = scene, say
        self._began = time.monotonic()
        self.sent = Sent()

    def tell(self, words: str) -> None:
        """Say a line with the time since the start."""
        self._say(f"{time.monotonic() - self._began:6.2f} s  {words}")

    async def run(self) -> None:
        """Link one account, then send webhooks of every kind, and wait until all have arrived."""
        self.tell(f'before any call ringhook says: "{(await self._story()).partition(".")[0]}."')
        account = self.scene.ring.world.add_account(doorbell())
        stranger = self.scene.ring.world.add_account(doorbell("Somebody else's door"))
        watching = asyncio.create_task(self._watch_ring(), name="watch Ring")
        try:
            await self._link(account)
            await self._send(account, stranger)
            await self._arrive()
        finally:
            watching.cancel()
        self.tell(f'now ringhook says: "{(await self._story()).strip()}"')

    async def _link(self, account: Account) -> None:
        answer = await self.scene.ring.connect(account)
        self.tell(f"the user confirms in the Ring app: Ring POSTs an authorization code, ringhook answers {answer}")
        await self._until(lambda: any(call.path == "/v1/users/me" for call in self.scene.ring.ledger.calls), "users/me")
        await self._send_early(account)
        async with Browser() as browser:
            page = await self._sign_in(browser, account)
            await self._followed(browser, page)
        await self._come()

    async def _send_early(self, account: Account) -> None:
        """Send what Ring may send before the link is complete."""
        early = self.scene.ring.make("device_added", account)
        await self._deliver(early)
        self.sent.early.append(early.request_id)
        self.sent.linked.append(early.request_id)
        self.tell("Ring already sends a webhook (device_added), before anybody is linked: ringhook keeps it back")

    async def _come(self) -> None:
        """Wait for the event from before the link, and for Ring's first webhook after it; both must know of the link."""
        for kind in ("device_added", "app_integration_added"):
            found = await self._until(lambda kind=kind: self._archived(kind), kind)  # type: ignore[misc] # bound now
            if not found["linked"]:
                raise DemoFailed(f"{kind} came out as of an account that is not linked")
        self.sent.linked.append(str(found["id"]))
        if self.scene.archive.ids[0] != self.sent.early[0]:
            raise DemoFailed("an event overtook the one from before the link")
        self.tell("the webhook from before the link has come through to the partner's archive, and then app_integration_added")
        self.tell(f"they carry the partner's own user: {found['partneruserid']}")

    async def _sign_in(self, browser: Browser, account: Account) -> Page:
        page = await browser.open(self.scene.ring.redirect_url(account))
        self.tell(f"Ring redirects the user's browser with nonce and time; it comes to the partner's login page ({page.status})")
        page = await browser.submit(page, user=USER[0], password=USER[1])
        if "confirm" not in (page.form.action or ""):
            raise DemoFailed(f"no confirmation page after signing in, but status {page.status}: {page.text[:300]}")
        self.tell(f"the user signed in at the partner as u-{USER[0]}; ringhook asks: is it you who tapped Sign In?")
        page = await browser.submit(page)
        self.tell("the user confirmed")
        return page

    async def _followed(self, browser: Browser, page: Page) -> None:
        """Follow the live page until the link is completed."""
        async with asyncio.timeout(PATIENCE_S):
            while (told := await browser.ask(page.url))["state"] != "completed":
                if told["state"] in ("expired", "lost", "rejected", "contested", "removed"):
                    raise DemoFailed(f"the link ended {told['state']}: {told['finding']}")
                await asyncio.sleep(0.1)
        self.tell("the page that the user watches says: completed")

    async def _send(self, account: Account, stranger: Account) -> None:
        ring = self.scene.ring
        motions = ring.every(account)
        self.tell(f"Ring sends {len(motions)} signed webhooks: every documented type, as real deliveries look")
        await self._deliver(*motions[:-1])
        await self._deliver(motions[-1])  # says no account: the device it names must have been heard of
        self.sent.linked += [webhook.request_id for webhook in motions]
        await self._deliver(motions[0], motions[1])
        self.sent.copies += 2
        self.tell("two of them again, with the same ids, as Ring does when an answer is late")
        unknown = ring.make("window_opened_by_a_cat", account)
        await self._deliver(unknown)
        self.sent.linked.append(unknown.request_id)
        self.tell("one of a type that nobody knows yet")
        await self._odd(account)
        event = ring.make("motion_detected", stranger)
        await self._deliver(event)
        self.sent.waiting += 1
        self.tell(
            "one of an account that is not linked: it waits for the link; after a day it goes to whoever asks for such events"
        )

    async def _odd(self, account: Account) -> None:
        """Send what is to be refused, and what is to be kept though nobody can read it."""
        ring = self.scene.ring
        forged = replace(ring.make("button_press", account))
        if await ring.sender.deliver(forged, signature="sha256=" + "0" * 64) != "refused":
            raise DemoFailed("a webhook with a bad signature was accepted")
        self.sent.refused += 1
        self.tell("one with a bad signature: 401, the only reason for which Ring is ever refused")
        await self._deliver(Webhook("-", "-", account.id, b'{"signed": "but no webhook"}'))
        self.sent.quarantined += 1
        self.tell("one that is signed but is no webhook: 200, and put aside with its reason")
        for webhook in older(account, account.devices[0], ring.now_ns())[:1]:
            await self._deliver(webhook)
            self.sent.linked.append(webhook.request_id)
        self.tell("one in the shape of earlier years")

    async def _deliver(self, *webhooks: Webhook) -> None:
        outcomes = await asyncio.gather(*(self.scene.ring.sender.deliver(webhook) for webhook in webhooks))
        if set(outcomes) != {"delivered"}:
            raise DemoFailed(f"webhooks were not accepted: {outcomes}")

    async def _arrive(self) -> None:
        """Wait until both services have all they are owed."""
        self.tell(f"the alerts service refused its first {FAILURES} deliveries with 503: they are tried again, others pass")
        linked = set(self.sent.linked)

        def all_there() -> bool:
            return linked <= set(self.scene.alerts.ids) and linked <= set(self.scene.archive.ids)

        await self._until(all_there, "all events at both services")
        self.tell("both services have everything they are owed")

    def _archived(self, kind: str) -> Event:
        """Return the first event of a type that the archive has; empty: none."""
        return next((event for event in self.scene.archive.events if event["type"] == f"com.ring.{kind}"), {})

    async def _watch_ring(self) -> None:
        """Tell each call that reaches Ring's API."""
        told = 0
        while True:
            for call in self.scene.ring.ledger.calls[told:]:
                self.tell(described(call))
            told = len(self.scene.ring.ledger.calls)
            await asyncio.sleep(0.01)

    async def _story(self) -> str:
        async with aiohttp.ClientSession() as client, client.get(self.scene.made.internal) as answer:
            return await answer.text()

    async def _until(self, holds: Callable[[], T], what: str) -> T:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not (found := holds()):  # noqa: ASYNC110 -- books of others: there is no event to wait for
                    await asyncio.sleep(0.02)
                return found
        except TimeoutError:
            raise DemoFailed(f"did not happen within {PATIENCE_S:.0f} s: {what}") from None


async def recorded(scene: Scene) -> dict[str, int]:
    """Return what dispatch counted, by outcome, from `/metrics`."""
    roles = scene.made.roles
    dispatch = roles.get("up") or roles["dispatch"]
    async with aiohttp.ClientSession() as client, client.get(f"{dispatch.internal}/metrics") as answer:
        text = await answer.text()
    counts: dict[str, int] = {}
    counted = r'^ringhook_(?:events|waiting_ended)_total\{(?:outcome|how)="([^"]+)"[^}]*\} ([0-9.]+)$'
    for outcome, value in re.findall(counted, text, re.MULTILINE):
        counts[outcome] = counts.get(outcome, 0) + int(float(value))
    return counts


def described(call: Call) -> str:
    """Return a call to Ring's API in words."""
    words = CALLS.get((call.method, call.path), f"ringhook called {call.method} {call.path}")
    return f"{words}, answered {call.status}"
