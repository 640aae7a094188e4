"""Each request of an opening and of a step lost in turn, before or after the broker carried it out: every copy is made once."""

import asyncio
from collections import Counter
from itertools import count
from typing import Any

import pytest

from tests.workers.bus.kafka.conftest import PARTITIONS, Place, copying, everything, playing, record, until
from workers.bus.kafka import consumer
from workers.bus.kafka.codes import Broken
from workers.bus.kafka.wire import Wire

pytestmark = pytest.mark.kafka

OPENING = {"InitProducerId", "Heartbeat", "OffsetFetch", "Offset"}
EVERY = 9  # more than the lanes' openings need of one kind, so that some succeed
STEP = {"AddPartitionsToTxn", "Produce", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn"}


def named(request: object) -> str:
    name = str(getattr(request, "name", type(request).__name__))
    return name.partition("Request")[0]


class Losses:
    """Loses a request of each kind now and then, one that was carried out and one that was not by turns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lost: Counter[tuple[str, bool]] = Counter()  # by the request's name, and whether it arrived
        self.over = False
        self._seen: Counter[str] = Counter()
        self._ask = Wire.ask

        async def ask(wire: Wire, node: int, request: object, **how: Any) -> Any:  # noqa: ANN401
            return await self._lose(wire, node, request, how)

        monkeypatch.setattr(Wire, "ask", ask)

    async def _lose(self, wire: Wire, node: int, request: object, how: dict[str, Any]) -> Any:  # noqa: ANN401
        name = named(request)
        if self.over or publishing() or name not in OPENING | STEP:
            return await self._ask(wire, node, request, **how)
        self._seen[name] += 1
        turn, place = divmod(self._seen[name], EVERY)
        if place != EVERY // 2:
            return await self._ask(wire, node, request, **how)
        arrives = turn % 2 == 0
        self.lost[name, arrives] += 1
        if arrives:
            await self._ask(wire, node, request, **how)
        raise Broken("lost")


def publishing() -> bool:
    task = asyncio.current_task()
    return task is not None and task.get_name().startswith("bus.publish")


async def test_whatever_request_is_lost_every_record_is_copied_once_and_in_order(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer, "LASTED", 0.0)  # no growing pauses: sessions end all the time here
    losses, stop, seen = Losses(monkeypatch), asyncio.Event(), list[bytes]()
    wanted = {(name, arrives) for name in OPENING | STEP for arrives in (True, False)}
    published = 0
    async with place.open() as bus, asyncio.TaskGroup() as tasks:
        tasks.create_task(playing(bus, lambda lane, told: copying(lane, told, seen), stop))
        for n in count():
            if wanted <= losses.lost.keys():
                break
            assert n < 5_000, wanted - losses.lost.keys()
            await bus.publish([record(b"%d" % n, index=n % PARTITIONS)])
            published = n + 1
            await asyncio.sleep(0.01)
        await until(lambda: len(set(seen)) == published)
        stop.set()
    losses.over = True
    async with place.open() as bus:
        copied = await everything(bus, "beta")
    assert Counter(held.value for held in copied) == Counter(b"%d" % n for n in range(published))
    for index in range(PARTITIONS):
        mine = [int(held.value) for held in copied if held.index == index]
        assert mine == sorted(mine)
