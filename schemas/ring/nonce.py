"""The nonce of the Account Link URL: which account it names, and whether its time is still good.

base64url without padding of HMAC-SHA256(key, "<time>:<account id>"), 43 characters, good for 600 s after `time`.
Source: developer.amazon.com/docs/ring/account-linking.html.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from enum import Enum
from hashlib import sha256
from typing import Final

WINDOW: Final = timedelta(seconds=600)
SKEW: Final = timedelta(seconds=60)
BLOCK: Final = 64  # bytes of SHA-256's block
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_TIME: Final = re.compile(r"[0-9]{13}", re.ASCII)


class Freshness(Enum):
    """What the `time` of a redirect says about its nonce."""

    FRESH = "fresh"
    STALE = "stale"  # older than 600 s
    FUTURE = "future"  # more than 60 s ahead of our clock
    MALFORMED = "malformed"  # not 13 ASCII digits


def make(key: bytes, time: str, account_id: str) -> str:
    """Return the nonce Ring makes for this account at this `time` (13 digits of epoch milliseconds)."""
    return _encode(hmac.digest(key, _message(time, account_id), "sha256"))


def match(key: bytes, nonce: str, time: str, account_ids: Iterable[str]) -> str | None:
    """Return the first account that reproduces the nonce, or None; each is compared in constant time.

    Costs about a microsecond per account, in one go: call it with bounded chunks, off the event loop. Lazy iterables are
    read no further than the match.
    """
    wanted = _decode(nonce)
    if wanted is None:
        return None
    begun, outer = _halves(key, _message(time, ""))
    for account in account_ids:
        inner, mac = begun.copy(), outer.copy()
        inner.update(account.encode(errors="surrogatepass"))
        mac.update(inner.digest())
        if hmac.compare_digest(mac.digest(), wanted):
            return account
    return None


def well_formed(nonce: str) -> bool:
    """Say whether this can be a nonce at all: 43 characters of base64url that 32 bytes encode to."""
    return _decode(nonce) is not None


def check_time(time: str, now: datetime) -> Freshness:
    """Return whether a nonce of this `time` may be used `now` (aware)."""
    sent = sent_at(time)
    if sent is None:
        return Freshness.MALFORMED
    if sent > now + SKEW:
        return Freshness.FUTURE
    return Freshness.STALE if now - sent > WINDOW else Freshness.FRESH


def sent_at(time: str) -> datetime | None:
    """Return the moment that a `time` names, or None where it is malformed."""
    return _EPOCH + timedelta(milliseconds=int(time)) if _TIME.fullmatch(time) else None


def _halves(key: bytes, message: bytes) -> "tuple[hashlib._Hash, hashlib._Hash]":
    """Return the inner hash of HMAC-SHA256, begun with the message, and the outer one (RFC 2104): copies cost less than HMACs."""
    padded = (sha256(key).digest() if len(key) > BLOCK else key).ljust(BLOCK, b"\0")
    return sha256(padded.translate(_INNER) + message), sha256(padded.translate(_OUTER))


def _message(time: str, account_id: str) -> bytes:
    return f"{time}:{account_id}".encode(errors="surrogatepass")


def _encode(digest: bytes) -> str:
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _decode(nonce: str) -> bytes | None:
    if not _NONCE.fullmatch(nonce):
        return None
    digest = urlsafe_b64decode(nonce + "=")
    return digest if _encode(digest) == nonce else None  # the last character has two spare bits: one spelling is right
