"""Secrets at rest and between roles: the only importer of PyNaCl besides `signing`.

Codes and nonces cross the bus in a sealed box, which the edge can make and only the linker can open. Tokens and cookies are
sealed with XChaCha20-Poly1305 under the first key of a ring; every key of the ring opens. Sealed bytes begin with the version
and the id of their key, so that keys can change while old ones still open.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Mapping, Sequence
from typing import Final, Self

from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from nacl.secret import Aead
from nacl.utils import random

from schemas.errors import Misconfigured, Rejected, Unavailable

KEY_SIZE: Final = 32
_VERSION: Final = 1
NOBODY: Final = "?"
UNKNOWN_KEY: Final = "unknown_key"
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)
_NAMED: Final = re.compile(r"\s*([A-Za-z0-9_-]{1,32}):([A-Za-z0-9+/_-]{43}=?)\s*", re.ASCII)


class KeyMissing(Unavailable):
    """A key that sealed what is stored is not configured any more: put it back and it opens."""


class Keyring:
    """Seals under its first key and opens with any; `context` says where sealed bytes belong, and elsewhere they do not open."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = dict(keys)
        self._boxes = {name: Aead(key) for name, key in keys.items()}
        self._first = next(iter(keys))

    @property
    def first(self) -> str:
        """The id of the key that seals."""
        return self._first

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all keys, the one that seals first."""
        return tuple(self._boxes)

    def only(self, name: str) -> "Keyring":
        """Return a ring of this one key."""
        return Keyring({name: self._keys[name]})

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `id:base64,id:base64` (32 bytes each), or raise Misconfigured without showing any of it."""
        return cls(_keys(text))

    def seal(self, plaintext: bytes, context: Sequence[str]) -> bytes:
        """Return `plaintext` sealed for this context: purpose, namespace, table, row, column, generation, write counter."""
        header = _header(self._first)
        return header + bytes(self._boxes[self._first].encrypt(plaintext, header + _associated(context)))

    def open(self, sealed: bytes, context: Sequence[str]) -> bytes:
        """Return what was sealed for this context.

        Raises KeyMissing, naming the key's id, where the ring lacks it; Rejected (`tampered`) for altered bytes, or bytes from
        another place.
        """
        name, rest = _split(sealed)
        if name not in self._boxes:
            raise KeyMissing(f"sealed with key {name!r}, which is not configured (only {', '.join(self._boxes)}): put it back")
        try:
            return self._boxes[name].decrypt(rest, _header(name) + _associated(context))
        except (CryptoError, ValueError) as error:
            raise Rejected("sealed bytes were altered, or belong elsewhere", reason="tampered") from error

    def __repr__(self) -> str:
        """Name the keys, never show them."""
        return f"Keyring({', '.join(self._boxes)})"


class CodeSealer:
    """Seals what only the linker may read: holds a public key, so it cannot open what it sealed."""

    def __init__(self, public_key: str) -> None:
        """Take `id:base64` as `ringhook init` wrote it, or raise Misconfigured."""
        keys = _keys(public_key)
        if len(keys) != 1:
            raise Misconfigured("one public key seals codes: give a single id:base64")
        ((self._name, key),) = keys.items()
        self._box = SealedBox(PublicKey(key))
        try:
            self._box.encrypt(b"")
        except CryptoError:
            raise Misconfigured(
                f"nothing can be sealed to the public key {self._name}: `ringhook init` makes a good pair"
            ) from None

    def seal(self, plaintext: bytes) -> bytes:
        """Return a sealed box around `plaintext`, different each time."""
        return _header(self._name) + bytes(self._box.encrypt(plaintext))

    def __repr__(self) -> str:
        """Name the key."""
        return f"CodeSealer({self._name})"


class CodeOpener:
    """Opens what a CodeSealer sealed to any of its keys."""

    def __init__(self, private_keys: str) -> None:
        """Take `id:base64,id:base64`, or raise Misconfigured without showing any of it."""
        self._boxes = {name: SealedBox(PrivateKey(key)) for name, key in _keys(private_keys).items()}

    def open(self, sealed: bytes) -> bytes:
        """Return the plaintext, or raise Rejected (`unknown_key`, naming its id, or `tampered`): what is in it lives a minute."""
        name, rest = _split(sealed)
        if name not in self._boxes:
            raise Rejected(f"sealed to key {name!r}, which is not among the private keys configured", reason=UNKNOWN_KEY)
        try:
            return bytes(self._boxes[name].decrypt(rest))
        except (CryptoError, ValueError) as error:
            raise Rejected("a sealed box was altered", reason="tampered") from error

    def __repr__(self) -> str:
        """Name the keys, never show them."""
        return f"CodeOpener({', '.join(self._boxes)})"


def key_of(sealed: bytes) -> str:
    """Return the id of the key that sealed these bytes; `?` where no key of ours did."""
    try:
        name, _ = _split(sealed)
    except Rejected:
        return NOBODY
    return name if _ID.fullmatch(name) else NOBODY


def new_id(today: str) -> str:
    """Return an id that no key had before: one that comes back would stand for other bytes in an older copy of the store."""
    return f"{today}-{random(2).hex()}"


def is_id(text: str) -> bool:
    """Say whether a key may be called so."""
    return _ID.fullmatch(text) is not None


def generate_key(name: str = "k1") -> str:
    """Return a new `id:base64` for RINGHOOK_VAULT_KEYS or RINGHOOK_COOKIE_KEYS."""
    return _written(name, random(KEY_SIZE))


def generate_code_keys(name: str = "k1") -> tuple[str, str]:
    """Return a new (RINGHOOK_CODE_PUBLIC_KEY, RINGHOOK_CODE_PRIVATE_KEYS), each `id:base64`."""
    private = PrivateKey.generate()
    return _written(name, bytes(private.public_key)), _written(name, bytes(private))


def _written(name: str, key: bytes) -> str:
    return f"{name}:{b64encode(key).decode()}"


def _keys(text: str) -> dict[str, bytes]:
    keys: dict[str, bytes] = {}
    for position, part in enumerate(text.split(","), start=1):
        found = _NAMED.fullmatch(part)
        if not found or found[1] in keys:
            raise Misconfigured(f"key {position} is not id:base64 of 32 bytes, or its id stands twice")
        keys[found[1]] = _decoded(found[2], position)
    return keys


def _decoded(text: str, position: int) -> bytes:
    try:
        return b64decode(text.rstrip("=") + "=", altchars=b"-_" if {"-", "_"} & set(text) else None, validate=True)
    except Error as error:
        raise Misconfigured(f"key {position} is not id:base64 of 32 bytes") from error


def _header(name: str) -> bytes:
    return bytes((_VERSION, len(name))) + name.encode()


def _split(sealed: bytes) -> tuple[str, bytes]:
    if len(sealed) < 2 or sealed[0] != _VERSION or len(sealed) < 2 + sealed[1]:  # noqa: PLR2004 - version and length
        raise Rejected("these bytes were not sealed by ringhook", reason="tampered")
    end = 2 + sealed[1]
    return sealed[2:end].decode("ascii", errors="backslashreplace"), sealed[end:]


def _associated(context: Sequence[str]) -> bytes:
    encoded = [part.encode() for part in context]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)  # lengths first: ("ab", "c") is not ("a", "bc")
