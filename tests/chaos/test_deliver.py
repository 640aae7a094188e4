"""Copies of deliver killed, stopped and started at random under load: nothing lost, order kept, what comes twice is counted."""

import asyncio
import contextlib
import json
import os
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from math import inf
from pathlib import Path

import pytest
from aiohttp import web

from deploy.demo.installation import Installation
from deploy.local.kafka import Kafka
from schemas.topics import declared
from tests.chaos.world import Sink, installation, until
from tests.workers.deliver.support import event
from workers.bus import kafka
from workers.bus.contract import Bus, BusUnavailable

KILLS = int(os.environ.get("RINGHOOK_CHAOS_KILLS", "6"))
COPIES = ("", "2", "3")
DEVICES = 60
PAUSE_S = 0.05  # between two lots of events
LOT = 10
BEHIND = 3_000  # events that may be on their way: a busy machine that is killed again and again must be able to catch up
SLOWLY, SLOWLY_S = 0.01, 6.0  # how many requests take so long: under the destination's timeout_s, which stops wait for
FREEZES, FROZEN_S = max(2, KILLS // 6), 7.0
COMMIT_S = 5.0  # after which a commit's outcome is unknown, and its session ends
UNTOLD_S = 0.1  # what was accepted so long before a kill may not have been committed yet


@dataclass
class Slow(Sink):
    """Takes its time, and writes down what is under way, and when what was accepted."""

    flying: set[str] = field(default_factory=set)
    first: dict[str, float] = field(default_factory=dict)
    accepted: dict[str, float] = field(default_factory=dict)
    repeats: list[tuple[float, str]] = field(default_factory=list)
    order: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        super().__init__()

    async def ring(self, request: web.Request) -> web.Response:
        read = json.loads(await request.read())
        name, device = str(read["id"]), str(read["subject"])
        if name in self.accepted or name in self.flying:
            self.repeats.append((time.monotonic(), name))
        else:
            self.order[device].append(int(name.rpartition("-")[2]))
        self.first.setdefault(name, time.monotonic())
        self.flying.add(name)
        try:
            await asyncio.sleep(SLOWLY_S if random.random() < SLOWLY else random.uniform(0.005, 0.05))  # noqa: S311 - no secret
        finally:
            self.flying.discard(name)
        self.ids.append(name)
        self.accepted.setdefault(name, time.monotonic())
        return web.Response(status=204)

    @property
    def disordered(self) -> list[str]:
        """Devices whose events did not come in order."""
        return [device for device, places in self.order.items() if places != sorted(places)]


@dataclass(frozen=True)
class Misfortune:
    """One copy that ended, and what may come twice for it."""

    at: float
    killed: bool
    flying: frozenset[str]
    untold: int  # accepted a moment before

    @property
    def bound(self) -> int:
        return len(self.flying) + self.untold if self.killed else 0


async def publish(bus: Bus, sink: Slow, sent: list[str], stop: asyncio.Event) -> None:
    for turn in count():
        while len(sent) - len(sink.accepted) > BEHIND and not stop.is_set():  # noqa: ASYNC110 - the sink tells nobody
            await asyncio.sleep(PAUSE_S)
        if stop.is_set():
            return
        devices = [(turn * LOT + number) % DEVICES for number in range(LOT)]
        named = {f"d{device}-{turn * LOT // DEVICES}": device for device in devices}
        with contextlib.suppress(BusUnavailable):  # a busy machine: nobody was told that it is held, and it comes once at most
            await bus.publish([event(name, device=f"d{device}", account=f"a{device}") for name, device in named.items()])
            sent += named
        await asyncio.sleep(PAUSE_S)


async def end(made: Installation, sink: Slow, name: str, *, killed: bool) -> Misfortune:
    began, role, flying = time.monotonic(), made.roles[name], {*sink.flying}
    await (role.process.kill() if killed else role.stop())
    flying |= sink.flying
    untold = sum(at > began - UNTOLD_S for at in sink.accepted.values())
    return Misfortune(time.monotonic(), killed, frozenset(flying), untold)


@asynccontextmanager
async def running(
    tmp_path: Path, kafka_url: str, postgres_url: str, namespace: str
) -> AsyncIterator[tuple[Installation, Slow, list[str]]]:
    """Copies of deliver at work, what they deliver to, and what was published; at the end all of it has arrived."""
    more = {"RINGHOOK_BUS_URL": kafka_url, "RINGHOOK_STORE_URL": postgres_url, "RINGHOOK_NAMESPACE": namespace}
    sent, stop = list[str](), asyncio.Event()
    async with Slow().open() as sink:
        assert isinstance(sink, Slow)
        made = installation(tmp_path, sink, **more, RINGHOOK_SINGLE_BROKER="yes")
        await made.prepare()
        for copy in COPIES:
            made.add("deliver", copy)
        topics = declared(["sink"])
        async with made.started(), kafka.connect(kafka_url, namespace=namespace, topics=topics) as bus:
            await asyncio.sleep(5)  # a new destination begins at its first start
            publishing = asyncio.create_task(publish(bus, sink, sent, stop))
            try:
                yield made, sink, sent
            finally:
                stop.set()
                await publishing
            arrived = await until(lambda: {*sent} <= sink.accepted.keys(), 120)
    assert arrived, f"{len({*sent} - sink.accepted.keys())} never arrived"


async def goes_on(made: Installation, sink: Slow, more: int = 100) -> None:
    """Wait until so many more are accepted, and a random while."""
    before = len(sink.accepted)
    assert await until(lambda: len(sink.accepted) > before + more, 90), made.roles["deliver"].log()[-3000:]
    await asyncio.sleep(random.uniform(0.0, 1.0))  # noqa: S311 - when is no secret


@pytest.mark.chaos
@pytest.mark.kafka
@pytest.mark.postgres
@pytest.mark.timeout(KILLS * 60 + 240)
async def test_copies_come_and_go_and_are_killed(tmp_path: Path, kafka_url: str, postgres_url: str, namespace: str) -> None:
    happened = list[Misfortune]()
    async with running(tmp_path, kafka_url, postgres_url, namespace) as (made, sink, sent):
        for turn in range(KILLS):
            await goes_on(made, sink)
            name = "deliver" + random.choice(COPIES)  # noqa: S311 - which is no secret
            happened.append(await end(made, sink, name, killed=turn % 3 != 2))
            await made.roles[name].start()
    told = [_told(happened, sink, number) for number in range(len(happened))]
    print(f"\n{len(sent)} events; ended, under way, accepted just before, came twice: {told}")  # noqa: T201 - the figures asked for
    assert not sink.disordered
    assert not [line for line, one in zip(told, happened, strict=True) if line[-1] > one.bound]


@pytest.mark.chaos
@pytest.mark.kafka
@pytest.mark.postgres
@pytest.mark.timeout(FREEZES * 60 + 240)
async def test_a_broker_that_stands_still_doubles_nothing_but_what_is_under_way(
    tmp_path: Path, kafka_server: Kafka, postgres_url: str, namespace: str
) -> None:
    """Longer than a commit is waited for: the lanes are dealt anew, and go to copies that heard none of the answers."""
    allowed = set[str]()
    async with running(tmp_path, kafka_server.url, postgres_url, namespace) as (made, sink, sent):
        for _ in range(FREEZES):
            await goes_on(made, sink, 400)
            ends = time.monotonic() + COMMIT_S
            await kafka_server.freeze()
            await asyncio.sleep(FROZEN_S)
            await kafka_server.thaw()
            allowed |= {name for name in sink.first if sink.accepted.get(name, inf) > ends}
    print(f"\n{len(sent)} events, {len(sink.repeats)} came twice, {len(allowed)} might have")  # noqa: T201 - the figures asked for
    assert not sink.disordered
    assert not {name for _, name in sink.repeats} - allowed


def _told(happened: list[Misfortune], sink: Slow, number: int) -> tuple[str, int, int, int]:
    """Return what came twice because of what happened: its first copy came before that, and after what had happened before."""
    one, since = happened[number], happened[number - 1].at if number else 0.0
    twice = {name for at, name in sink.repeats if since <= sink.first[name] < one.at <= at}
    return "killed" if one.killed else "stopped", len(one.flying), one.untold, len(twice)
