"""The largest resident size of each process under load, and with a backlog of 300,000 records to work through."""

import asyncio

from deploy.demo.installation import Installation
from tests.bench import accounts, ground, webhooks
from tests.bench.figures import Figure
from tests.bench.ground import Ground, Sink
from tests.bench.rows.pipeline import ROLES, post

BACKLOG, LOAD, WORKING_S, MOST = 300_000, 15_000, 30.0, 130
Sizes = dict[str, float]


async def measure(on: Ground, _rounds: int) -> list[Figure]:
    """Return the largest size per process; once, since a largest size has no noise to average."""
    async with ground.sink() as sink:
        sizes = {
            "under load": await _loaded(await on.house(sink), ROLES, sink) | await _loaded(on.small(sink), ("up",), sink),
            "with a backlog": await _behind(await on.house(sink)) | await _behind_small(on.small(sink)),
        }
    return [_figure(when, found) for when, found in sizes.items()]


async def _loaded(made: Installation, roles: tuple[str, ...], sink: Sink) -> Sizes:
    await sink.forget()
    await accounts.link(made, "up" if "up" in roles else "dispatch")
    async with made.running(*roles):
        await post(made, LOAD)
        await sink.complete(LOAD, within=30)
        return _peaks(made)


async def _behind(made: Installation) -> Sizes:
    """Give dispatch and deliver a backlog each."""
    await accounts.link(made, "dispatch")
    async with made.running("deliver"):  # a new destination begins at the end of the log: let it have been here
        await asyncio.sleep(3)
    async with ground.bus_of(made) as bus:
        await webhooks.publish(bus, (webhooks.recorded(raw) for raw in webhooks.bodies(BACKLOG)))
        await webhooks.publish(bus, (webhooks.received(raw) for raw in webhooks.bodies(BACKLOG)))
    async with made.running("dispatch", "deliver"):
        await asyncio.sleep(WORKING_S)
        return _peaks(made)


async def _behind_small(made: Installation) -> Sizes:
    await accounts.link(made, "up")
    async with ground.bus_of(made) as bus:
        await webhooks.publish(bus, (webhooks.received(raw) for raw in webhooks.bodies(BACKLOG)))
    async with made.running("up"):
        await asyncio.sleep(WORKING_S)
        return _peaks(made)


def _peaks(made: Installation) -> Sizes:
    return {name: ground.peak(role.process) for name, role in made.roles.items()}


def _figure(when: str, sizes: Sizes) -> Figure:
    note = ", ".join(f"{role} {size:.0f}" for role, size in sizes.items()) + " MB"
    return Figure(f"largest resident size {when}", "MB", [max(sizes.values())], MOST, sense="at most", note=note)
