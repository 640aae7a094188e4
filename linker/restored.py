"""The sweep that mends a store restored from a backup, where the bus remembers more than the store (decision 15).

First what the bus tells of accounts is believed: those linked since the backup are lost, and named; those removed since are
removed again. Then every account is announced, above all that was told, and every token is renewed: what Ring refuses is lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from linker import history, saga
from linker.rows import ENDED, Account
from linker.setback import PAGE, Mending
from linker.store import Store
from schemas.records import AccountChanged
from workers.bus.contract import Bus
from workers.runtime.setback import FOUND

log = structlog.get_logger()
IDLE: Final = timedelta(seconds=5)
AT_ONCE: Final = timedelta(0)
GONE: Final = "it was removed after the backup that the store was restored from"


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
        elif await self.mending.renew(mark, after, now.timestamp()) is None:
            meaning = "all is announced again and being renewed: `ringhook accounts list --at-risk` names who must connect again"
            log.warning("store.mended", meaning=meaning)
        return AT_ONCE

    async def _believe(self, told: Mapping[str, AccountChanged | None], now: float) -> None:
        names = sorted(told)
        lost = removed = 0
        for at in range(0, len(names), PAGE):
            page = {name: told[name] for name in names[at : at + PAGE]}
            known = await self.mending.known(page)
            unknown = lost_since(page, known, now)
            await self.mending.remember(unknown)
            gone = removed_since(page, known)
            for name in gone:
                await self._remove(name, now)
            lost, removed = lost + len(unknown), removed + len(gone)
        log.warning("store.compared", told=len(told), linked_since=lost, removed_since=removed)

    async def _remove(self, account: str, now: float) -> None:
        """End what the restored store still holds of an account; Moved: a step was quicker, and the whole is tried again."""
        found = await self.store.account(account)
        for grant in found[1] if found else ():
            if grant.state not in ENDED:
                await self.store.apply(grant, saga.removed(grant, GONE, now), now)


def lost_since(told: Mapping[str, AccountChanged | None], known: Mapping[str, int], now: float) -> Sequence[Account]:
    """Return the accounts that were told of and are not in the store: whoever was not removed must connect again."""
    return [
        Account(
            account=name,
            version=said.version,
            generation=said.generation,
            state="lost",
            changed_at=now,
            risk="lost_restored",
        )
        for name, said in told.items()
        if said is not None and name not in known and said.state not in ENDED
    ]


def removed_since(told: Mapping[str, AccountChanged | None], known: Mapping[str, int]) -> Sequence[str]:
    """Return the accounts that the store still holds, and the world was told since that they are removed or forgotten."""
    return [
        name
        for name, said in told.items()
        if name in known and (said is None or (said.state == "removed" and said.version > known[name]))
    ]
