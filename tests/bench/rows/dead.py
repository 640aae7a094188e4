"""Twenty destinations of which nineteen are dead: what the living one keeps of the speed that it has alone."""

import asyncio
from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

from deploy.demo.installation import Installation
from tests.bench import graveyard, ground, webhooks
from tests.bench.figures import Figure, Run, versus
from tests.bench.ground import Ground, Sink
from tests.bench.rows.deliver import rate

COUNT, WARM, DEAD = 15_000, 15_000, 19  # as many before: what the dead read ahead is in memory then
WHY: Final = (
    "Each dead destination has twelve lanes that look twice a second whether there is something to do and a consumer, and "
    "tells each five seconds how it fares: nineteen take about a twelfth of a core at rest, and the broker a tenth, of the two "
    "that all share."
)


class Round(NamedTuple):
    """What the living one did, and the largest resident size of the process, in MB."""

    run: Run
    size: float


async def measure(on: Ground, rounds: int) -> list[Figure]:
    """Return the ratio; each round sends as many to the living one beside the dead and alone, in turn."""
    beside, alone = list[Round](), list[Round]()
    async with ground.sink() as sink, graveyard.standing() as dead:
        made = await on.house(sink, graveyard.names(DEAD))
        toml = made.directory / "ringhook.toml"
        one = toml.read_text()
        for _ in range(rounds):
            toml.write_text(one)
            alone.append(await _round(made, sink, 0))
            toml.write_text(one + graveyard.entries(DEAD, dead))
            beside.append(await _round(made, sink, DEAD))
    ours, others = [each.run for each in beside], [each.run for each in alone]
    note = f"{COUNT:,} events a round, once the dead are known to be; largest resident size {_size(beside)}, alone {_size(alone)}"
    return [versus(f"deliver to one beside {DEAD} dead / alone", 0.9, ours, others, note, why=WHY)]


async def _round(made: Installation, sink: Sink, dead: int) -> Round:
    """Give the living one a backlog at one stroke, when all that the dead have to fail with has failed."""
    async with made.running("deliver"), ground.bus_of(made) as bus:
        await asyncio.sleep(3)  # a new destination begins at the end of the log: let it have been here
        await sink.forget()
        await webhooks.publish(bus, (webhooks.recorded(raw) for raw in webhooks.bodies(WARM)))
        await sink.complete(WARM, within=20)
        await graveyard.buried(made, dead)
        records = [webhooks.recorded(raw) for raw in webhooks.bodies(COUNT)]
        await sink.hold()
        await webhooks.publish(bus, iter(records))
        await sink.forget()
        process = made.roles["deliver"].process
        before = ground.spent(process)
        await sink.go()
        told = await rate(sink, COUNT)
        return Round(Run(told, (ground.spent(process) - before) / COUNT), ground.peak(process))


def _size(rounds: Sequence[Round]) -> str:
    return f"{median(each.size for each in rounds):.0f} MB"
