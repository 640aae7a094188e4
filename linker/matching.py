"""One look of an attempt for its grant: newest first, in constant time, off the event loop."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec
import structlog

from linker import claims
from linker.ledger import Moved
from linker.metrics import MATCH_SECONDS, Result, stepped
from linker.pool import Page
from linker.rooms import Depths
from linker.rows import Attempt, Grant
from linker.saga import Verdict
from linker.steps import UNREADABLE, Notices
from linker.store import Store
from schemas.errors import Rejected
from schemas.records import App, LinkSecret, LinkState
from schemas.ring import nonce
from workers.runtime.sealing import UNKNOWN_KEY, CodeOpener
from workers.runtime.secrets import Secret

log = structlog.get_logger()
FIRST_PAGE: Final = 256  # the grant is nearly always among the newest
PAGE: Final = 4_096
DEEP: Final = 4  # looks beyond the newest at a time: each takes as long as the pool is large
OTHERS: Final = 60.0  # seconds from a sign-in
LOOKS: Final = 3  # at a grant that moved in the moment it was matched
Found = tuple[str, Sequence[App]]
_RESULTS: Final[dict[LinkState, Result]] = {"received": "waiting", "completed": "done", "rejected": "refused"}


class Looked(NamedTuple):
    """What a look through the pool found; not `whole`: there are grants that it left out."""

    found: Found | None
    whole: bool


@dataclass(frozen=True)
class Matching:
    """Brings attempts and grants together."""

    store: Store
    opener: CodeOpener
    keys: Mapping[App, Secret]
    notices: Notices
    clock: Callable[[], float]
    turn: asyncio.Lock = field(
        default_factory=asyncio.Lock
    )  # one thread at a time: several would hold up the event loop together
    depths: Depths = field(default_factory=lambda: Depths(DEEP))

    async def __call__(self, attempt: Attempt) -> None:
        """Claim the grant the nonce names, or let the attempt wait, or expire. Raises Moved, Unavailable."""
        looked_at = self.clock()
        if over := claims.overdue(attempt, looked_at):
            await self.store.settle(attempt, over)
            return
        try:
            stepped("match", await self._look(attempt, looked_at))
        except Moved:
            stepped("match", "superseded")
            raise

    async def _look(self, attempt: Attempt, looked_at: float) -> Result:
        """Look for the grant, and write what the attempt becomes."""
        try:
            secret = msgspec.json.decode(self.opener.open(attempt.secret or b""), type=LinkSecret)
        except Rejected as error:
            if error.reason == UNKNOWN_KEY:
                log.warning("sign_in.unread", attempt=attempt.attempt, why=str(error))
                return await self._settle(attempt, claims.unread(attempt, UNREADABLE, looked_at))
            return await self._settle(attempt, claims.learned(attempt, Verdict("rejected", str(error)), looked_at))
        with MATCH_SECONDS.time():
            grant, whole = await self._find(attempt, secret.nonce)
        if grant is None:
            return await self._wait(attempt, looked_at if whole else None)
        self.notices.proven("redirect")
        for _ in range(LOOKS):
            with suppress(Moved):
                return await self._decide(attempt, grant)
            grant = await self.store.grant(grant.code_hash) or grant  # its tokens were being renewed, most likely
        return await self._decide(attempt, grant)

    async def _decide(self, attempt: Attempt, grant: Grant) -> Result:
        after, move = claims.matched(attempt, grant, self.clock())
        if move is None:
            return await self._settle(attempt, after)
        await self.store.claim(attempt, after, grant, move, self.clock())
        return "done"

    async def _wait(self, attempt: Attempt, looked_at: float | None) -> Result:
        """Let an attempt wait on, with what may have kept its grant from coming, or ended the one that it waited for."""
        met = await self.store.grant(attempt.grant) if attempt.grant else None
        mishap = await self.store.mishap(attempt.requested_at) if met is None else None
        return await self._settle(attempt, claims.unmatched(attempt, looked_at, self.clock(), mishap, met))

    async def _settle(self, before: Attempt, after: Attempt) -> Result:
        await self.store.settle(before, after)
        return _RESULTS[after.state]

    async def _find(self, attempt: Attempt, wanted: str) -> tuple[Grant | None, bool]:
        """Return the grant that the nonce names, and whether all were looked at that it might name."""
        since = attempt.horizon - claims.OVERLAP if attempt.horizon is not None else None
        found, whole = await self._search(attempt, wanted, since)
        # Ring sends the browser once the code is answered: one that came later is of another connection (decision 19).
        if found and (newest := await self.store.newest(*found, claims.coded_by(attempt))):
            return newest, whole
        grant = await self.store.grant(attempt.grant) if attempt.grant else None
        return grant if grant and grant.pool is not None else await self._own(attempt, wanted), whole

    async def _own(self, attempt: Attempt, wanted: str) -> Grant | None:
        """Return the link of this user that the nonce names, however long it stands: the user may have connected anew."""
        for grant in await self.store.own(attempt.partner_user):
            key = self.keys.get(grant.app) if grant.received_at <= claims.coded_by(attempt) else None
            if key and grant.account and nonce.match(key.reveal().encode(), wanted, attempt.time, [grant.account]):
                return grant
        return None

    async def _search(self, attempt: Attempt, wanted: str, since: float | None) -> Looked:
        """Look through the pool. Among the newest, where it nearly always is, at once; beyond them where there is room."""
        newest = await self.store.page([*self.keys], None, since, FIRST_PAGE)
        found = await self._matched(wanted, attempt.time, newest)
        if found or newest.end is None:
            return Looked(found, self._whole(attempt, others=newest.others))
        with self.depths.enter(attempt.partner_user) as may:
            return await self._beyond(newest, attempt, wanted, since) if may else Looked(None, whole=False)

    async def _beyond(self, newest: Page, attempt: Attempt, wanted: str, since: float | None) -> Looked:
        """Look through what follows; the next page is fetched while a thread goes through this one."""
        found, others, page = None, newest.others, await self._following(newest, since)
        while page and not found:
            look, others = self._matched(wanted, attempt.time, page), others or page.others
            found, page = await asyncio.gather(look, self._following(page, since))
        return Looked(found, self._whole(attempt, others=others))

    def _whole(self, attempt: Attempt, *, others: bool) -> bool:
        """Say whether nothing was left out: of an app whose key is not here, another linker may have it, and gets its time."""
        return not others or self.clock() > attempt.requested_at + OTHERS

    async def _matched(self, wanted: str, time: str, page: Page) -> Found | None:
        async with self.turn:
            return await asyncio.to_thread(_match, self.keys, wanted, time, page)

    async def _following(self, page: Page, since: float | None) -> Page | None:
        return await self.store.page([*self.keys], page.end, since, PAGE) if page.end else None


def _match(keys: Mapping[App, Secret], wanted: str, time: str, page: Page) -> Found | None:
    """Return the account of the page that reproduces the nonce, and the apps under whose own key it does (security 14)."""
    found = dict[App, str]()
    for app, key in keys.items():
        accounts = msgspec.json.decode(page.accounts[app] or "[]", type=list[str])
        if (account := nonce.match(key.reveal().encode(), wanted, time, accounts)) is not None:
            found[app] = account
    return (next(iter(found.values())), [*found]) if found else None
