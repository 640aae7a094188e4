"""Dead letters: a record as it was, plus why, when, how often, and where it came from."""

import hashlib
from datetime import datetime
from typing import Final

import msgspec

from schemas.topics import MESSAGE_LIMIT, dead
from workers.bus.contract import Held, Record

ROOM: Final = 1024  # bytes that a record needs on the wire besides key, value and headers


def letter(held: Held, reason: str, *, at: datetime, attempts: int = 1, topic: str | None = None) -> Record:
    """Return the dead letter of a record; `reason` is one word of a closed set, `topic` by default the origin's own `.dead`.

    Headers `dead_reason`, `dead_at`, `dead_attempts`, `dead_topic`, `dead_partition`, `dead_offset` follow the record's own.
    One that would not fit carries JSON coordinates and SHA-256 instead of its body, and the header `dead_body: omitted`.
    """
    facts = {
        "dead_reason": reason,
        "dead_at": at.isoformat(),
        "dead_attempts": str(attempts),
        "dead_topic": held.topic,
        "dead_partition": str(held.index),
        "dead_offset": str(held.offset),
    }
    headers = (*held.headers, *((name, value.encode()) for name, value in facts.items()))
    whole = Record(topic=topic or dead(held.topic), key=held.key, value=held.value, headers=headers)
    return whole if _size(whole) <= MESSAGE_LIMIT - ROOM else _omitted(whole, held)


def _omitted(whole: Record, held: Held) -> Record:
    body = {
        "topic": held.topic,
        "partition": held.index,
        "offset": held.offset,
        "bytes": len(held.value),
        "sha256": hashlib.sha256(held.value).hexdigest(),
    }
    headers = (*whole.headers[-6:], ("dead_body", b"omitted"))
    return msgspec.structs.replace(whole, value=msgspec.json.encode(body), key=held.key[:512], headers=headers)


def _size(record: Record) -> int:
    return len(record.key) + len(record.value) + sum(len(name.encode()) + len(value) + 16 for name, value in record.headers)
