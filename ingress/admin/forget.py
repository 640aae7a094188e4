"""`POST /v1/accounts/{account}/forget`: nothing is sent for an account from the answer on, and all that is stored of it goes."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

import structlog
from aiohttp import web

from ingress.admin.api import CALLER, Api
from ingress.admin.bodies import Nothing
from workers.runtime.clock import utc_now

log = structlog.get_logger()
PATIENCE: Final = 5.0  # seconds for the linker to do it while the caller waits
LOOK: Final = 0.1  # seconds between two looks


class Forgetting(Protocol):
    """Holds the operator's wish; the linker's store does."""

    async def ask(self, account: str, now: float) -> bool:
        """Hold the wish, so that nothing is sent for the account any more; say whether the linker kept anything of it."""
        ...

    async def pending(self, account: str) -> bool:
        """Say whether it is not done yet."""
        ...


def add_forgetting(api: Api, forgetting: Forgetting, gone_by: Callable[[datetime], datetime]) -> None:
    """Add the route (scope operate). `forgotten` false: no linker has done it yet; it does as soon as one runs.

    `known` false: the linker kept nothing under this id, so it may not be the one that is meant.
    """

    async def forget(request: web.Request) -> object:
        account, now = request.match_info["account"], utc_now()
        await api.bodies.read(request, Nothing)
        known = await forgetting.ask(account, now.timestamp())
        log.info("account.forgotten", caller=request[CALLER], known=known)
        done = await _done(forgetting, account)
        return {"account": account, "known": known, "forgotten": done, "gone_by": gone_by(now).isoformat()}

    api.add("POST", "/v1/accounts/{account}/forget", "operate", forget)


async def _done(forgetting: Forgetting, account: str) -> bool:
    """Wait a moment for the linker; whether or not it comes, the wish is held."""
    until = asyncio.get_running_loop().time() + PATIENCE
    while await forgetting.pending(account):
        if asyncio.get_running_loop().time() > until:
            return False
        await asyncio.sleep(LOOK)
    return True
