"""What every engine checks of a record before anything is written, and how headers are packed."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from schemas.topics import MESSAGE_LIMIT
from workers.bus.contract import NOTE_LIMIT, Record, TooLarge

Headers = tuple[tuple[str, bytes], ...]
_DECODE: Final = msgspec.msgpack.Decoder(Headers)
_ENCODE: Final = msgspec.msgpack.Encoder()


def size(record: Record) -> int:
    """Return the record's bytes: key, value, and headers with their names."""
    return len(record.key) + len(record.value) + sum(len(name) + len(value) for name, value in record.headers)


def fits(records: Iterable[Record]) -> int:
    """Return the bytes of all records; raise TooLarge when one is beyond MESSAGE_LIMIT."""
    total = 0
    for record in records:
        if (length := size(record)) > MESSAGE_LIMIT:
            raise TooLarge(f"a record of {length} bytes for {record.topic}; it may have {MESSAGE_LIMIT}", reason="too_large")
        total += length
    return total


def noted(note: bytes) -> bytes:
    """Return the note, or raise ValueError where it is longer than every engine can keep."""
    if len(note) > NOTE_LIMIT:
        raise ValueError(f"a note of {len(note)} bytes; it may have {NOTE_LIMIT}")
    return note


def allowed(outputs: Sequence[Record], *, atomic: bool) -> None:
    """Raise ValueError where a group that is not atomic commits outputs."""
    if outputs and not atomic:
        raise ValueError("only a group consumed with atomic=True may commit outputs")


def pack(headers: Headers) -> bytes:
    """Return the headers as compact bytes; none are no bytes."""
    return _ENCODE.encode(headers) if headers else b""


def unpack(packed: bytes) -> Headers:
    """Return what `pack` was given."""
    return _DECODE.decode(packed) if packed else ()
