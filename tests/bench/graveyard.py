"""Destinations that are dead in four ways: a refused port, silence, 500 and 503."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from deploy.demo.installation import Installation
from deploy.local import ports
from tests.bench import ground
from tests.bench.ground import HERE

CLOSED: Final = 9  # a port on which nobody listens
FAILING_S: Final = 60.0
ENTRY: Final = """
[[destination]]
name = "{name}"
url = "http://127.0.0.1:{port}/"
secret_env = "CHAOS_SECRET"
allow_http = true
allow_networks = ["127.0.0.0/8"]
deliver_unlinked = true
"""


@asynccontextmanager
async def standing() -> AsyncIterator[Sequence[int]]:
    """Give four ports, dead in a way each, for as long as the block lasts."""
    taken = ports.free(3)
    async with ground.script(HERE / "nobody.py", *taken):
        yield [CLOSED, *taken]


def names(count: int) -> list[str]:
    """Return what so many dead destinations are called."""
    return [f"dead-{number}" for number in range(count)]


def entries(count: int, dead: Sequence[int]) -> str:
    """Return so many dead destinations as ringhook.toml has them, each way as often as the others."""
    return "".join(ENTRY.format(name=name, port=dead[number % len(dead)]) for number, name in enumerate(names(count)))


async def buried(made: Installation, count: int) -> None:
    """Return once so many destinations are known to be at fault."""
    async with aiohttp.ClientSession() as client, asyncio.timeout(FAILING_S):
        while await _failing(client, made) < count:  # noqa: ASYNC110 - another process judges
            await asyncio.sleep(0.25)


async def _failing(client: aiohttp.ClientSession, made: Installation) -> int:
    async with client.get(f"{made.roles['deliver'].internal}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    return sum(line.startswith("ringhook_delivery_destination_state") and line.endswith('state="failing"} 1.0') for line in lines)
