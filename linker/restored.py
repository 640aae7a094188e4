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
from linker.setback import PAGE, Mending, Stood
from linker.store import Store
from schemas.records import AccountChanged
from workers.bus.contract import Bus
from workers.runtime.setback import FOUND

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
        if part == FOUND:
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
            await self.mending.free(came_back_since(page, known))  # before versions are as told; so is the next
            await self.mending.stop(gone, now)
            await self.mending.remember([*unknown, *ended_since(page, known, now)])
            for said in (anew := outdated(page, known)):
                await self._outdate(said, now)
            for name in gone:
                await self._remove(name, page[name], now)
            lost, removed = lost + len(unknown) + len(anew), removed + len(gone)
        log.warning("store.compared", told=len(told), linked_since=lost, removed_since=removed)

    async def _outdate(self, said: AccountChanged, now: float) -> None:
        """End the links that did not serve last: they may have been another user's; the tokens of the one that did are gone."""
        found = await self.store.account(said.account)
        open_ = [grant for grant in (found[1] if found else ()) if grant.state not in ENDED]
        for grant in open_:
            if ends(grant, said):
                move = refresh.lost(replace(grant, partner_user=said.whose or grant.partner_user), "lost_restored", ANEW, now)
                await self.store.apply(grant, move, now)
        if not open_:  # no grant is left that could say so
            await self.mending.note(lost(said, now))

    async def _remove(self, account: str, said: AccountChanged | None, now: float) -> None:
        """End what the restored store still holds of an account, as whose it was last; Moved: a step was quicker."""
        found = await self.store.account(account)
        grants = found[1] if found else []
        whose = said.whose if said else None
        last_ended = view.ended_last(grants)
        for grant in [grant for grant in grants if grant.state not in ENDED] or ([last_ended] if last_ended else []):
            last = replace(grant, partner_user=whose or grant.partner_user)
            move = Move(last) if grant.state in ENDED else saga.removed(last, GONE, now)
            await self.store.apply(grant, move, now)


def lost_since(told: Mapping[str, AccountChanged | None], known: Mapping[str, Stood], now: float) -> Sequence[Account]:
    """Return the accounts that were told of and are not in the store: whoever was not removed must connect again."""
    return [
        lost(said, now)
        for name, said in told.items()
        if said is not None and name not in known and (said.state not in ENDED or said.reconnect)
    ]


def ended_since(told: Mapping[str, AccountChanged | None], known: Mapping[str, Stood], now: float) -> Sequence[Account]:
    """Return the accounts that are not in the store and were told of as removed: what they become is told above that."""
    gone = (said for name, said in told.items() if said is not None and name not in known and said.state == "removed")
    return [replace(lost(said, now), state="removed", risk=None) for said in gone]


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
    return stood.linked or said.reconnect


def ends(grant: Grant, said: AccountChanged) -> bool:
    """Say whether what was told last ends an open grant: one on its way goes on, unless another has served since."""
    overtaken = said.linked or said.reconnect
    return grant.generation <= said.generation and (overtaken or grant.state == "completed")


def came_back_since(told: Mapping[str, AccountChanged | None], known: Mapping[str, Stood]) -> Sequence[str]:
    """Return the accounts that were told of since, and not as removed: the stop of an earlier removal is theirs no more."""
    return [
        name for name, said in told.items() if said is not None and said.state != "removed" and _is_newer(said, known.get(name))
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
