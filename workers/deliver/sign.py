"""Signs deliveries as Standard Webhooks v1, so that partners verify them with a library or ten lines.

Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

import hmac
import re
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from schemas.errors import Misconfigured
from workers.runtime.secrets import Secret

PREFIX: Final = "whsec_"
SHORTEST: Final = 24  # bytes, as the specification has it
_SECRET: Final = re.compile(rf"{PREFIX}[A-Za-z0-9+/]*={{0,2}}")
_PLAIN: Final = re.compile(r"[\x21-\x7e]{1,512}")


def key(secret: Secret) -> bytes:
    """Return the key of a `whsec_…` secret, or raise Misconfigured, in words that show nothing of it."""
    text = secret.reveal()
    if not _SECRET.fullmatch(text):
        raise Misconfigured(f"a destination's secret is {PREFIX} and then base64 (A-Z a-z 0-9 + /)")
    try:
        found = a2b_base64(text[len(PREFIX) :] + "==")
    except Error:
        raise Misconfigured(f"a destination's secret is cut: base64 has no such length after {PREFIX}") from None
    if len(found) < SHORTEST:
        raise Misconfigured(f"a destination's secret must hold at least {SHORTEST} bytes (whsec_ and 32 base64 characters)")
    return found


class Signer:
    """Signs with one secret, or with both of two while a partner moves from one to the other."""

    def __init__(self, secrets: Sequence[Secret]) -> None:
        """Raise Misconfigured where there is no secret, or one that cannot be used."""
        if not secrets:
            raise Misconfigured("a destination needs a secret: its receiver could not tell our deliveries from anybody's")
        self._prepared: Final = tuple(hmac.new(key(secret), digestmod="sha256") for secret in secrets)  # copied for each delivery

    def headers(self, identity: str, timestamp: int, body: bytes) -> dict[str, str]:
        """Return the three headers of one attempt: `identity` stays the same over attempts, `timestamp` is epoch seconds."""
        name = header_id(identity)
        content = b"%b.%d.%b" % (name.encode(), timestamp, body)
        return {
            "webhook-id": name,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(f"v1,{_signature(prepared, content)}" for prepared in self._prepared),
        }


def _signature(prepared: hmac.HMAC, content: bytes) -> str:
    mac = prepared.copy()
    mac.update(content)
    return b2a_base64(mac.digest(), newline=False).decode()


def header_id(identity: str) -> str:
    """Return the event's id, or its hash where it would not pass as a header (Ring's ids are opaque)."""
    return identity if _PLAIN.fullmatch(identity) else f"sha256:{sha256(identity.encode(errors='surrogatepass')).hexdigest()}"
