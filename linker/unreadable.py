"""The sweep that names the accounts whose tokens no configured key opens, before anybody needs them, and takes it back."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from msgspec.structs import replace

from linker.ledger import Moved
from linker.moves import Move
from linker.rows import Grant
from linker.sealed import Sealed
from linker.store import Store
from linker.vault import Vault
from schemas.findings.trying import OURS

PAGE: Final = 200
AT_ONCE: Final = timedelta(milliseconds=20)
REST: Final = timedelta(seconds=25)


@dataclass
class Unreadable:
    """A Sweep. Risk is all it writes: what waits for a step is told by the step."""

    sealed: Sealed
    store: Store
    vault: Vault
    page: int = PAGE
    name: str = "linker.unreadable"
    _after: str = ""

    async def __call__(self, now: datetime) -> timedelta:
        """Mark a page of those that a missing key sealed, and look again at a page of those that are marked."""
        at = now.timestamp()
        missing = [key for key in await self.sealed.in_use() if key not in self.vault.keyring.ids]
        marked = [await self._mark(key, at) for key in missing]
        return AT_ONCE if await self._clear(at) or any(marked) else REST

    async def _mark(self, key: str, now: float) -> bool:
        """Mark a page; say whether there may be more."""
        rows = await self.sealed.unmarked(key, self.page)
        for grant in rows:
            words = f"{OURS}its tokens are sealed with key {key!r}, which is not configured"
            await self._write(grant, replace(grant, risk="unreadable", reason=words), now)
        return len(rows) == self.page

    async def _clear(self, now: float) -> bool:
        """Take it back where the key is there again; say whether there is another page."""
        page = await self.store.listed(self._after, self.page, at_risk=True)
        for _, grant in page:
            if grant and grant.risk == "unreadable" and grant.stage in {"rest", "wait"} and not self.vault.shut(grant, "refresh"):
                await self._write(grant, replace(grant, risk=None, reason=None), now)
        self._after = page[-1][0].account if len(page) == self.page else ""
        return bool(self._after)

    def _opens(self, grant: Grant) -> bool:
        return grant.stage in {"rest", "wait"} and self.vault.shut(grant, "refresh") is None

    async def _write(self, before: Grant, after: Grant, now: float) -> None:
        try:
            await self.store.apply(before, Move(after), now)
        except Moved:
            return  # a step was quicker: it knows better
