"""The sweep that mends a store restored from a backup, where the bus remembers more than the store (decision 15).

First what the bus tells of accounts is believed: those linked since the backup, anew or for the first time, are lost, and named
with whose they are; those removed since are removed again; those that came back since are stopped no more. Then every account is
announced, above all that was told, and every token is renewed: what Ring refuses is lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog
from msgspec.structs import replace

from linker import history, refresh, saga, view
from linker.moves import Move
from linker.rows import ENDED, Account, Grant
from linker.setback import PAGE, Mending, Stood, removed_after
from linker.store import Store
from schemas.records import AccountChanged
from workers.bus.contract import Bus
from workers.runtime.setback import COPIED, FOUND, MEANING

log = structlog.get_logger()
IDLE: Final = timedelta(seconds=5)
AT_ONCE: Final = timedelta(0)
SOON: Final = timedelta(seconds=0.2)  # until it is looked again whether all is told
GONE: Final = "it was removed after the backup that the store was restored from"
ANEW: Final = "it was linked anew after the backup that the store was restored from"


@dataclass(frozen=True)
class Restored:
    """A Sweep. Each part may be done twice: a kill in the middle, or another linker beside it, does no harm."""

    mending: Mending
    store: Store
    bus: Bus
    quiet: float = history.QUIET
    name: str = "linker.restored"

    async def __call__(self, now: datetime) -> timedelta:
        """Do the next part of the mending; Unavailable: try it again."""
        mark = await self.mending.mark()
        if mark is None:
            return IDLE
        part, _, after = mark.partition(":")
        if mark == COPIED:
            log.error("store.set_back", copied=True, meaning=MEANING)
            await self.mending.advance(mark, FOUND)
        elif part == FOUND:
            await self._believe(await history.told(self.bus, self.quiet), now.timestamp())
            await self.mending.advance(mark, "accounts:")
        elif part == "accounts":
            await self.mending.leap(mark, after)
        elif part == "grants":
            await self.mending.renew(mark, after, now.timestamp())
        elif await self.store.behind(1):
            return SOON
        else:  # dispatch reads on now, and all of it stands on the bus
            await self.mending.advance(mark, None)
            meaning = "all is announced again and being renewed: `ringhook accounts list --at-risk` names who must connect again"
            log.warning("store.mended", meaning=meaning)
        return AT_ONCE

    async def _believe(self, told: Mapping[str, AccountChanged | None], now: float) -> None:
        names = sorted(told)
        lost = removed = 0
        for at in range(0, len(names), PAGE):
            page = {name: told[name] for name in names[at : at + PAGE]}
            known = await self.mending.known(page)
            unknown, gone = lost_since(page, known, now), removed_since(page, known)
            # Each before versions are as told: what is news is told by them.
            await self.mending.free({said.account: said.at.timestamp() for said in came_back_since(page, known)})
            last = {name: said.generation if (said := page[name]) else None for name in gone}
            await self.mending.stop(last, ended_since(page, known, now), now)
            await self.mending.remember(unknown)
            for said in (anew := outdated(page, known)):
                await self._outdate(said, now)
            for name in gone:
                await self._remove(name, page[name], now)
            await self.mending.rise({name: said.version for name, said in page.items() if said})
            lost, removed = lost + len(unknown) + len(anew), removed + len(gone)
        log.warning("store.compared", told=len(told), linked_since=lost, removed_since=removed)

    async def _outdate(self, said: AccountChanged, now: float) -> None:
        """End the links that did not serve last: they may have been another user's; the tokens of the one that did are gone."""
        if (found := await self.store.account(said.account)) is None:
            return
        account, grants = found
        over = [grant for grant in grants if ends(grant, said)]
        for grant in over:
            move = refresh.lost(replace(grant, partner_user=said.whose or grant.partner_user), "lost_restored", ANEW, now)
            await self.store.apply(grant, move, now)
        if not over:
            await self._name(grants, said, now)
            since = removed_after(account, said.at.timestamp())
            await self.mending.note(gone(said, now) if since else lost(said, now))

    async def _remove(self, name: str, said: AccountChanged | None, now: float) -> None:
        """End what the restored store still holds of an account, as whose it was last; Moved: a step was quicker.

        A grant whose code came after that of the connection that was told of stands: the user has connected anew.
        """
        if (found := await self.store.account(name)) is None:
            return
        stood, grants = found
        over = [grant for grant in grants if grant.state not in ENDED and not _is_later(grant, said)]
        for grant in over:
            last = replace(grant, partner_user=(said.whose if said else None) or grant.partner_user)
            await self.store.apply(grant, saga.removed(last, GONE, now), now)
        if over:
            return
        if said:
            await self._name(grants, said, now)
        await self.mending.note(gone(said, now) if said else replace(stood, state="removed", risk=None, changed_at=now))

    async def _name(self, grants: Sequence[Grant], said: AccountChanged, now: float) -> None:
        """Let the grant that ended last be of whom the account was last told to be, since none that is open was theirs."""
        last = view.ended_last(grant for grant in grants if not _is_later(grant, said))
        if last:
            await self.store.apply(last, Move(replace(last, partner_user=said.whose or last.partner_user)), now)


