"""Tokens at rest: sealed for one place and one write, so that last week's ciphertext pasted into its row does not open."""

from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from linker.outcomes import Tokens
from linker.rows import Grant
from linker.tables import grants
from schemas.errors import Rejected
from schemas.ring import api
from workers.runtime.sealing import Keyring

Column = Literal["access", "refresh"]


@dataclass(frozen=True)
class Vault:
    """Seals and opens the tokens of a grant (security 10)."""

    keyring: Keyring
    namespace: str

    def seal(self, grant: Grant, answer: api.Tokens, now: float) -> Tokens:
        """Return what the grant's next write shall hold; where Ring gave no new refresh token, the old one stands."""
        later = replace(grant, writes=grant.writes + 1)
        refresh = answer.refresh_token or (self.open(grant, "refresh") if grant.refresh else None)
        return Tokens(
            access=self._seal(later, "access", answer.access_token),
            refresh=self._seal(later, "refresh", refresh) if refresh else None,
            writes=later.writes,
            expires_at=now + answer.expires_in,
        )

    def open(self, grant: Grant, column: Column) -> str:
        """Return a token of the grant. Rejected: there is none, or the bytes belong elsewhere. KeyMissing names the key's id."""
        sealed = grant.access if column == "access" else grant.refresh
        if sealed is None:
            raise Rejected(f"this grant holds no {column} token", reason="absent")
        return self.keyring.open(sealed, self._place(grant, column)).decode()

    def _seal(self, grant: Grant, column: Column, token: str) -> bytes:
        return self.keyring.seal(token.encode(), self._place(grant, column))

    def _place(self, grant: Grant, column: Column) -> tuple[str, ...]:
        return ("token", self.namespace, grants.name, grant.code_hash, column, str(grant.generation), str(grant.writes))
