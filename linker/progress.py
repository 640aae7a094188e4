"""How far a link and an account have come, for the live page and for /v1; no secret is in it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from linker import claims, refresh
from linker.moves import MENDS, TAP_OR_MEND
from linker.rows import ENDED, LOST, Account, AttemptSteps, GrantStanding, GrantSteps, Mark, Risk
from linker.schedule import NONCE_LIFE
from linker.standing import Standing
from schemas.findings.trying import TRIED_AGAIN, UNTOLD
from schemas.records import App, LinkState

ORDER: Final = ("received", "exchanged", "unclaimed", "signed in", "claimed", "awaiting", "completed")  # within one moment
_POSTED: Final = frozenset({"claimed", "awaiting"})
UNCLAIMED: Final = "nobody has signed in for it yet: the user taps Sign In in the Ring app; its events wait for that"
RELINKED: Final = f"its link was lost, and nobody has signed in for the newer connection yet: {TAP_OR_MEND}"


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt: `steps` are (what happened, when in epoch seconds), `finding` says what is wrong and what to do."""

    state: LinkState
    steps: tuple[Mark, ...]
    finding: str | None = None


class GrantSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One grant of an account."""

    generation: int
    state: LinkState
    steps: tuple[Mark, ...]
    finding: str | None
    attempt: str | None
    partner_user: str | None


class Subscribed(msgspec.Struct, frozen=True, kw_only=True):
    """How an account's subscription stands by Ring's last word, which Ring said at `told_at`."""

    state: str
    plan_id: str | None
    kind: str | None
    expires_at: str | None  # as Ring wrote it
    told_at: float


class AccountSeen(msgspec.Struct, frozen=True, kw_only=True):
    """One account: how it stands, and each of its grants, the newest first."""

    account: str
    state: LinkState
    linked: bool
    generation: int
    version: int
    partner_user: str | None
    last_partner_user: str | None  # whose it was, where it is not linked any more
    changed_at: float
    steps: tuple[Mark, ...]
    finding: str | None
    risk: Risk | None
    tokens_end_at: float | None  # the user must connect the app again then, unless the tokens are renewed before
    subscription: Subscribed | None  # None: Ring never told of one
    grants: tuple[GrantSeen, ...]


class AccountListed(msgspec.Struct, frozen=True, kw_only=True):
    """One account among many."""

    account: str
    state: LinkState
    linked: bool
    partner_user: str | None
    last_partner_user: str | None  # whose it was, where it is not linked any more: who must connect again
    changed_at: float
    risk: Risk | None
    tokens_end_at: float | None
    finding: str | None
    apps: tuple[App, ...]  # of its open grants


class AccountPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of accounts in the order of their ids; `next` is what the page after it follows, None at the end."""

    accounts: tuple[AccountListed, ...]
    next: str | None


@dataclass(frozen=True)
class Explain:
    """Answers from the store; raises Unavailable while it is away."""

    standing: Standing
    clock: Callable[[], float] = time.time

    async def progress(self, attempt: str, partner_user: str | None = None) -> Progress | None:
        """Return the attempt's progress, that of this user alone where one is named; None: nothing is known of it."""
        found = await self._confirmed(attempt, partner_user)
        if found and found.follows:
            found = await self.standing.attempt(found.follows) or found
        if found is None:
            return None
        grant = await self.standing.grant(found.grant) if found.grant else None
        return seen(found, grant, self.clock())

    async def _confirmed(self, attempt: str, partner_user: str | None) -> AttemptSteps | None:
        found = await self.standing.attempt(attempt)
        if found is None or partner_user in {None, found.partner_user}:
            return found
        own = await self.standing.attempt(claims.apart(attempt, partner_user))
        return own or (found if found.partner_user == claims.NOBODY else None)

    async def describe(self, account: str) -> AccountSeen | None:
        """Return how an account stands, None where nothing is known of it."""
        found = await self.standing.account(account)
        if found is None:
            return None
        known, grants = found
        plan = await self.standing.subscription(account)
        shown = next((grant for grant in grants if grant.generation == known.generation), None)
        return AccountSeen(
            account=account,
            state=known.state,
            linked=known.linked,
            generation=known.generation,
            version=known.version,
            partner_user=known.user,
            last_partner_user=known.last_user,
            changed_at=known.changed_at,
            steps=shown.marks if shown else (),
            finding=_explained(known, shown),
            risk=known.risk,
            tokens_end_at=_dies(known, shown),
            subscription=Subscribed(**plan) if plan else None,
            grants=tuple(_seen(grant) for grant in grants),
        )

    async def accounts(self, *, after: str, limit: int, at_risk: bool) -> AccountPage:
        """Return the accounts that follow this id, at most `limit`; `at_risk`: only those."""
        found = await self.standing.listed(after, limit, at_risk=at_risk)
        last = found[-1][0].account if len(found) == limit else None
        return AccountPage(accounts=tuple(_listed(account, grant) for account, grant in found), next=last)


