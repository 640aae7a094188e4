"""One device in each lane that fails all the time: what others keep of their rate, and what it costs to let it wait."""

import asyncio
from collections.abc import Iterator
from itertools import chain
from statistics import median
from typing import Final, NamedTuple

import psutil
from sqlalchemy import text

from deploy.demo.installation import Installation
from schemas.topics import PARTITIONS
from tests.bench import broken, ground, webhooks
from tests.bench.figures import Figure, Run, versus
from tests.bench.ground import Ground, Sink
from tests.bench.rows.deliver import rate
from workers.bus.contract import Publisher, Record
from workers.runtime import database

COUNT, IN_EACH, STORED, WITHIN_S = 12_000, 300, 100_000, 60.0  # IN_EACH: failing events a round, in each lane
LOT: Final = 1_000  # failing events in each lane, whose storing is timed
WHY: Final = (
    "A step that lets events wait is six statements whatever it holds; each lane takes at most two a second for what only joins, "
    "or one for a hundred events."
)


class Cost(NamedTuple):
    """What it takes to let an event wait, in µs of CPU of deliver and PostgreSQL, and deliver's resident size after it, in MB."""

    cpu: float
    size: float


async def measure(on: Ground, rounds: int) -> list[Figure]:
    """Return the others' ratio, with and without the failing ones in turn; then what waiting costs with few and many rows."""
    beside, alone = list[Run](), list[Run]()
    async with ground.sink() as sink:
        calm, made = await on.house(sink), await on.house(sink)
        async with calm.running("deliver"):  # a new destination begins at the end of the log: let it have been here
            await asyncio.sleep(3)
        async with made.running("deliver"):  # nothing waits in it yet: the first round begins with keys nobody knows to be bad
            await asyncio.sleep(3)
        for _ in range(rounds):
            alone.append(await _round(calm, sink, 0))
            beside.append(await _round(made, sink, IN_EACH))
        few, many, bytes_each = await _costs(on, made, rounds)
    return [_ratio(beside, alone), *_growth(few, many, bytes_each)]


async def _round(made: Installation, sink: Sink, failing: int) -> Run:
    """Give a backlog at one stroke; what fails is in it from the first to the last."""
    async with made.running("deliver"), ground.bus_of(made) as bus:
        records = [webhooks.recorded(raw) for raw in webhooks.bodies(COUNT)]
        await asyncio.sleep(2)
        await sink.hold()
        await webhooks.publish(bus, mixed(records, [*broken.records(failing)]))
        await sink.forget()
        process = made.roles["deliver"].process
        before = ground.spent(process)
        await sink.go()
        told = await rate(sink, COUNT)
        return Run(told, (ground.spent(process) - before) / COUNT)


def mixed(good: list[Record], bad: list[Record]) -> Iterator[Record]:
    """Give both, the bad ones evenly among the good."""
    every = len(good) // len(bad) if bad else len(good)
    lots = [good[begin : begin + every] for begin in range(0, len(good), every)]
    return chain.from_iterable([*lot, *bad[number : number + 1]] for number, lot in enumerate(lots))


async def _costs(on: Ground, made: Installation, rounds: int) -> tuple[list[Cost], list[Cost], float]:
    """Return what waiting costs with few rows and with many, and the bytes that a row has in the store by then."""
    async with made.running("deliver"), ground.bus_of(made) as bus:
        await asyncio.sleep(3)
        await broken.park(made, bus)
        few = [await _stored(on, made, bus, LOT) for _ in range(rounds)]
        await _stored(on, made, bus, STORED // PARTITIONS)
        many = [await _stored(on, made, bus, LOT) for _ in range(rounds)]
        return few, many, await _table(made) / await broken.waiting(made)


async def _stored(on: Ground, made: Installation, bus: Publisher, each: int) -> Cost:
    """Let so many more events wait in each lane."""
    process, rows = made.roles["deliver"].process, await broken.waiting(made)
    before = ground.spent(process) + ground.spent(on.postgres)
    await webhooks.publish(bus, broken.records(each))
    await broken.stored(made, rows + each * PARTITIONS, within=WITHIN_S)
    used = ground.spent(process) + ground.spent(on.postgres) - before
    return Cost(used / (each * PARTITIONS) * 1e6, psutil.Process(process.pid).memory_info().rss / 1e6)


async def _table(made: Installation) -> float:
    async with database.connect(made.environment["RINGHOOK_STORE_URL"]) as opened, opened.read() as connection:
        return float((await connection.execute(text("SELECT pg_total_relation_size('waiting_row')"))).scalar_one())


def _ratio(beside: list[Run], alone: list[Run]) -> Figure:
    told = median(run.rate for run in beside) * IN_EACH / COUNT
    note = f"{COUNT:,} events of others a round, and {IN_EACH} of the failing one in each lane: {told:.0f} of it a second"
    return versus("deliver beside a failing device in each lane / without", 0.9, beside, alone, note, why=WHY)


def _growth(few: list[Cost], many: list[Cost], bytes_each: float) -> list[Figure]:
    cpu = [[cost.cpu for cost in costs] for costs in (many, few)]
    grown = many[-1].size - few[-1].size
    rows = f"one row an event, {bytes_each:.0f} bytes of the store with its indexes"
    return [
        Figure(f"to let an event wait, {STORED:,} waiting / few", "µs of CPU", cpu[0], 1.2, cpu[1], sense="at most", note=rows),
        Figure(f"growth of deliver by {STORED:,} waiting", "MB", [grown], 10, sense="at most"),
    ]
