from collections import Counter

import pytest

from workers.bus.partition import murmur2, partition


@pytest.mark.parametrize(
    ("key", "java"),  # org.apache.kafka.common.utils.UtilsTest#testMurmur2
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_hashes_as_the_java_client_does(key: bytes, java: int) -> None:
    assert murmur2(key) == java & 0xFFFFFFFF


def test_chooses_the_partition_of_the_positive_part() -> None:
    assert partition(b"21", 12) == (-973932308 & 0x7FFFFFFF) % 12


def test_an_empty_key_has_a_partition_too() -> None:
    assert 0 <= partition(b"", 12) < 12


def test_agrees_with_aiokafka_for_any_length_and_any_byte() -> None:
    from aiokafka.partitioner import murmur2 as theirs  # noqa: PLC0415  (an oracle, not a dependency of this module)

    for length in range(64):
        key = bytes((length * 37 + i * 101) % 256 for i in range(length))
        assert murmur2(key) & 0x7FFFFFFF == theirs(key) & 0x7FFFFFFF


def test_spreads_account_ids_evenly() -> None:
    seen = Counter(partition(f"ava1.ring.account.{n:026d}".encode(), 12) for n in range(12_000))
    assert set(seen) == set(range(12))
    assert min(seen.values()) > 800
