"""What a service says, without the secrets that it was told: a debug page repeats the headers that it got. Pure."""

from collections.abc import Iterable
from typing import Final

MASK: Final = b"***"
WORD: Final = 8  # characters from which a part of a secret is one by itself: `Bearer` is none, the token behind it is
BEGIN: Final = 4  # of a secret that the end of a text may show, where it was cut


def secret_parts(values: Iterable[str]) -> tuple[bytes, ...]:
    """Return what must not be kept of these values of headers: each, and its longer words; the longest first."""
    found = {part for value in values for part in (value, *_words(value)) if part}
    return tuple(part.encode() for part in sorted(found, key=lambda part: (-len(part), part)))


def _words(value: str) -> Iterable[str]:
    return (word for word in value.replace(",", " ").split() if len(word) >= WORD)


def redacted(said: bytes, secrets: Iterable[bytes]) -> bytes:
    """Return a text with each of these secrets masked, also one that its end cuts."""
    parts = tuple(secrets)
    for part in parts:
        said = said.replace(part, MASK)
    cut = max((_begun(said, part) for part in parts), default=0)
    return said[:-cut] + MASK if cut else said


def _begun(said: bytes, part: bytes) -> int:
    """Return how much of a secret's beginning stands at the end of a text; 0 where that is next to nothing."""
    return next((size for size in range(len(part) - 1, BEGIN - 1, -1) if said.endswith(part[:size])), 0)
