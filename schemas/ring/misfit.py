"""Why a webhook's signature does not fit: the mistakes that are usually behind it, tried one after the other. It accepts nothing.

For the findings alone, on samples (security 9): some fifteen HMACs over a body, and its JSON read and written twice.
"""

import binascii
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from typing import Final, Literal

from schemas.ring.signature import PREFIX

LONGEST: Final = 64 * 1024  # bytes of a body; a longer one is not looked into

Misfit = Literal[
    "body_rewritten",  # the same JSON, in other bytes
    "body_line_end",  # a line end was added or cut
    "signature_base64",  # the right bytes in base64, not in hex
    "key_line_end",  # our key has a line end or a space more, or less, than Ring's
    "key_quoted",  # our key is in quotes
    "key_encoded",  # our key is the base64 of Ring's
    "key_decoded",  # our key is what base64 makes of Ring's
    "key_hex",  # our key is Ring's in hex, or the other way round
]


def misfit(keys: Iterable[bytes], header: str | None, body: bytes) -> Misfit | None:
    """Return the mistake by which this signature would fit, None where none of these does; never raises."""
    if not header or len(body) > LONGEST:
        return None
    text = header[len(PREFIX) :] if header[: len(PREFIX)].lower() == PREFIX else header
    given, other = _hex(text), _base64(text)
    for key in keys:
        if other is not None and _signs(key, body, other):
            return "signature_base64"
        if given is not None and (why := _first(key, body, given)):
            return why
    return None


def _first(key: bytes, body: bytes, given: bytes) -> Misfit | None:
    bodies = ((why, key, other) for why, other in _bodies(body))
    others = ((why, other, body) for why, other in _keys(key))
    return next((why for why, one, it in (*others, *bodies) if _signs(one, it, given)), None)


def _signs(key: bytes, body: bytes, given: bytes) -> bool:
    return hmac.compare_digest(hmac.digest(key, body, "sha256"), given)


def _bodies(body: bytes) -> Iterator[tuple[Misfit, bytes]]:
    """Yield what the body may have been before something on the way wrote it anew."""
    yield from (("body_line_end", one) for one in {body.strip(), body + b"\n", body + b"\r\n"} - {body})
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return
    forms = [(separators, ascii_) for separators in ((",", ":"), (", ", ": ")) for ascii_ in (False, True)]
    for separators, ascii_ in forms:
        try:
            written = json.dumps(read, separators=separators, ensure_ascii=ascii_).encode()
        except (ValueError, RecursionError):  # a lone surrogate
            continue
        if written != body:
            yield "body_rewritten", written


def _keys(key: bytes) -> Iterator[tuple[Misfit, bytes]]:
    """Yield what Ring's key may be, where ours is not just that."""
    yield from (("key_line_end", one) for one in {key.strip(), key + b"\n", key + b"\r\n", key + b" "} - {key})
    if key[:1] == key[-1:] and key[:1] in {b'"', b"'"}:
        yield "key_quoted", key[1:-1]
    decoded = _base64(key.decode(errors="replace"))
    if decoded is not None:
        yield "key_encoded", decoded
    yield "key_decoded", b64encode(key)
    yield "key_hex", key.hex().encode()
    if (plain := _hex(key.decode(errors="replace"))) is not None:
        yield "key_hex", plain


def _hex(text: str) -> bytes | None:
    try:
        return binascii.unhexlify(text)
    except ValueError:  # not hex, or not ASCII
        return None


def _base64(text: str) -> bytes | None:
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError:
        return None
