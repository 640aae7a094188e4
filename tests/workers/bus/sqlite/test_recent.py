from datetime import UTC, datetime

from workers.bus.contract import Held
from workers.bus.sqlite.recent import Recent


def held(offset: int, size: int = 1) -> Held:
    return Held(topic="alpha", key=b"", value=b"x" * size, index=0, offset=offset, time=datetime.now(UTC))


def offsets(recent: Recent, slot: int, offset: int, limit: int = 100) -> list[int] | None:
    found = recent.since(slot, offset, limit)
    return None if found is None else [each.offset for each in found]


def test_hands_out_a_run_up_to_the_end() -> None:
    recent = Recent()
    recent.add([(1, held(7)), (2, held(3)), (1, held(8)), (1, held(9))])
    assert offsets(recent, 1, 7) == [7, 8, 9]
    assert offsets(recent, 1, 8, limit=1) == [8]
    assert offsets(recent, 2, 3) == [3]


def test_knows_nothing_of_what_was_before_it() -> None:
    recent = Recent()
    recent.add([(1, held(7))])
    assert offsets(recent, 1, 6) is None
    assert offsets(recent, 2, 0) is None


def test_the_oldest_of_all_slots_makes_room() -> None:
    recent = Recent(count=3)
    recent.add([(1, held(0)), (2, held(0)), (1, held(1)), (2, held(1))])
    assert offsets(recent, 1, 0) is None
    assert offsets(recent, 1, 1) == [1]
    assert offsets(recent, 2, 0) == [0, 1]


def test_bytes_are_bounded_too() -> None:
    recent = Recent(most=100)
    recent.add([(1, held(offset, 40)) for offset in range(5)])
    assert offsets(recent, 1, 2) is None
    assert offsets(recent, 1, 3) == [3, 4]


def test_a_record_beyond_the_bound_leaves_nothing() -> None:
    recent = Recent(most=100)
    recent.add([(1, held(0)), (1, held(1, 200))])
    assert offsets(recent, 1, 1) is None
    recent.add([(1, held(2))])
    assert offsets(recent, 1, 2) == [2]
