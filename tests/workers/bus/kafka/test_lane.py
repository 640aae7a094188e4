"""What a lane takes of what the pump brings: aiokafka also hands out records that nobody opened, or from before the start."""

from collections.abc import Collection, Mapping, Sequence
from types import SimpleNamespace

from workers.bus.contract import Record
from workers.bus.kafka.eos import Place
from workers.bus.kafka.lane import SHORT, Committed, Found, KafkaLane, as_held

PLACE = Place("ns.alpha.v1", 0)


class Opened:
    """The session of a lane that starts at 7; aiokafka has come to `reached`."""

    group = "group"

    def __init__(self) -> None:
        self.reached: int | None = None
        self.commits: list[Committed] = []

    async def find(self, places: Collection[Place]) -> Found:
        return Found(dict.fromkeys(places, (7, "")), dict.fromkeys(places, 0), dict.fromkeys(places, 99), {})

    async def commit(self, offsets: Committed, outputs: Sequence[Record]) -> None:
        assert not outputs
        self.commits.append(offsets)

    def seek(self, positions: Mapping[Place, int]) -> None:
        assert positions == {PLACE: 7}

    def position(self, place: Place) -> int | None:
        assert place == PLACE
        return self.reached

    def flow(self, places: Collection[Place], *, on: bool) -> None:
        """Let it flow."""


def fetched(*offsets: int) -> list[SimpleNamespace]:
    return [SimpleNamespace(key=b"k", value=b"v", headers=(), partition=0, offset=offset, timestamp=0) for offset in offsets]


async def offsets(lane: KafkaLane) -> list[int]:
    return [held.offset for held in await lane.fetch(100, 0)]


async def test_records_before_the_opening_and_before_its_start_are_thrown_away() -> None:
    lane = KafkaLane(Opened(), 0, {"alpha": PLACE.topic})
    lane.take(PLACE, fetched(7, 8))
    await lane.open()
    lane.take(PLACE, fetched(5, 6, 7, 8))
    lane.take(PLACE, fetched(8, 9))
    assert await offsets(lane) == [7, 8, 9]


async def test_a_position_is_raised_past_what_is_no_record_and_never_past_one_that_waits() -> None:
    session = Opened()
    lane = KafkaLane(session, 0, {"alpha": PLACE.topic})
    await lane.open()
    lane.take(PLACE, fetched(7, 9, 12))
    session.reached = 15
    for taken, following, committed in ((1, 8, 9), (1, 10, 12), (1, 13, 15), (0, 12, 12)):
        await lane.fetch(taken, 0)
        await lane.commit({"alpha": following}, b"")
        assert session.commits.pop() == {PLACE: (committed, "")}


def told(*headers: tuple[str, bytes | None]) -> tuple[tuple[str, bytes], ...]:
    """Return the headers of a record as we hold it, from copies of its own as aiokafka makes them."""
    copies = [("".join(list(name)), value and bytes(bytearray(value))) for name, value in headers]
    return as_held("alpha", SimpleNamespace(key=b"k", value=b"v", headers=copies, partition=0, offset=1, timestamp=0)).headers


def test_what_thousands_of_waiting_records_say_alike_is_held_once() -> None:
    (one,), (other,) = told(("ce_type", b"motion")), told(("ce_type", b"motion"))
    assert one == ("ce_type", b"motion")
    assert one is other


def test_a_long_header_is_let_go_with_its_record_and_an_empty_one_is_none() -> None:
    (one, empty), (other, _) = [told(("ce_id", b"x" * (SHORT + 1)), ("ce_subject", None)) for _ in range(2)]
    assert one == other
    assert one is not other
    assert empty == ("ce_subject", b"")
