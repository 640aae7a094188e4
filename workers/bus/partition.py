"""Which index a key belongs to: Kafka's own murmur2, computed by us so that every engine and every client agree.

The rule is `org.apache.kafka.common.utils.Utils.murmur2` and `BuiltInPartitioner.partitionForKey`: the hash with its sign
bit cleared, modulo the number of partitions.
"""

from functools import lru_cache
from struct import unpack_from
from typing import Final

SEED: Final = 0x9747B28C
MIX: Final = 0x5BD1E995
WORD: Final = 0xFFFFFFFF


@lru_cache(maxsize=65_536)
def partition(key: bytes, count: int) -> int:
    """Return the index in [0, count) of a key, the same one that Kafka's Java producer chooses."""
    return (murmur2(key) & 0x7FFFFFFF) % count


def murmur2(key: bytes) -> int:
    """Return Kafka's murmur2 of the key as an unsigned 32-bit integer (Java shows the same bits as a signed one)."""
    words = len(key) >> 2
    h = SEED ^ len(key)
    for word in unpack_from(f"<{words}I", key):
        k = word * MIX & WORD
        h = (h * MIX & WORD) ^ ((k ^ k >> 24) * MIX & WORD)
    if tail := key[words << 2 :]:
        h = (h ^ int.from_bytes(tail, "little")) * MIX & WORD
    h = (h ^ h >> 13) * MIX & WORD
    return h ^ h >> 15
