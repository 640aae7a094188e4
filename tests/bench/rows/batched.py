"""Deliver to one fast sink that takes several events in a request, against the same with one event each."""

import asyncio

from deploy.demo.installation import Installation
from tests.bench import ground, webhooks
from tests.bench.figures import Figure, Run, versus
from tests.bench.ground import Ground, Sink
from tests.bench.rows.deliver import rate

COUNT = 30_000
SEVERAL = 'body = "batched"\n'


async def measure(on: Ground, rounds: int) -> list[Figure]:
    """Return the ratio; each round sends as many in both forms, in turn."""
    single, several = list[Run](), list[Run]()
    async with ground.sink() as sink:
        made = await on.house(sink)
        async with made.running("deliver"):  # a new destination begins at the end of the log: let it have been here
            await asyncio.sleep(3)
        for _ in range(rounds):
            single.append(await _sent(made, sink))
            with_body = (made.directory / "ringhook.toml").read_text()
            (made.directory / "ringhook.toml").write_text(with_body + SEVERAL)
            several.append(await _sent(made, sink))
            (made.directory / "ringhook.toml").write_text(with_body)
    note = f"{COUNT:,} events a round"
    return [versus("deliver, several events in a request / one", 5.0, several, single, note)]


async def _sent(made: Installation, sink: Sink) -> Run:
    async with ground.bus_of(made) as bus:
        await webhooks.publish(bus, (webhooks.recorded(raw) for raw in webhooks.bodies(COUNT)))
    await sink.forget()
    async with made.running("deliver"):
        before = ground.spent(made.roles["deliver"].process)
        told = await rate(sink, COUNT)
        return Run(told, (ground.spent(made.roles["deliver"].process) - before) / COUNT)