def _is_later(grant: Grant, said: AccountChanged | None) -> bool:
    """Say whether a grant's code came after that of the connection that was told of; of who was forgotten nothing stands."""
    return said is not None and grant.generation > said.generation


def lost_since(told: Mapping[str, AccountChanged | None], known: Mapping[str, Stood], now: float) -> Sequence[Account]:
    """Return the accounts that were told of and are not in the store: whoever was not removed must connect again."""
    return [
        lost(said, now)
        for name, said in told.items()
        if said is not None and name not in known and (said.state not in ENDED or said.reconnect)
    ]


def ended_since(told: Mapping[str, AccountChanged | None], known: Mapping[str, Stood], now: float) -> Sequence[Account]:
    """Return the accounts that are not in the store and were told of as removed: what they become is told above that."""
    return [gone(said, now) for name, said in told.items() if said is not None and name not in known and said.state == "removed"]


def lost(said: AccountChanged, now: float) -> Account:
    """Return the account of which nothing is left but what the world was told."""
    return Account(
        account=said.account,
        version=said.version,
        generation=said.generation,
        state="lost",
        partner_user=said.whose,
        changed_at=now,
        risk="lost_restored",
    )


def gone(said: AccountChanged, now: float) -> Account:
    """Return the account that was removed, as whose it was told to be last."""
    return replace(lost(said, now), state="removed", risk=None)


def outdated(told: Mapping[str, AccountChanged | None], known: Mapping[str, Stood]) -> Sequence[AccountChanged]:
    """Return what was told of the accounts that the store knows, where another link than its own served last, or none."""
    return [
        said
        for name, said in told.items()
        if said is not None and name in known and said.state != "removed" and _is_news(known[name], said)
    ]


def _is_news(stood: Stood, said: AccountChanged) -> bool:
    if said.version <= stood.version:
        return False
    if said.linked:
        return not stood.linked or said.generation != stood.generation
    return stood.linked or _must_reconnect(said)


def _must_reconnect(said: AccountChanged) -> bool:
    """Say whether a loss is all that was told last: with a newer grant on its way that may complete yet."""
    return said.reconnect and said.state in ENDED


def ends(grant: Grant, said: AccountChanged) -> bool:
    """Say whether what was told last ends a grant: one on its way goes on, unless another has served since."""
    overtaken = said.linked or _must_reconnect(said)
    return grant.state not in ENDED and grant.generation <= said.generation and (overtaken or grant.state == "completed")


def came_back_since(told: Mapping[str, AccountChanged | None], known: Mapping[str, Stood]) -> Sequence[AccountChanged]:
    """Return what was told since of accounts, and not as removed: the stop of an earlier removal is theirs no more."""
    return [
        said for name, said in told.items() if said is not None and said.state != "removed" and _is_newer(said, known.get(name))
    ]


def removed_since(told: Mapping[str, AccountChanged | None], known: Mapping[str, Stood]) -> Sequence[str]:
    """Return the accounts that were told of since as removed, known here or not, and those here that were to be forgotten."""
    return [
        name
        for name, said in told.items()
        if (name in known if said is None else said.state == "removed" and _is_newer(said, known.get(name)))
    ]


def _is_newer(said: AccountChanged, stood: Stood | None) -> bool:
    return stood is None or said.version > stood.version
