"""The simulated Ring and its users, in a process of their own. Usage: homes.py PORT RING_PORT PUBLIC SECRET KEY PASSCODE LIMIT.

POST /links?count=500&rate=50 lets so many users link a home each, begun in an open loop, and tells what came of it: the
seconds from each code's POST to the first call with its tokens, sorted, and how many links were completed, in which time.
LIMIT is how many requests a second this Ring allows.
"""

import asyncio
import sys
import time
from dataclasses import dataclass
from typing import Final

import orjson
import uvloop
from aiohttp import web

from deploy.demo.browser import Browser
from deploy.demo.ring.ring import Partner, Ring, running
from deploy.demo.ring.state import Account, Client

SETTLE_S: Final = 15.0  # seconds that the last links may take


@dataclass(frozen=True)
class Homes:
    """Users of one Ring."""

    ring: Ring
    passcode: str

    async def answer(self, request: web.Request) -> web.Response:
        """Link so many homes."""
        told = await self.link(int(request.query["count"]), float(request.query["rate"]))
        return web.Response(body=orjson.dumps(told), content_type="application/json")

    async def link(self, count: int, rate: float) -> dict[str, object]:
        """Begin `rate` links a second, and wait for the last."""
        began, first = time.time(), len(self.ring.ledger.calls)
        sent, users = dict[str, float](), list[asyncio.Task[None]]()
        for number in range(count):
            await asyncio.sleep(began + number / rate - time.time())
            account = self.ring.world.add_account()
            sent[account.id] = time.time()
            users.append(asyncio.create_task(self._user(account)))
        failed = [str(error) for error in await asyncio.gather(*users, return_exceptions=True) if error]
        until = time.time() + SETTLE_S
        while (done := self._completed(sent)) < count - len(failed) and time.time() < until:  # noqa: ASYNC110 - a ledger has no event
            await asyncio.sleep(0.05)
        took = time.time() - began
        waits = sorted(at - sent[account] for account, at in self._known(first).items() if account in sent)
        return {"count": count, "waits": waits, "completed": done, "seconds": took, "failed": failed[:3]}

    async def _user(self, account: Account) -> None:
        """Confirm in the Ring app, tap Sign In, sign in, and confirm."""
        if (status := await self.ring.connect(account)) != 200:
            raise ValueError(f"a code was answered {status}")
        async with Browser() as browser:
            page = await browser.open(self.ring.redirect_url(account))
            page = await browser.submit(page, passcode=self.passcode)
            page = await browser.submit(page)
            if page.status != 200:
                raise ValueError(f"a confirmation was answered {page.status}")

    def _completed(self, sent: dict[str, float]) -> int:
        accounts = (self.ring.world.accounts[account] for account in sent)
        return sum(account.integration is not None and account.integration.standing == "completed" for account in accounts)

    def _known(self, first: int) -> dict[str, float]:
        """Return when each account's tokens were first used: they stand in the store by then."""
        calls = (call for call in reversed(self.ring.ledger.calls[first:]) if call.path == "/v1/users/me")
        return {str(call.account): call.at for call in calls}


async def main(port: int, ring_port: int, *words: str) -> None:
    """Serve until the process is ended."""
    public, secret, key, passcode, limit = words
    partner = Partner(f"{public}/ring/token-exchange/{secret}", f"{public}/ring/webhook", f"{public}/ring/account-link")
    async with running(partner, Client("chaos", "chaos-secret", key), port=ring_port) as ring:
        ring.books.budget.rate = int(limit)
        app = web.Application()
        app.router.add_post("/links", Homes(ring, passcode).answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        print("ready", flush=True)  # noqa: T201 - who started it waits for this word
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
