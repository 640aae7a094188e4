"""Posts signed webhooks as Ring would: one account's events one after the other, each again until it is answered 200."""

import asyncio
import hashlib
import hmac
import json
import random
import time
from collections.abc import Sequence
from uuid import uuid4

import aiohttp

from tests.chaos.ledger import Ledger

KEY = "chaos-hmac-key"


def body(request_id: str, account: str, device: str, at: float) -> bytes:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
    return json.dumps(
        {
            "meta": {"version": "1.1", "time": f"{stamp}.000000001Z", "request_id": request_id, "account_id": account},
            "data": {
                "id": f"{device}_{request_id}",
                "type": "motion_detected",
                "subType": "human",
                "attributes": {"source": device, "source_type": "devices", "timestamp": int(at * 1000)},
                "relationships": {"devices": {"links": {"self": f"/v1/devices/{device}"}}},
            },
        }
    ).encode()


def signature(raw: bytes) -> str:
    return "sha256=" + hmac.new(KEY.encode(), raw, hashlib.sha256).hexdigest()


class Generator:
    """`accounts` posters in parallel and one for each account `known`, each pausing `pause` seconds between its events."""

    def __init__(self, url: str, ledger: Ledger, *, accounts: int = 20, pause: float = 0.1, known: Sequence[str] = ()) -> None:
        self._url, self._ledger, self._pause = f"{url}/ring/webhook", ledger, pause
        self._accounts = [f"ava1.ring.account.{uuid4().hex}" for _ in range(accounts)] + [*known]
        self.answers: dict[str, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Post until `stop`; what is under way then is retried until it is acknowledged or 20 s are over."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as client, asyncio.TaskGroup() as posters:
            for account in self._accounts:
                posters.create_task(self._post_all(client, account, stop), name=account)

    async def once(self, accounts: Sequence[str]) -> None:
        """Post one more event of each of these accounts, each until it is acknowledged."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as client:
            for account in accounts:
                request_id = f"once-{uuid4().hex}"
                assert await self._deliver(client, request_id, account)
                self._ledger.acknowledged[request_id] = (account, 0)

    async def _post_all(self, client: aiohttp.ClientSession, account: str, stop: asyncio.Event) -> None:
        place = 0
        while not stop.is_set():
            place += 1
            request_id = f"{account[-8:]}-{place}"
            self._ledger.sent[request_id] = (account, place)
            if await self._deliver(client, request_id, account):
                self._ledger.acknowledged[request_id] = (account, place)
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.5))  # noqa: S311 - load, not secrets

    async def _deliver(self, client: aiohttp.ClientSession, request_id: str, account: str) -> bool:
        raw = body(request_id, account, f"device-{account[-4:]}", time.time())
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            if await self._post(client, raw) == 200:
                return True
            await asyncio.sleep(0.2)
        return False

    async def _post(self, client: aiohttp.ClientSession, raw: bytes) -> int:
        try:
            async with client.post(self._url, data=raw, headers={"X-Signature": signature(raw)}) as answer:
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            status = 0
        self.answers[str(status)] = self.answers.get(str(status), 0) + 1
        return status
