"""Users who link their homes while everything is killed, as Ring, their browsers and the partner's login page play it."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar
from urllib.parse import parse_qs, urlsplit

import aiohttp

from deploy.demo.browser import Browser, Page
from deploy.demo.installation import Installation
from deploy.demo.ring.ring import Ring
from deploy.demo.ring.state import Account

T = TypeVar("T")
OVER: Final = {"completed", "expired", "lost", "rejected", "contested", "removed"}
PAUSE_S: Final = 0.3
CODE_S: Final = 10.0  # so long a user looks at a page that waits for the code before looking whether it was lost
ANSWER: Final = aiohttp.ClientTimeout(total=6)
TROUBLE: Final = (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, RuntimeError)


@dataclass
class Home:
    """One user: what became of each of their tries to link, in words."""

    name: str
    account: Account
    state: str = "not begun"
    ends: list[tuple[str, str]] = field(default_factory=list)  # state and finding, of each try

    @property
    def user(self) -> str:
        """The partner's user."""
        return f"u-{self.name}"


class Unanswered(Exception):
    """The other side is away; the same again a moment later may help."""


@dataclass
class Town:
    """So many homes, at most `at_once` of which are being linked at a time."""

    made: Installation
    ring: Ring
    token: str
    count: int = 200
    at_once: int = 25

    def __post_init__(self) -> None:
        self.homes = [Home(f"{n:03d}", self.ring.world.add_account()) for n in range(self.count)]
        self._room = asyncio.Semaphore(self.at_once)

    async def link(self) -> None:
        """Return once every home is linked; each begins again, as the page told its user, where a try ended otherwise."""
        async with asyncio.TaskGroup() as users:
            for home in self.homes:
                users.create_task(self._link(home), name=home.name)

    async def _link(self, home: Home) -> None:
        async with self._room, Browser() as browser:
            remedy = "connect"
            while home.state != "completed":
                if remedy == "connect":
                    await insist(lambda: self._connect(home))
                page = await self._sign_in(home, browser)
                home.state, finding = await self._followed(home, browser, page)
                home.ends.append((home.state, finding))
                remedy = "sign in" if "tap Sign In" in finding else "connect"

    async def _connect(self, home: Home) -> None:
        """Confirm in the Ring app until ringhook holds the code."""
        if await self.ring.connect(home.account) != 200:
            raise Unanswered

    async def _sign_in(self, home: Home, browser: Browser) -> Page:
        """Tap Sign In, sign in at the partner's, and confirm; from the beginning where a step does not answer."""

        async def tapped() -> Page:
            page = await browser.open(self.ring.redirect_url(home.account))
            [attempt] = parse_qs(urlsplit(page.url).query)["attempt"]
            finish = await self._claim(attempt, home.user)
            page = await browser.open(finish)
            page = await browser.submit(page)
            if page.status != 200 or not page.url.endswith("/progress"):
                raise Unanswered
            return page

        return await insist(tapped)

    async def _claim(self, attempt: str, user: str) -> str:
        url = f"{self.made.internal}/v1/attempts/{attempt}/claim"
        claim = {"partner_user": user, "account_identifier": "u***r@example.com"}
        headers = {"Authorization": f"Bearer {self.token}"}
        async with aiohttp.ClientSession(timeout=ANSWER) as client, client.post(url, json=claim, headers=headers) as answer:
            if not answer.ok:
                raise Unanswered
            return str((await answer.json())["finish_url"])

    async def _followed(self, home: Home, browser: Browser, page: Page) -> tuple[str, str]:
        """Follow the live page to the link's end; a code that was lost on its way names no account, so the user gives up."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            told = await insist(lambda: browser.ask(page.url))
            state, finding = str(told["state"]), str(told.get("finding") or "")
            if state in OVER:
                return state, finding
            code = self.ring.codes[home.account.id]
            if state == "received" and loop.time() - began > CODE_S and not self._living(code):
                return "lost", "no tokens came of the code: connect again"
            await asyncio.sleep(PAUSE_S)

    def _living(self, code: str) -> bool:
        """Say whether a code may still come to something: it is young, or was traded, and nothing took its grant away."""
        known = self.ring.world.codes[code]
        return self.ring.books.now() - known.issued < 2 * CODE_S or (known.grant is not None and not self._orphaned(code))

    def _orphaned(self, code: str) -> bool:
        """Say whether the tokens of a code were in an answer that ringhook cannot have had: nothing was asked with them."""
        grant = self.ring.world.codes[code].grant
        used = {call.token for call in self.ring.ledger.calls[-5_000:]}
        return grant is not None and not (grant.access.keys() & used)


async def insist(act: Callable[[], Awaitable[T]]) -> T:
    """Do it again until it is answered, for as long as the test runs."""
    while True:
        try:
            return await act()
        except (Unanswered, *TROUBLE):
            await asyncio.sleep(PAUSE_S * random.uniform(0.5, 1.5))  # noqa: S311 - patience is no secret


def judged(town: Town) -> list[str]:
    """Return what the facts do not justify; nothing where all is well."""
    ledger, wrong = town.ring.ledger, list[str]()
    wrong += [f"code sent twice: {code[:6]}" for code in ledger.codes_sent_twice()]
    for home in town.homes:
        standing = home.account.integration.standing if home.account.integration else None
        if (home.state, standing) != ("completed", "completed"):
            wrong.append(f"{home.name}: {home.state} here, {standing} at Ring; {home.ends}")
        calls = [call for call in ledger.calls if call.account == home.account.id]
        unclear = [call for call in calls if call.status is None or call.status >= 400]
        wrong += [
            f"{home.name}: {end} without a call to Ring that failed" for end in home.ends if end[0] == "rejected" and not unclear
        ]
        wrong += [f"{home.name}: {state} without a word" for state, words in home.ends if state != "completed" and not words]
    return wrong


def told(town: Town) -> str:
    """Say how the tries ended."""
    ends = Counter(f"{state} ({words[:60]})" if words else state for home in town.homes for state, words in home.ends)
    return ", ".join(f"{count} {end}" for end, count in ends.most_common())


async def tokens_belong(town: Town, linker: str) -> list[str]:
    """Ask the broker for each home's token, and return the homes for which it lends that of another, or none."""
    wrong = list[str]()
    headers = {"Authorization": f"Bearer {town.token}"}
    async with aiohttp.ClientSession(timeout=ANSWER, headers=headers) as client:

        async def lent(home: Home) -> str:
            async with client.post(f"{linker}/v1/accounts/{home.account.id}/token", json={}) as answer:
                if answer.status in {429, 503}:
                    raise Unanswered
                return str((await answer.json()).get("access_token"))

        for home in town.homes:
            family = town.ring.world.family(await insist(lambda home=home: lent(home)))  # type: ignore[misc] # bound now
            if family is None or family.account != home.account.id:
                wrong.append(home.name)
    return wrong
