"""Records as Kafka's record batches, format 2."""

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from workers.bus import wire
from workers.bus.contract import Record, TooLarge

OVERHEAD: Final = 61 + 21 + 20  # batch header, greatest record header, lengths of key, value and headers
BATCH_LIMIT: Final = 1024 * 1024  # max.message.bytes of our topics, which holds for the whole batch


def size(record: Record) -> int:
    """Return how many bytes a batch of this one record takes at most; TooLarge if it is beyond MESSAGE_LIMIT."""
    return OVERHEAD + wire.fits((record,)) + sum(10 + 3 * len(name) for name, _ in record.headers)


def slices(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Cut records of one partition into batches that fit, in their order."""
    batch: list[Record] = []
    room = BATCH_LIMIT
    for record in records:
        if (needed := size(record)) > room:
            yield batch
            batch, room = [], BATCH_LIMIT
        batch.append(record)
        room -= needed
    if batch:
        yield batch


def encode(records: Sequence[Record], producer: tuple[int, int], sequence: int, *, transactional: bool) -> bytes:
    """Return one batch of at most BATCH_LIMIT bytes by (producer id, epoch), its first record numbered `sequence`.

    A record without a value is a tombstone: compaction takes whatever had its key before, and then itself.
    """
    build = DefaultRecordBatchBuilder(2, 0, int(transactional), *producer, sequence, BATCH_LIMIT)
    now = int(time.time() * 1000)  # only for the wire: topics take the broker's time
    for offset, record in enumerate(records):
        taken = build.append(offset, timestamp=now, key=record.key, value=record.value or None, headers=list(record.headers))
        if taken is None:
            raise TooLarge(f"{len(records)} records do not fit a batch", reason="too_large")
    return bytes(build.build())
