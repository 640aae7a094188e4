"""Ring's side of a delivery: signed over the exact bytes, 5 s for the answer, and tried again as Ring tries again.

The answer's meaning: 2xx delivered, 4xx refused for ever, anything else again after 1 s, 5 s, 30 s, 2 min, 10 min, 1 h;
then the webhook lies among Ring's dead letters. `lapse` divides the waits, not the 5 s.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import aiohttp

from deploy.demo.ring import proofs
from deploy.demo.ring.ledger import Attempt, Ledger
from deploy.demo.ring.webhooks import Webhook

WAITS_S = (1, 5, 30, 120, 600, 3600)
ANSWER_S = 5.0
AT_ONCE = 256
JAVA = "Apache-HttpClient/5.3.1 (Java/17.0.12)"

Outcome = Literal["delivered", "refused", "again"]


def judge(status: int | None) -> Outcome:
    """Say what an answer means to Ring; None is no answer in time."""
    if status is not None and status // 100 == 2:  # noqa: PLR2004
        return "delivered"
    return "refused" if status is not None and status // 100 == 4 else "again"  # noqa: PLR2004


@dataclass
class Sender:
    """Delivers webhooks to one URL, many at once, and writes down each attempt."""

    url: str
    hmac_key: str
    session: aiohttp.ClientSession
    ledger: Ledger
    clock: Callable[[], float]
    lapse: float = 1
    answer_s: float = ANSWER_S
    dead: list[Webhook] = field(default_factory=list)  # Ring keeps them for 72 h, and sends them again only when it is asked
    refused: list[Webhook] = field(default_factory=list)
    _under_way: set[asyncio.Task[Outcome]] = field(default_factory=set)
    _room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def send(self, webhook: Webhook, *, signature: str | None = None) -> asyncio.Task[Outcome]:
        """Begin to deliver; `signature` replaces the true one. The task ends with how it ended (`again`: given up)."""
        task = asyncio.create_task(self.deliver(webhook, signature=signature), name=f"deliver {webhook.request_id}")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def deliver(self, webhook: Webhook, *, signature: str | None = None) -> Outcome:
        """Return once the webhook was delivered or refused, or is dead after seven attempts."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": JAVA,
            "X-Signature": signature or proofs.signature(webhook.key or self.hmac_key, webhook.body),
        }
        for number, wait in enumerate((*WAITS_S, None), start=1):
            outcome = judge(await self._attempt(webhook, headers, number))
            if outcome != "again":
                break
            if wait is not None:
                await asyncio.sleep(wait / self.lapse)
        {"refused": self.refused, "again": self.dead, "delivered": []}[outcome].append(webhook)
        return outcome

    def replay(self) -> list[asyncio.Task[Outcome]]:
        """Begin to deliver the dead letters again, as Ring does on request."""
        dead, self.dead = self.dead, []
        return [self.send(webhook) for webhook in dead]

    async def settled(self) -> None:
        """Return once nothing is under way any more."""
        while self._under_way:
            await asyncio.wait(self._under_way)

    async def stop(self) -> None:
        """Give up what is under way."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _attempt(self, webhook: Webhook, headers: dict[str, str], number: int) -> int | None:
        async with self._room:
            at, began = self.clock(), time.monotonic()
            status = await self._post(webhook.body, headers)
            self.ledger.attempts.append(Attempt(at, webhook.request_id, number, status, time.monotonic() - began))
            return status

    async def _post(self, body: bytes, headers: dict[str, str]) -> int | None:
        try:
            async with (
                asyncio.timeout(self.answer_s),
                self.session.post(self.url, data=body, headers=headers, allow_redirects=False) as response,
            ):
                return response.status
        except (TimeoutError, aiohttp.ClientError, OSError):
            return None
