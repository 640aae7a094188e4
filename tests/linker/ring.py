"""A small Ring over HTTP, which judges: it writes down every code and POST it saw, and breaks as it is told."""

import base64
import hashlib
import hmac
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

KEY = b"test-hmac-key"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def nonce(time: str, account: str, key: bytes = KEY) -> str:
    digest = hmac.new(key, f"{time}:{account}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Ring:
    """`faults[call]` holds what the next requests meet: a status, "drop" (cut, nothing done), "cut" (done, no answer)."""

    def __init__(self) -> None:
        self.url = ""
        self.codes: dict[str, str] = {}
        self.access: dict[str, str] = {}
        self.refresh: dict[str, str] = {}
        self.status: dict[str, str] = {}
        self.used: set[str] = set()
        self.faults: dict[str, deque[int | str]] = defaultdict(deque)
        self.seen: list[tuple[str, str]] = []
        self.made: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.retry_after = "1"
        self._count = 0

    def allow(self, code: str, account: str) -> None:
        self.codes[code] = account
        self.status.setdefault(account, "pending")

    def count(self, call: str) -> int:
        return sum(name == call for name, _ in self.seen)

    async def token(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        if form["grant_type"] == "refresh_token":
            return await self._answer(request, "refresh", form["refresh_token"], lambda: self._rotate(form["refresh_token"]))
        return await self._answer(request, "exchange", form["code"], lambda: self._exchange(form["code"]))

    async def me(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, "identify", "", lambda: self._me(request))

    async def post(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.read())
        return await self._answer(request, "post", body["nonce"], lambda: self._post(request, body["nonce"]))

    async def patch(self, request: web.Request) -> web.StreamResponse:
        assert json.loads(await request.read()) == {"status": "completed"}
        return await self._answer(request, "patch", "", lambda: self._patch(request))

    async def _answer(
        self, request: web.Request, call: str, what: str, effect: Callable[[], tuple[int, Any]]
    ) -> web.StreamResponse:
        self.seen.append((call, what))
        self.headers.append(dict(request.headers))
        fault = self.faults[call].popleft() if self.faults[call] else None
        if isinstance(fault, int):
            extra = (
                {"Retry-After": self.retry_after}
                if fault == 429
                else {"Location": f"{self.url}/elsewhere"}
                if fault == 307
                else {}
            )
            return web.json_response({"errors": [{"status": str(fault), "title": "told to"}]}, status=fault, headers=extra)
        status, body = (0, None) if fault == "drop" else effect()
        if fault:
            assert request.transport is not None
            request.transport.close()
        return web.json_response(body, status=status or 500)

    def _exchange(self, code: str) -> tuple[int, Any]:
        if code not in self.codes:
            return 400, {"error": "invalid_grant"}
        return 200, self._pair(self.codes.pop(code))

    def _rotate(self, token: str) -> tuple[int, Any]:
        if token not in self.refresh:
            return 400, {"error": "invalid_grant"}
        return 200, self._pair(self.refresh.pop(token))

    def _pair(self, account: str) -> dict[str, Any]:
        self._count += 1
        access, refresh = f"canary-access-{self._count}", f"canary-refresh-{self._count}"
        self.access[access], self.refresh[refresh] = account, account
        self.made += [access, refresh]
        return {"access_token": access, "refresh_token": refresh, "expires_in": 14400, "token_type": "Bearer", "scope": "x"}

    def _account(self, request: web.Request) -> str | None:
        return self.access.get(request.headers["Authorization"].removeprefix("Bearer "))

    def _me(self, request: web.Request) -> tuple[int, Any]:
        account = self._account(request)
        return (200, {"data": {"id": account}}) if account else (403, {"errors": [{"title": "Forbidden"}]})

    def _post(self, request: web.Request, given: str) -> tuple[int, Any]:
        account = self._account(request)
        if account is None:
            return 401, {"errors": [{"title": "Unauthorized"}]}
        if given in self.used or not self._names(given, account):
            return 400, {"errors": [{"title": "Invalid Nonce"}]}
        self.used.add(given)
        self.status[account] = "awaiting"
        return 200, {"status": "awaiting"}

    def _names(self, given: str, account: str) -> bool:
        return any(nonce(time, account) == given for time in self.times)

    times: tuple[str, ...] = ()

    def _patch(self, request: web.Request) -> tuple[int, Any]:
        account = self._account(request)
        if account is None:
            return 401, {"errors": [{"title": "Unauthorized"}]}
        if self.status[account] != "awaiting":
            return 400, {"errors": [{"title": "Invalid Status Transition"}]}
        self.status[account] = "completed"
        return 200, {"data": {"attributes": {"status": "completed"}}}


@asynccontextmanager
async def serve() -> AsyncIterator[Ring]:
    ring = Ring()
    app = web.Application()
    app.router.add_post("/oauth/token", ring.token)
    app.router.add_get("/v1/users/me", ring.me)
    app.router.add_post("/v1/accounts/me/app-integrations", ring.post)
    app.router.add_patch("/v1/accounts/me/app-integrations", ring.patch)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    ring.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield ring
    finally:
        await runner.cleanup()
