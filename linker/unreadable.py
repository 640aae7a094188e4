"""The sweep that names the accounts whose tokens no configured key opens, before anybody needs them, and takes it back."""

from dataclasses import dataclass, field
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
    _after: dict[str, str] = field(default_factory=dict)

    async def __call__(self, now: datetime) -> timedelta:
        """Mark a page of what each missing key sealed, and take the mark back in a page of what each other key did."""
        there, at = self.vault.keyring.ids, now.timestamp()
        more = [await (self._clear if key in there else self._mark)(key, at) for key in await self.sealed.in_use()]
        return AT_ONCE if any(more) else REST

    async def _mark(self, key: str, now: float) -> bool:
        """Mark a page; say whether there may be more."""
        rows = await self.sealed.unmarked(key, self.page)
        for grant in rows:
            words = f"{OURS}its tokens are sealed with key {key!r}, which is not configured"
            await self._write(grant, replace(grant, risk="unreadable", reason=words), now)
        return len(rows) == self.page

    async def _clear(self, key: str, now: float) -> bool:
        """Take it back in a page of what a key sealed that is there again; say whether there may be more."""
        page = await self.sealed.marked(key, self._after.get(key, ""), self.page)
        for grant in page:
            if self.vault.shut(grant, "refresh") is None:
                await self._write(grant, replace(grant, risk=None, reason=None), now)
        self._after[key] = page[-1].code_hash if len(page) == self.page else ""
        return len(page) == self.page

    async def _write(self, before: Grant, after: Grant, now: float) -> None:
        try:
            await self.store.apply(before, Move(after), now)
        except Moved:
            return  # a step was quicker: it knows better
