"""The token broker: lends a serving account's access token, renewed first where it must be; the refresh token never leaves.

It sends nothing to Ring itself: it makes the renewal due, and the sweep of whichever linker comes first does it, so that there
is never a second one beside it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NamedTuple

import msgspec

from linker import refresh, view
from linker.ledger import Moved
from linker.metrics import LENT
from linker.moves import MENDS, Move
from linker.rows import LOST, Account, Grant
from linker.store import Store
from linker.vault import Vault
from schemas.errors import Rejected
from workers.runtime.clock import steady
from workers.runtime.sealing import KeyMissing

PATIENCE: Final = 8.0  # seconds for a renewal that somebody waits for
LOOK: Final = 0.05  # seconds until the first look at it; each later one waits twice as long, at most SLOWEST
SLOWEST: Final = 0.5
FRESH: Final = 60.0  # seconds; a token this young is not renewed again, whoever says that Ring rejected it
SEALED: Final = 30.0  # seconds until a missing key may be back


class Loan(msgspec.Struct, frozen=True, kw_only=True):
    """An access token and when it ends (epoch seconds); or none, why, and after how many seconds asking again may help."""

    access_token: str | None = None
    expires_at: float = 0.0
    words: str = ""
    wait: float | None = None

    def __repr__(self) -> str:
        """Hide the token."""
        return f"Loan(lent={self.access_token is not None}, expires_at={self.expires_at}, words={self.words!r})"


class Ask(NamedTuple):
    """What somebody asks for, since when, and whether they have waited long enough."""

    rejected: str | None
    since: float
    over: bool


@dataclass(frozen=True)
class Broker:
    """Lends access tokens of current completed generations (security 12)."""

    store: Store
    vault: Vault
    wake: asyncio.Event  # the sweep's
    clock: Callable[[], float]
    patience: float = PATIENCE

    async def lend(self, account: str, rejected: str | None) -> Loan | None:
        """Return a loan, None where nothing is known of the account; `rejected`: SHA-256 in hex of a token that Ring refused.

        Raises StoreUnavailable.
        """
        since, give_up, pause = self.clock(), steady() + self.patience, LOOK
        while found := await self.store.account(account):
            loan = await self._look(*found, Ask(rejected, since, over=steady() > give_up))
            if loan:
                return _counted(loan)
            await asyncio.sleep(pause)
            pause = min(SLOWEST, 2 * pause)
        LENT.labels("unknown").inc()
        return None

    async def _look(self, account: Account, grants: Sequence[Grant], ask: Ask) -> Loan | None:
        """Return how it stands; None: a renewal is under way, or was just made due."""
        grant, now = view.serving(grants), self.clock()
        if grant is None:
            return unserved(account, grants)
        try:
            access = self.vault.open(grant, "access")
        except (KeyMissing, Rejected) as error:
            return Loan(words=f"The token of this account cannot be opened: {error}.", wait=SEALED)
        refused = sha256(access.encode()).hexdigest() == (ask.rejected or "").lower()
        if not refused and good(grant, ask, now):
            return Loan(access_token=access, expires_at=grant.expires_at or now)
        loan = pending(grant, now, refused=refused, over=ask.over)
        if loan is None and (move := refresh.wanted(grant, now)):
            await self._demand(grant, move, now)
        return loan

    async def _demand(self, grant: Grant, move: Move, now: float) -> None:
        try:
            await self.store.ask_for(grant, move, now)
        except Moved:
            return  # the sweep was quicker: look again
        self.wake.set()


def good(grant: Grant, ask: Ask, now: float) -> bool:
    """Say whether the token lives for a while; one that was just renewed need only live."""
    fresh = (grant.tokens_at or 0.0) >= ask.since and now < (grant.expires_at or now)
    return fresh or not refresh.stale(grant, now)


def unserved(account: Account, grants: Sequence[Grant]) -> Loan:
    """Say why an account has no token to lend."""
    newest = grants[0] if grants else None
    unsaid = MENDS if account.risk in LOST else "its link is not complete"
    why = newest.reason if newest and newest.reason else unsaid
    return Loan(words=f"This account is {account.state}: {why}.")


def pending(grant: Grant, now: float, *, refused: bool, over: bool) -> Loan | None:
    """Say why a token that must be renewed first cannot be had just now; None: it comes in a moment."""
    if refused and (grant.tokens_at or 0.0) + FRESH > now:
        wait = (grant.tokens_at or 0.0) + FRESH - now
        return Loan(words="This token was renewed less than a minute ago: if Ring rejects it still, ask then.", wait=wait)
    if grant.stage == "refresh" and (grant.due_at or now) > now:
        wait = (grant.due_at or now) - now
        return Loan(words=f"The token is to be renewed, and Ring does not do it just now ({grant.reason}).", wait=wait)
    if over:
        return Loan(words="The token is being renewed, and Ring takes its time.", wait=refresh.BEFORE / 30)
    return None


def _counted(loan: Loan) -> Loan:
    LENT.labels("lent" if loan.access_token else "refused" if loan.wait is None else "later").inc()
    return loan
