"""The signature of a webhook: HMAC-SHA256 over the raw body, in hex. The nonce uses the same key in another encoding.

Source: developer.amazon.com/docs/ring/notifications.html.
"""

import hmac
from binascii import unhexlify
from collections.abc import Mapping
from typing import Final, Literal

from schemas.records import App

HEADER: Final = "X-Signature"
PREFIX: Final = "sha256="

Refusal = Literal["missing", "malformed", "mismatch"]


def sign(key: bytes, body: bytes) -> str:
    """Return the value of `X-Signature` that Ring sends with this body."""
    return PREFIX + hmac.digest(key, body, "sha256").hex()


def verify(keys: Mapping[App, bytes], header: str | None, body: bytes) -> App | None:
    """Return the app whose key signed the body, or None for every kind of bad header; never raises.

    The prefix may be missing or upper-case, the hex may be upper-case; 32 raw bytes are compared in constant time. Keys are
    the UTF-8 bytes of what the portal shows.
    """
    given = _given(header)
    if given is None:
        return None
    for app, key in keys.items():
        if hmac.compare_digest(hmac.digest(key, body, "sha256"), given):
            return app
    return None


def refusal(header: str | None) -> Refusal:
    """Return why a header that `verify` refused was refused: a metric's label."""
    if not header:
        return "missing"
    return "malformed" if _given(header) is None else "mismatch"


def _given(header: str | None) -> bytes | None:
    if not header:
        return None
    text = header[7:] if header[:7].lower() == PREFIX else header
    if len(text) != 64:  # noqa: PLR2004 - SHA-256 in hex
        return None
    try:
        return unhexlify(text)
    except ValueError:  # not hex, not ASCII, a lone surrogate
        return None
