"""Secrets taken out of what others say: an error may repeat what it was asked with (security.md 17). Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

HIDDEN: Final = "…"
LONGEST: Final = 2_048  # characters that are looked through: of what others say we tell a sentence
_LETTER: Final = r"[A-Za-z0-9+/_=.~%\\-]"
# What looks like a secret, whoever has it: 20 such letters with a digit among them, or 40; `unsupported_grant_type` does not.
_RUN: Final = re.compile(rf"(?={_LETTER}*\d){_LETTER}{{20,}}|{_LETTER}{{40,}}")
_HEX: Final = rb"[0-9A-Fa-f]"
_PAIR: Final = rb"\\u[Dd][89ABab]" + _HEX + rb"{2}\\u[Dd][C-Fc-f]" + _HEX + rb"{2}"  # of surrogates: one character
_JSON: Final = _PAIR + rb"|\\u" + _HEX + rb"{4}|\\[^u]"
_PERCENT: Final = rb"%" + _HEX + rb"{2}"
_FORM: Final = _PERCENT + rb"|\+"
_SHORT: Final = dict(zip(b"bfnrt", b"\b\f\n\r\t", strict=True))
# As others may spell what they repeat: in a form or path within JSON, in a form, in a path, in JSON, and as it is.
# The most escaped first: read as it is, "\/abc" would lose the secret "/abc" and keep its escape.
_SPELLINGS: Final = [
    re.compile(escapes + rb"|[^\\%+]+|.", re.DOTALL)
    for escapes in (_JSON + b"|" + _FORM, _JSON + b"|" + _PERCENT, _FORM, _PERCENT, _JSON, b"(?!)")
]


def without(text: str, secrets: Iterable[str]) -> str:
    """Return the text without these secrets, also as JSON and URLs spell them, and without what looks like one.

    Of a long text it is the beginning, to the end of a word: half a secret would not be known.
    """
    begun = text if len(text) <= LONGEST else text[:LONGEST].rpartition(" ")[0] + HIDDEN
    said, hidden = _bytes(begun), [_bytes(secret) for secret in secrets if secret]
    for spelling in _SPELLINGS:
        said = _cut(said, hidden, spelling)
    return _RUN.sub(HIDDEN, said.decode(errors="surrogatepass"))


def _cut(said: bytes, secrets: Sequence[bytes], spelling: re.Pattern[bytes]) -> bytes:
    """Return what was said without the secrets that are spelt so."""
    read, places = _read(said, spelling)
    spans = sorted((places[begins], places[ends]) for secret in secrets for begins, ends in _found(read, secret))
    kept, done = bytearray(), 0
    for begins, ends in spans:
        if begins >= done:
            kept += said[done:begins] + _bytes(HIDDEN)
        done = max(done, ends)
    return bytes(kept + said[done:])


def _read(said: bytes, spelling: re.Pattern[bytes]) -> tuple[bytes, list[int]]:
    """Return what a spelling means, and where each of its bytes, and its end, stands in what was said."""
    read, places = bytearray(), list[int]()
    for token in spelling.finditer(said):
        raw = token.group()
        meant = raw if len(raw) == 1 and raw != b"+" else _meant(raw, form=rb"\+" in spelling.pattern)
        read += meant
        places += range(token.start(), token.end()) if meant == raw else [token.start()] * len(meant)
    return bytes(read), [*places, len(said)]


def _meant(raw: bytes, *, form: bool) -> bytes:
    """Return the bytes that one escape stands for; what is none stands for itself."""
    if raw == b"+":
        return b" " if form else raw
    if raw.startswith(b"%"):
        return bytes.fromhex(raw[1:].decode())
    if raw.startswith(rb"\u"):
        units = b"".join(bytes.fromhex(unit.decode()) for unit in raw.split(rb"\u")[1:])
        return _bytes(units.decode("utf-16-be", errors="surrogatepass"))
    return bytes([_SHORT.get(raw[1], raw[1])]) if raw.startswith(b"\\") else raw


def _found(read: bytes, secret: bytes) -> Iterator[tuple[int, int]]:
    begins = read.find(secret)
    while begins >= 0:
        yield begins, begins + len(secret)
        begins = read.find(secret, begins + len(secret))


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
