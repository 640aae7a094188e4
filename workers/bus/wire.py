"""What every engine checks of a record before anything is written, and how headers are packed."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import msgspec

from schemas.topics import MESSAGE_LIMIT
from workers.bus.contract import NOTE_LIMIT, Held, Record, TooLarge

READ: Final = 2**20  # bytes of values in one answer to who browses, beyond its last record
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


def check_commit(
    following: Collection[str], note: bytes, outputs: Sequence[Record], topics: Collection[str], *, atomic: bool
) -> int:
    """Return the outputs' bytes; raise what forbids a lane of these topics to commit this: a bug, or TooLarge."""
    if set(following) != set(topics) or len(note) > NOTE_LIMIT:
        raise ValueError(f"a commit names every topic of the lane, and its note has at most {NOTE_LIMIT} bytes")
    if outputs and not atomic:
        raise TypeError("outputs need consume(atomic=True)")
    return fits(outputs)


def pack(headers: Headers) -> bytes:
    """Return the headers as compact bytes; none are no bytes."""
    return _ENCODE.encode(headers) if headers else b""


def unpack(packed: bytes) -> Headers:
    """Return what `pack` was given."""
    return _DECODE.decode(packed) if packed else ()


def bounded(records: Iterable[Held], limit: int) -> Iterator[Held]:
    """Yield the first records, at most `limit`, and none after the one that fills READ."""
    room = READ
    for held in islice(records, limit):
        yield held
        if (room := room - len(held.value)) <= 0:
            return
