"""Signatures that one party makes and all can check: ed25519, by keys as Standard Webhooks writes them.

Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md: `whsk_` or `whpk_`, then base64. It does not
say how a private key is written: both are taken, libsodium's 64 bytes (the seed, the public key) and the 32 of the seed alone.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error
from typing import Final

import nacl.signing

from schemas.errors import Misconfigured
from workers.runtime.secrets import Secret

PRIVATE: Final = "whsk_"
PUBLIC: Final = "whpk_"
_SEED: Final = 32  # bytes, as the public key's
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}", re.ASCII)


class SigningKey:
    """A private key; its repr shows nothing of it."""

    def __init__(self, secret: Secret) -> None:
        """Take `whsk_…`, or raise Misconfigured, in words that show nothing of it."""
        self._key: Final = nacl.signing.SigningKey(_seed(secret.reveal()))

    @property
    def public(self) -> str:
        """The `whpk_…` by which its signatures are checked."""
        return PUBLIC + b64encode(bytes(self._key.verify_key)).decode()

    def sign(self, content: bytes) -> bytes:
        """Return the 64 bytes of a signature."""
        return self._key.sign(content).signature


def generate() -> Secret:
    """Return a new `whsk_…`."""
    key = nacl.signing.SigningKey.generate()
    return Secret(PRIVATE + b64encode(bytes(key) + bytes(key.verify_key)).decode())


def _seed(text: str) -> bytes:
    found = _decoded(text.removeprefix(PRIVATE)) if text.startswith(PRIVATE) else None
    if found is None or len(found) not in (_SEED, 2 * _SEED):
        raise Misconfigured(f"a signing key is {PRIVATE} and then base64 of 32 or 64 bytes")
    seed, public = found[:_SEED], found[_SEED:]
    if public and bytes(nacl.signing.SigningKey(seed).verify_key) != public:
        raise Misconfigured("the two halves of the signing key do not belong together: it was altered, or put together of two")
    return seed


def _decoded(text: str) -> bytes | None:
    try:
        return b64decode(text.rstrip("=") + "==") if _BASE64.fullmatch(text) else None
    except Error:
        return None
