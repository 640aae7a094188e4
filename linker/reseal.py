"""The sweep that brings every token under the first key, while traffic runs: after it the old key may go."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import structlog

from linker.metrics import RESEALED, VAULT_ROWS
from linker.rows import Grant
from linker.sealed import AWAKE, Key, Sealed
from linker.vault import Vault
from schemas.errors import Misconfigured, Rejected

log = structlog.get_logger()
CHUNK: Final = 100  # rows of one transaction: it holds them, and SQLite's turn to write, for some 20 ms
PAUSE: Final = timedelta(milliseconds=20)  # between two chunks, for those who wait for their turn
SOON: Final = timedelta(seconds=2)
REST: Final = timedelta(seconds=25)  # below the sweeps' longest pause, and well below AWAKE
SAMPLE: Final = 3


async def check(sealed: Sealed, vault: Vault) -> None:
    """Raise Misconfigured where the id of a configured key stands for other bytes than those that sealed what is stored."""
    known = await sealed.known()
    for key in vault.keyring.ids:
        proven = vault.proves(key, known[key].proof) if key in known else await _opens_some(sealed, vault, key)
        if not proven:
            raise Misconfigured(
                f"RINGHOOK_VAULT_KEYS: {key!r} is not the key that sealed what the store holds under this id. Put the right one "
                "back; a new key needs an id of its own (`ringhook keys add` makes one). Nothing was changed"
            )
    await sealed.prove({key: vault.proof(key) for key in vault.keyring.ids if key not in known})


async def _opens_some(sealed: Sealed, vault: Vault, key: str) -> bool:
    """Say whether a key without a proof opens one of its rows; where it has none, it may be new."""
    rows = await sealed.some(key, SAMPLE)
    return not rows or any(vault.shut(row, "access") is None for row in rows)


def yields(first: str, known: Mapping[str, Key]) -> bool:
    """Say whether linkers that began to seal with another key later are at work: in mid-deploy the newer configuration counts."""
    mine = known[first].began_ago if first in known else None
    others = (key for name, key in known.items() if name != first and key.seen_ago is not None and key.seen_ago < AWAKE)
    return any(key.began_ago is not None and mine is not None and key.began_ago < mine for key in others)


@dataclass
class Reseal:
    """A Sweep. It finds rows by their key's id in an index, so that it costs nothing where all is sealed with the first key."""

    sealed: Sealed
    vault: Vault
    chunk: int = CHUNK
    alone: bool = False  # no other linker can live: what a former one said of its key is over
    name: str = "linker.reseal"
    _keys: list[str] = field(default_factory=list)  # still to be worked through in this pass
    _after: str = ""
    _changed: int = 0
    _told: Mapping[str, int] = field(default_factory=dict)

    async def __call__(self, now: datetime) -> timedelta:
        """Re-seal a chunk of rows; come back at once where there are more. Misconfigured: a key is not the one it was."""
        del now
        if not self._keys:
            self._keys, self._after, self._changed = await self._survey(), "", 0
        if not self._keys:
            return REST
        page = await self.sealed.reseal(self._keys[0], self._after, self.chunk, self._again)
        RESEALED.inc(page.resealed)
        self._changed += page.resealed
        if page.last is not None:
            self._after = page.last
            return PAUSE
        log.info("vault.resealed", key=self._keys.pop(0), rows=self._changed, left_shut=page.shut)
        self._after = ""
        return PAUSE if self._keys else SOON if self._changed else REST

    async def _survey(self) -> list[str]:
        """Say that we live, count what each key holds, and return the keys whose rows are to be re-sealed."""
        await check(self.sealed, self.vault)
        first, ids = self.vault.keyring.first, self.vault.keyring.ids
        await self.sealed.sealing(first, alone=self.alone)
        counts = await self.sealed.counts([key for key in await self.sealed.in_use() if key != first])
        older = [key for key in counts if key in ids]
        missing = {key: count for key, count in counts.items() if key not in ids}
        VAULT_ROWS.labels("older").set(sum(counts[key] for key in older))
        VAULT_ROWS.labels("missing").set(sum(missing.values()))
        self._tell(missing)
        return [] if yields(first, await self.sealed.known()) else older

    def _tell(self, missing: Mapping[str, int]) -> None:
        """Tell each key that is missing when it is found so, and its end."""
        for key in missing.keys() - self._told.keys():
            meaning = "tokens wait under a key that is not configured: put it back into RINGHOOK_VAULT_KEYS and they open"
            log.error("vault.key_missing", key=key, rows=missing[key], meaning=meaning)
        for key in self._told.keys() - missing.keys():
            log.info("vault.key_back", key=key)
        self._told = missing

    def _again(self, grant: Grant) -> Grant | None:
        try:
            return self.vault.resealed(grant)
        except Rejected as error:
            log.warning("vault.shut", grant=grant.code_hash[:12], why=str(error))
            return None
