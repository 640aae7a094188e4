"""The rows that a transaction holds, and what transitions make of them: decided in memory, read and written by held.py. Pure."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

from msgspec import structs

from linker import claims, saga, view
from linker.moves import Move, Verdict
from linker.rows import EARLY, Account, Attempt, Early, End, Grant, end_of
from linker.schedule import linking
from schemas.errors import Unavailable
from schemas.records import App

Counted = TypeVar("Counted", Grant, Attempt)
Kept = TypeVar("Kept", Account, Grant, Attempt)
REPLACED = "a newer link of this Ring account replaced it"


class Moved(Unavailable):
    """Another linker moved this row in the meantime: look again."""


@dataclass
class Ledger:
    """Rows by their keys, as they are and as transitions make them; of each account that is held, all grants are here."""

    accounts: dict[str, Account]
    grants: dict[str, Grant]
    attempts: dict[str, Attempt]
    forgotten: Collection[str] = ()  # accounts that the operator had forgotten: no grant may name one anew
    early: Mapping[str, Sequence[Early]] = field(default_factory=dict)  # removals told of accounts that a grant may name anew
    freed: set[str] = field(default_factory=set)  # keys of rows whose lease is given back
    heard: dict[str, float] = field(default_factory=dict)  # accounts whose deliveries are to be stopped or freed, and since when
    back: dict[str, float] = field(default_factory=dict)  # accounts that were known, and when a new connection's code came
    unwelcome: set[str] = field(default_factory=set)  # accounts whose rows go
    ends: list[End] = field(default_factory=list)

    def copy(self) -> Self:
        """Return a ledger of the same rows: what is written there is not written here."""
        return replace(
            self,
            accounts=self.accounts.copy(),
            grants=self.grants.copy(),
            attempts=self.attempts.copy(),
            freed=self.freed.copy(),
            heard=self.heard.copy(),
            back=self.back.copy(),
            unwelcome=self.unwelcome.copy(),
            ends=self.ends.copy(),
        )

    def of(self, account: str) -> list[Grant]:
        """Return an account's grants, the newest first."""
        mine = (grant for grant in self.grants.values() if grant.account == account)
        return sorted(mine, key=lambda grant: grant.generation, reverse=True)

    def swap(self, before: Counted, after: Counted, *, keep_lease: bool = False) -> Counted:
        """Put `after` where the row still has `before`'s counter, and return it with its own; else raise Moved."""
        rows, key = self._place(before)
        if key not in rows or rows[key].counter != before.counter:
            raise Moved
        raised = structs.replace(after, counter=before.counter + 1)
        rows[key] = raised
        if not keep_lease:
            self.freed.add(key)
        self.ends += end_of(before, raised)
        return raised

    def _place(self, row: Grant | Attempt) -> tuple[dict[str, Any], str]:
        return (self.grants, row.code_hash) if isinstance(row, Grant) else (self.attempts, row.attempt)

    def arrive(self, before: Grant, move: Move, now: float, *, keep_lease: bool = False) -> Grant | None:
        """Write a transition as `apply` does; one that names an account that was forgotten is turned away."""
        account = move.grant.account
        if account and before.account is None and account in self.forgotten:
            self.unwelcome.add(account)
            move = saga.unwelcome(before, now)
        elif account and move.grant.state != before.state:
            self.heard[account] = now
            move = self._named(move, account, now) if before.account is None else move
        return self.apply(before, move, now, keep_lease=keep_lease and move.grant.due_at is not None)

    def _named(self, move: Move, account: str, now: float) -> Move:
        """Return a move that names an account, in doubt where its removal was told before; one that was known before is back."""
        if self.accounts[account].version > 0:  # in whatever way it stands: a restored store's mending stops what it was told of
            self.back[account] = move.grant.received_at
        for app, removed_at, told_at in self.early.get(account, ()):
            if told_at >= now - EARLY:
                move = structs.replace(move, grant=saga.withdrawn(move.grant, removed_at, now, app=app or None).grant)
        return move

    def apply(self, before: Grant, move: Move, now: float, *, keep_lease: bool = False) -> Grant | None:
        """Write a transition of a grant, whose account is held, and all that follows; return the row where its lease is kept."""
        in_flight = before.stage == move.grant.stage == "refreshing"  # whoever awaits Ring's answer keeps the row
        after = self.swap(before, move.grant, keep_lease=keep_lease or in_flight)
        self._teach(before.attempt, move.verdict, now)
        if after.account:
            if _shown(before) != _shown(after) or move.verdict:
                self._inherit(after.account, now)
                self.see(after.account, now)
            if after.completed_at != before.completed_at:
                self._overtake(after.account, after.app)
        return after if keep_lease and self.grants[after.code_hash] is after else None

    def ask_for(self, before: Grant, move: Move, now: float) -> None:
        """Write a transition as `apply` does, but none of a row that was taken up since it was read; raises Moved."""
        if self.grants.get(before.code_hash) != before:
            raise Moved
        self.apply(before, move, now)

    def see(self, account: str, now: float) -> None:
        """Let the account follow its grants; what a newer completed grant replaced is removed."""
        if account not in self.accounts:
            raise Moved  # it is being forgotten: its grants are swept next
        for old in view.replaced(self.of(account)):
            move = saga.removed(old, REPLACED, now)
            self.swap(old, move.grant)
            self._teach(old.attempt, move.verdict, now)
        self.accounts[account] = view.seen(self.accounts[account], self.of(account), now)

    def _inherit(self, account: str, now: float) -> None:
        """Let the newer tokens serve where a sign-in was told to Ring by a link's, as its own code was slow (decision 19)."""
        mine = self.of(account)
        link = view.serving(mine)
        attempt = self.attempts.get(link.attempt or "") if link and not linking(link) else None
        if link and attempt and (heir := view.heir(mine, link, claims.coded_by(attempt))):
            self.swap(heir, saga.inherited(heir, link, now).grant)
            self.swap(attempt, structs.replace(attempt, grant=heir.code_hash))

    def withdraw(self, account: str, removed_at: float, now: float, app: App | None) -> None:
        """Doubt every grant of an account by this app (None: by any) whose code came before its removal."""
        for grant in self.of(account):
            move = saga.withdrawn(grant, removed_at, now, app=app)
            if move.grant != grant:
                self.swap(grant, move.grant, keep_lease=True)
        if self.ends:
            self.see(account, now)
            self.heard[account] = now

    def collide(self, known: Attempt, second: Attempt, now: float) -> Attempt:
        """Let `second` collide with the attempt that brought its nonce first, as it was `known`; return what it becomes."""
        first = self.attempts.get(known.attempt, known)
        if first.grant != known.grant:
            raise Moved  # it was matched since we looked, and the grant that must be opened again is not in our hands
        grant = self.grants.get(first.grant) if first.grant else None
        one, two = claims.collided(first, second, now)
        if one.state == "contested" and grant and grant.attempt == first.attempt:
            move = saga.unclaimed(grant, Verdict("contested", claims.CONTESTED), now)
            self.apply(grant, structs.replace(move, verdict=None), now)
        if one is not first:
            self.swap(first, one)
        return two

    def _overtake(self, account: str, app: App) -> None:
        for other in view.overtaken(self.of(account), app):
            self.swap(other, structs.replace(other, patched=True))

    def _teach(self, attempt: str | None, verdict: Verdict | None, now: float) -> None:
        if verdict and attempt and (before := self.attempts.get(attempt)):
            self.swap(before, claims.learned(before, verdict, now))


def _shown(grant: Grant) -> tuple[object, ...]:
    """Return by what of a grant its account is seen, and whether the grant may take the account's link over."""
    return grant.state, grant.account, grant.risk, grant.partner_user, view.waits(grant)


def changed(before: Mapping[str, Kept], after: Mapping[str, Kept]) -> Sequence[Kept]:
    """Return the rows that are not what they were, in the order of their keys."""
    return [row for key, row in sorted(after.items()) if row is not before.get(key)]


def made(before: Ledger, makes: Sequence[Callable[[Ledger], object]]) -> tuple[Ledger, list[object]]:
    """Make each transition on what those before it left; one that raises leaves nothing, and its error is its result."""
    results = list[object]()
    for make in makes:
        draft = before.copy()
        try:
            results.append(make(draft))
        except Exception as error:  # noqa: BLE001 - Moved, or a bug: told to whose transition it is
            results.append(error)
        else:
            before = draft
    return before, results
