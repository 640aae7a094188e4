"""Signs deliveries as Standard Webhooks, so that partners verify them with a library or ten lines.

`v1`: HMAC-SHA256 with a secret that both sides hold. `v1a`: ed25519; the service holds a public key, with which nobody can sign.

Source: github.com/standard-webhooks/standard-webhooks, spec/standard-webhooks.md.
"""

import hmac
import re
from binascii import Error, a2b_base64, b2a_base64
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Final, Literal, get_args

from schemas.errors import Misconfigured
from workers.runtime.secrets import Secret
from workers.runtime.signing import PRIVATE, PUBLIC, SigningKey

Scheme = Literal["v1", "v1a"]
Sign = Callable[[bytes], bytes]

SCHEMES: Final[tuple[Scheme, ...]] = get_args(Scheme)
DEFAULT: Final[Scheme] = "v1"
PREFIX: Final = "whsec_"
SHORTEST: Final = 24  # bytes, as the specification has it
_SECRET: Final = re.compile(rf"{PREFIX}[A-Za-z0-9+/]*={{0,2}}")
_PLAIN: Final = re.compile(r"[\x21-\x7e]{1,512}")


def signing(secret: Secret, scheme: Scheme) -> Sign:
    """Return what signs with a secret, or raise Misconfigured, in words that show nothing of it."""
    _check_kind(secret.reveal(), scheme)
    return _SIGNING[scheme](secret)


def _check_kind(text: str, scheme: Scheme) -> None:
    if text.startswith(PUBLIC):
        raise Misconfigured(f"this is a public key ({PUBLIC}…): it is for the service; ringhook needs the {PRIVATE}… of the pair")
    if scheme == "v1" and text.startswith(PRIVATE):
        raise Misconfigured(f'this is a signing key ({PRIVATE}…): say sign = "v1a" for it, or give a secret ({PREFIX}…)')
    if scheme == "v1a" and text.startswith(PREFIX):
        words = f"`ringhook secret --sign v1a` makes a signing key ({PRIVATE}…), or leave sign out"
        raise Misconfigured(f'this is a secret that both sides hold ({PREFIX}…), and sign = "v1a" needs a pair of keys: {words}')


def _hmac(secret: Secret) -> Sign:
    prepared = hmac.new(_key(secret.reveal()), digestmod="sha256")  # copied for each delivery
    return partial(_digest, prepared)


def _digest(prepared: hmac.HMAC, content: bytes) -> bytes:
    mac = prepared.copy()
    mac.update(content)
    return mac.digest()


def _key(text: str) -> bytes:
    if not _SECRET.fullmatch(text):
        raise Misconfigured(f"a destination's secret is {PREFIX} and then base64 (A-Z a-z 0-9 + /)")
    try:
        found = a2b_base64(text[len(PREFIX) :] + "==")
    except Error:
        raise Misconfigured(f"a destination's secret is cut: base64 has no such length after {PREFIX}") from None
    if len(found) < SHORTEST:
        raise Misconfigured(f"a destination's secret must hold at least {SHORTEST} bytes (whsec_ and 32 base64 characters)")
    return found


_SIGNING: Final[Mapping[Scheme, Callable[[Secret], Sign]]] = {"v1": _hmac, "v1a": lambda secret: SigningKey(secret).sign}


class Signer:
    """Signs with one secret, or with both of two while a partner moves from one to the other."""

    def __init__(self, secrets: Sequence[Secret], scheme: Scheme = DEFAULT) -> None:
        """Raise Misconfigured where there is no secret, or one that cannot be used."""
        if not secrets:
            raise Misconfigured("a destination needs a secret: its receiver could not tell our deliveries from anybody's")
        self._signing: Final = tuple(signing(secret, scheme) for secret in secrets)
        self._scheme: Final = scheme

    def headers(self, identity: str, timestamp: int, body: bytes) -> dict[str, str]:
        """Return the three headers of one attempt: `identity` stays the same over attempts, `timestamp` is epoch seconds."""
        name = header_id(identity)
        content = b"%b.%d.%b" % (name.encode(), timestamp, body)
        return {
            "webhook-id": name,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": " ".join(f"{self._scheme},{_text(sign(content))}" for sign in self._signing),
        }


def _text(signature: bytes) -> str:
    return b2a_base64(signature, newline=False).decode()


def header_id(identity: str) -> str:
    """Return the event's id, or its hash where it would not pass as a header (Ring's ids are opaque)."""
    return identity if _PLAIN.fullmatch(identity) else f"sha256:{sha256(identity.encode(errors='surrogatepass')).hexdigest()}"
