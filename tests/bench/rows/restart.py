"""Deliver started anew with 100,000 rows waiting and a full window in each lane: how soon it serves, and what it sends twice."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

from deploy.demo.installation import Installation, Role
from schemas.topics import PARTITIONS
from tests.bench import broken, ground, webhooks
from tests.bench.figures import Figure
from tests.bench.ground import Ground, Sink
from tests.bench.rows.deliver import IN_FLIGHT
from tests.bench.rows.failing import mixed
from workers.bus.contract import Publisher, Record
from workers.deliver.window import LIMIT

STORED, LOAD = 100_000, 6_000
BEHIND: Final = 64  # offsets of each window that may be sent; all others follow one that fails
LIFE: Final = 120  # events that show that the destination lives: fewer than five failures in a row say nothing of it
SERVES_S, STORED_S, SETTLED_S = 40.0, 60.0, 1.5


class Again(NamedTuple):
    """Seconds until it had ended, from its start to the first event that was accepted; requests in flight then, events twice."""

    ended: float
    flying: int
    serves: float
    twice: int


async def measure(on: Ground, _rounds: int) -> list[Figure]:
    """Return the seconds and the events sent twice: of kill -9 under load, and of an end that was asked for; once each."""
    async with ground.sink() as sink:
        made = await on.house(sink)
        async with made.running("deliver"), ground.bus_of(made) as bus:
            await asyncio.sleep(3)  # a new destination begins at the end of the log: let it have been here
            await broken.park(made, bus)
            await webhooks.publish(bus, broken.records(STORED // PARTITIONS))
            await broken.stored(made, STORED // PARTITIONS * PARTITIONS, within=STORED_S)
            killed = await _killed(made, sink, bus)
            asked = await _asked(made, sink, bus)
    return _figures(asked, killed)


async def _asked(made: Installation, sink: Sink, bus: Publisher) -> Again:
    """Fill each window with what follows a failing event, hold all that is in flight, ask it to end, and start it anew."""
    first, more = broken.records(1, "broken-2"), broken.records(LIMIT - BEHIND - 1, "broken-2")
    await webhooks.publish(bus, mixed(_living(LIFE), [*first]))
    await webhooks.publish(bus, more)
    await asyncio.sleep(SETTLED_S)
    await webhooks.publish(bus, iter(_living(LIFE)))
    await asyncio.sleep(0.5)
    await sink.hold()
    await sink.forget()
    await webhooks.publish(bus, iter(_living(4 * BEHIND * PARTITIONS)))
    await asyncio.sleep(1)
    return await _anew(made, sink, Role.stop)


def _living(count: int) -> list[Record]:
    return [webhooks.recorded(raw) for raw in webhooks.bodies(count)]


async def _killed(made: Installation, sink: Sink, bus: Publisher) -> Again:
    await sink.forget()
    await webhooks.publish(bus, iter(_living(LOAD)))
    return await _anew(made, sink, lambda role: role.process.kill())


async def _anew(made: Installation, sink: Sink, end: Callable[[Role], Awaitable[None]]) -> Again:
    role, flying, began = made.roles["deliver"], await broken.gauge(made, "in_flight"), time.monotonic()
    await end(role)
    ended = time.monotonic() - began
    await sink.go()
    before, began = (await sink.told())["requests"], time.monotonic()
    starting = asyncio.create_task(role.start())
    async with asyncio.timeout(SERVES_S):
        while (await sink.told())["requests"] == before:  # noqa: ASYNC110 - another process counts
            await asyncio.sleep(0.02)
    serves = time.monotonic() - began
    await starting
    await asyncio.sleep(SETTLED_S)
    told = await sink.told()
    return Again(ended, flying, serves, told["requests"] - told["ids"])


def _figures(asked: Again, killed: Again) -> list[Figure]:
    note = f"it had ended {asked.ended:.1f} s after it was asked to, with {asked.flying} requests in flight that nobody answered"
    words = f"{LOAD:,} events were on their way, {killed.flying} in flight; serving {killed.serves:.1f} s after its start"
    return [
        Figure(f"deliver serves again, {STORED:,} waiting and windows full", "s", [asked.serves], 5, sense="at most", note=note),
        Figure("sent twice by that restart", "events", [asked.twice], asked.flying, sense="at most"),
        Figure("sent twice after kill -9 under load", "events", [killed.twice], IN_FLIGHT, sense="report", note=words),
    ]
