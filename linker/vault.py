"""Tokens at rest: sealed for one place and one write, so that last week's ciphertext pasted into its row does not open."""

from dataclasses import dataclass
from typing import Final, Literal

from msgspec.structs import replace

from linker.outcomes import Tokens
from linker.rows import Grant
from linker.tables import grants
from schemas.errors import Rejected
from schemas.ring import api
from workers.runtime.sealing import KeyMissing, Keyring

Column = Literal["access", "refresh"]
PROOF: Final = b"this key sealed what is stored"


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
            given_at=now,
            expires_at=now + answer.expires_in,
        )

    def open(self, grant: Grant, column: Column) -> str:
        """Return a token of the grant. Rejected: there is none, or the bytes belong elsewhere. KeyMissing names the key's id."""
        sealed = grant.access if column == "access" else grant.refresh
        if sealed is None:
            raise Rejected(f"this grant holds no {column} token", reason="absent")
        return self.keyring.open(sealed, self._place(grant, column)).decode()

    def shut(self, grant: Grant, column: Column) -> str | None:
        """Say why a token that is there cannot be opened, in words for an operator; None where it can, or where there is none."""
        try:
            self.open(grant, column)
        except KeyMissing as error:
            return f"the {column} token is {error}"
        except Rejected as error:
            return None if error.reason == "absent" else f"the {column} token does not open: {error}"
        return None

    def resealed(self, grant: Grant) -> Grant:
        """Return the grant with both tokens sealed by the first key, as the row's next write. Raises as `open` does."""
        later = replace(grant, writes=grant.writes + 1)
        access = self._seal(later, "access", self.open(grant, "access")) if grant.access else None
        refresh = self._seal(later, "refresh", self.open(grant, "refresh")) if grant.refresh else None
        return replace(later, access=access, refresh=refresh)

    def proof(self, key: str) -> bytes:
        """Return what shows later that `key` still stands for the same bytes."""
        return self.keyring.only(key).seal(PROOF, self._proof_of(key))

    def proves(self, key: str, proof: bytes) -> bool:
        """Say whether the configured key of that id is the one that made the proof."""
        try:
            return self.keyring.open(proof, self._proof_of(key)) == PROOF
        except Rejected:
            return False

    def _proof_of(self, key: str) -> tuple[str, ...]:
        return ("key", self.namespace, key)

    def _seal(self, grant: Grant, column: Column, token: str) -> bytes:
        return self.keyring.seal(token.encode(), self._place(grant, column))

    def _place(self, grant: Grant, column: Column) -> tuple[str, ...]:
        return ("token", self.namespace, grants.name, grant.code_hash, column, str(grant.generation), str(grant.writes))
