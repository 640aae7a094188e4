"""What a member of a consumer group says to its coordinator, always with the member id and generation it was assigned by."""

import asyncio
import base64
import binascii
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.offset import OffsetRequest

from workers.bus.kafka.codes import AGAIN, NONE, UNSTABLE_OFFSETS, Broken, Refused
from workers.bus.kafka.eos import Place, offset_fetch
from workers.bus.kafka.wire import GROUP, PAUSE, Answer, Wire

EARLIEST: Final = -2
LATEST: Final = -1
READ_UNCOMMITTED: Final = 0
READ_COMMITTED: Final = 1
ANSWER: Final = 5.0  # seconds for a coordinator to come round
STABLE: Final = 25.0  # seconds: a transaction's timeout of 10 s, and the broker looks for such every 10 s
NOWHERE: Final = -1  # an offset that is not there

Offsets = Mapping[Place, tuple[int, str]]  # the next offset, and the metadata


class Membership(msgspec.Struct, frozen=True):
    """Who we are in the group, as of one assignment."""

    group: str
    member_id: str
    generation: int

    def parts(self) -> tuple[str, str, int]:
        """Return group, member id and generation."""
        return self.group, self.member_id, self.generation


async def prove(wire: Wire, me: Membership) -> None:
    """Return if the coordinator knows us by this generation; Refused if not, Broken if it does not answer."""
    request = HeartbeatRequest(me.group, me.generation, me.member_id)
    await wire.insist(GROUP, me.group, request, lambda answer: int(answer.error_code), deadline=_until(ANSWER))


async def commit(wire: Wire, me: Membership, offsets: Offsets) -> None:
    """Commit once. Refused: it was not written. Broken: it may have been, or may yet be."""
    request = OffsetCommitRequest(me.group, me.generation, me.member_id, -1, _rows(offsets))
    node = await wire.coordinator(GROUP, me.group)
    answer = await wire.ask(node, request, coordination=True)
    if code := _first(code for _, rows in answer.topics for _, code in rows):
        wire.forget(GROUP, me.group)
        raise Refused("OffsetCommit", code)


async def committed(wire: Wire, group: str, places: Collection[Place]) -> dict[Place, tuple[int, str]]:
    """Return what is committed, once no transaction can change it any more; places without a commit are left out."""
    deadline = _until(STABLE)
    while True:
        answer = await wire.insist(GROUP, group, offset_fetch(group, sorted(places)), _fetched, deadline=deadline)
        rows = [(Place(topic, row[0]), row) for topic, found, _ in answer.topics for row in found]
        if not any(row[4] == UNSTABLE_OFFSETS for _, row in rows):
            return {place: (row[1], row[3] or "") for place, row in rows if row[1] >= 0}
        if asyncio.get_running_loop().time() > deadline:
            raise Refused("OffsetFetch", UNSTABLE_OFFSETS)
        await asyncio.sleep(PAUSE / 2)


async def offsets(
    wire: Wire, places: Collection[Place], when: int, isolation: int = READ_COMMITTED, *, patience: float = ANSWER
) -> dict[Place, int]:
    """Return the offset of each place at EARLIEST, LATEST (last stable) or from a time in epoch milliseconds (or NOWHERE).

    With READ_UNCOMMITTED, LATEST is the end of what is held, readable or not.
    """
    deadline = _until(patience)
    while True:
        try:
            return await _listed(wire, places, when, isolation)
        except (Broken, Refused) as error:
            lasting = isinstance(error, Refused) and error.code not in AGAIN
            if lasting or _until(PAUSE) > deadline:
                raise
        await wire.refresh()
        await asyncio.sleep(PAUSE)


async def _listed(wire: Wire, places: Collection[Place], when: int, isolation: int) -> dict[Place, int]:
    by_node: dict[int, list[Place]] = {}
    for place in places:
        if (node := wire.leader(place)) is None:
            raise Broken(f"nobody leads {place.topic}-{place.partition}")
        by_node.setdefault(node, []).append(place)
    found = await asyncio.gather(*(_offsets(wire, node, some, when, isolation) for node, some in by_node.items()))
    return {place: offset for some in found for place, offset in some.items()}


async def _offsets(wire: Wire, node: int, places: Sequence[Place], when: int, isolation: int) -> dict[Place, int]:
    topics: dict[str, list[tuple[int, int]]] = {}
    for place in places:
        topics.setdefault(place.topic, []).append((place.partition, when))
    answer = await wire.ask(node, OffsetRequest(-1, isolation, list(topics.items())))
    if code := _first(row[1] for _, rows in answer.topics for row in rows):
        raise Refused("ListOffsets", code)
    return {Place(topic, row[0]): int(row[3]) for topic, rows in answer.topics for row in rows}


def pack(note: bytes) -> str:
    """Return a note as offset metadata: base64, as Kafka holds text."""
    return base64.b64encode(note).decode("ascii")


def unpack(metadata: str) -> bytes:
    """Return the note that offset metadata holds; b"" for what others wrote there."""
    try:
        return base64.b64decode(metadata, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _fetched(answer: Answer) -> int:
    codes = (row[4] for _, rows, _ in answer.topics for row in rows)
    return int(answer.error_code) or _first(code for code in codes if code != UNSTABLE_OFFSETS)


def _first(codes: Iterable[int]) -> int:
    return next((int(code) for code in codes if code != NONE), NONE)


def _rows(offsets: Offsets) -> list[tuple[str, list[tuple[int, int, str]]]]:
    topics: dict[str, list[tuple[int, int, str]]] = {}
    for place, (offset, metadata) in offsets.items():
        topics.setdefault(place.topic, []).append((place.partition, offset, metadata))
    return list(topics.items())


def _until(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds
