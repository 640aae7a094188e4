"""What a service says, without the secrets that it was told: a debug page repeats the headers that it got. Pure.

It may escape what it repeats: as JSON does, URLs, HTML, or one of them in another. So the text is read as it stands, and once
more with each layer of escapes taken off; whichever reading shows a secret, its place in the text is masked.
"""

import html
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

MASK: Final = b"***"
WORD: Final = 8  # characters from which a part of a secret is one by itself: `Bearer` is none, the token behind it is
BEGIN: Final = 4  # of a secret that the end of a text may show, where it was cut
LAYERS: Final = 6  # of escapes that are taken off: JSON in JSON has two
_HEX: Final = rb"[0-9A-Fa-f]"
_PAIR: Final = rb"\\u[Dd][89ABab]" + _HEX + rb"{2}\\u[Dd][C-Fc-f]" + _HEX + rb"{2}"  # of surrogates: one character
_ESCAPE: Final = re.compile(
    _PAIR + rb"|\\u" + _HEX + rb"{4}"
    rb"|%" + _HEX + rb"{2}|\\x" + _HEX + rb"{2}"  # a byte of a URL, of a C string
    rb"|\\[^A-Za-z0-9]|\\[bfnrt]"
    rb"|&(?:\#[0-9]{1,9}|\#[xX]" + _HEX + rb"{1,8}|[A-Za-z][A-Za-z0-9]{1,31});",
    re.DOTALL,
)
_BROKEN: Final = re.compile(rb"(?:\\(?:u" + _HEX + rb"{0,3}|x" + _HEX + rb"?)?|%" + _HEX + rb"?|&#?\w{0,31})\Z", re.ASCII)
_MARKS: Final = frozenset(rb"\%&")  # with which each escape begins
_SHORT: Final = dict(zip(b"bfnrt", b"\b\f\n\r\t", strict=True))
Span = tuple[int, int]


class Reading(NamedTuple):
    """What a text says with layers of escapes taken off, and where in it each byte of that begins, and the last ends."""

    said: bytes
    places: Sequence[int]


def secret_parts(values: Iterable[str]) -> tuple[bytes, ...]:
    """Return what must not be kept of these values of headers: each, and its longer words; the longest first."""
    found = {part for value in values for part in (value, *_words(value)) if part}
    return tuple(part.encode() for part in sorted(found, key=lambda part: (-len(part), part)))


def _words(value: str) -> Iterable[str]:
    return (word for word in value.replace(",", " ").split() if len(word) >= WORD)


def escapes(said: bytes) -> bool:
    """Say whether a text may escape something: then it takes more than a moment to read."""
    return bool(_MARKS.intersection(said))


def redacted(said: bytes, secrets: Iterable[bytes]) -> bytes:
    """Return a text with each of these secrets masked, however it is escaped, also one that the end of the text cuts."""
    parts = {_unformed(form) for secret in secrets for form in (secret, _bare(secret))}
    readings = {reading.said: reading for cut in (False, True) for reading in _readings(said, cut=cut)}
    return _masked(said, sorted(span for reading in readings.values() for span in _shown(reading, parts, len(said))))


def _unformed(said: bytes) -> bytes:
    """Return it with a space for each `+`, which a form means by it and nobody else does."""
    return said.replace(b"+", b" ")


def _bare(secret: bytes) -> bytes:
    """Return a secret as a reading shows it from which every escape was taken: what looks like one in it was, too."""
    *_, last = _readings(secret, cut=False)
    return last.said


def _readings(said: bytes, *, cut: bool) -> Iterator[Reading]:
    """Yield a text as it stands, then with one more layer of escapes taken off each time; `cut`: and what its end left of one."""
    reading = Reading(said, range(len(said) + 1))
    for _ in range(LAYERS):
        yield reading
        if not escapes(reading.said):
            return
        further = _unescaped(_whole(reading) if cut else reading)
        if further.said == reading.said:
            return
        reading = further


def _unescaped(reading: Reading) -> Reading:
    said, places, done = bytearray(), list[int](), 0
    for escape in _ESCAPE.finditer(reading.said):
        begins, ends = escape.span()
        meant = _meant(escape.group())
        said += reading.said[done:begins] + meant
        places += [*reading.places[done:begins], *[reading.places[begins]] * len(meant)]
        done = ends
    return Reading(bytes(said + reading.said[done:]), [*places, *reading.places[done:]])


def _meant(text: bytes) -> bytes:
    """Return the bytes that an escape stands for."""
    if text[:2] == rb"\u":
        units = bytes.fromhex(text.replace(rb"\u", b"").decode())
        return units.decode("utf-16-be", "surrogatepass").encode(errors="surrogatepass")
    if text[:1] == b"%" or text[:2] == rb"\x":
        return bytes.fromhex(text[-2:].decode())
    if text[:1] == b"&":
        return html.unescape(text.decode()).encode(errors="surrogatepass")
    return bytes([_SHORT.get(text[1], text[1])])


def _shown(reading: Reading, parts: Collection[bytes], end: int) -> Iterator[Span]:
    """Yield where the text shows one of these, or at its end a beginning of one."""
    said, places = _unformed(reading.said), reading.places
    for part in parts:
        begins = said.find(part)
        while begins >= 0:
            yield places[begins], places[begins + len(part)]
            begins = said.find(part, begins + 1)
    if begun := max((_begun(said, part) for part in parts), default=0):
        yield places[len(said) - begun], end


def _whole(reading: Reading) -> Reading:
    """Return the reading without the last escape where the end cuts it."""
    broken = _BROKEN.search(reading.said)
    return Reading(reading.said[: broken.start()], reading.places[: broken.start() + 1]) if broken else reading


def _begun(said: bytes, part: bytes) -> int:
    """Return how much of a secret's beginning stands at the end of a text; 0 where that is next to nothing."""
    if len(part) <= BEGIN:
        return 0
    tail = said[1 - len(part) :]
    begins = tail.find(part[:BEGIN])
    while begins >= 0 and not part.startswith(tail[begins:]):
        begins = tail.find(part[:BEGIN], begins + 1)
    return len(tail) - begins if begins >= 0 else 0


def _masked(said: bytes, spans: Sequence[Span]) -> bytes:
    """Return a text with each of these places masked, those that overlap as one; they come in order."""
    kept, done = bytearray(), 0
    for begins, ends in spans:
        if begins >= done:
            kept += said[done:begins] + MASK
        done = max(done, ends)
    return bytes(kept + said[done:])