def seen(attempt: AttemptSteps, grant: GrantSteps | None, now: float) -> Progress:
    """Return an attempt's progress together with its grant's; while the grant struggles, its reason is the finding. Pure."""
    mine = grant if grant and grant.attempt == attempt.attempt else None
    untold = mine and _untold(attempt, mine, now)
    finding = attempt.reason or untold or (_finding(mine) if mine else None)
    return Progress(state=attempt.state, steps=_together(attempt.marks, grant.marks if grant else ()), finding=finding)


def _untold(attempt: AttemptSteps, grant: GrantSteps, now: float) -> str | None:
    """Return what a sign-in is told whose ten minutes are over while it waits still: it is never said to have failed.

    A nonce that was not posted in its time ends its sign-in (`saga.begin`): this one may have arrived, and only Ring knows;
    or no linker runs.
    """
    signed_in = dict(attempt.marks).get("signed in", now)
    if attempt.state not in _POSTED or now <= signed_in + NONCE_LIFE:
        return None
    return f"{grant.reason}. {TRIED_AGAIN} {UNTOLD}" if grant.reason else UNTOLD


def _finding(grant: GrantSteps) -> str | None:
    """Return the grant's reason; where a step did not succeed yet, that it goes on."""
    if grant.state == "unclaimed" and not grant.reason:
        return UNCLAIMED
    struggles = grant.reason and grant.tries and grant.state not in ENDED
    return f"{grant.reason}. {TRIED_AGAIN}" if struggles else grant.reason


def _explained(account: Account, grant: GrantStanding | None) -> str | None:
    """Return the finding of an account and the grant that decides how it stands; its link may be lost, and a newer grant open."""
    if grant is None:
        return _mends(account)
    unclaimed = grant.state == "unclaimed" and not grant.reason
    return RELINKED if unclaimed and account.risk in LOST else _finding(grant)


def _dies(account: Account, grant: GrantStanding | None) -> float | None:
    """Return when the user must connect again; None where that is so already, whatever newer tokens wait for their sign-in."""
    return refresh.dies(grant) if grant and account.risk not in LOST else None


def _together(own: Sequence[Mark], grants: Sequence[Mark]) -> tuple[Mark, ...]:
    """Return all marks in the order of their times; what the grant tells too, it tells better.

    But for its completion: the sign-in knows its own, and the grant may have been completed by others.
    """
    ended = {name for name, _ in own} & {"completed"}
    grants = [mark for mark in grants if mark[0] not in ended]
    told = {name for name, _ in grants}
    marks = [*grants, *(mark for mark in own if mark[0] not in told)]
    return tuple(sorted(marks, key=lambda mark: (mark[1], ORDER.index(mark[0]) if mark[0] in ORDER else len(ORDER))))


def _mends(account: Account) -> str | None:
    """Return what is to be done for an account of which no grant is left, since the store was restored."""
    return f"its link is newer than the backup that the store was restored from: {MENDS}" if account.risk in LOST else None


def _seen(grant: GrantStanding) -> GrantSeen:
    return GrantSeen(
        generation=grant.generation,
        state=grant.state,
        steps=grant.marks,
        finding=_finding(grant),
        attempt=grant.attempt,
        partner_user=grant.partner_user,
    )


def _listed(account: Account, grant: GrantStanding | None) -> AccountListed:
    return AccountListed(
        account=account.account,
        state=account.state,
        linked=account.linked,
        partner_user=account.user,
        last_partner_user=account.last_user,
        changed_at=account.changed_at,
        risk=account.risk,
        tokens_end_at=_dies(account, grant),
        finding=_explained(account, grant),
        apps=account.app_ids,
    )
