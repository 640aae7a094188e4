"""Every role, the broker and PostgreSQL killed and frozen at random under load; then the ledger is judged."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from deploy.demo.installation import Installation
from deploy.local.kafka import Kafka
from deploy.local.postgres import Postgres
from tests.chaos.generator import Generator
from tests.chaos.ledger import Ledger, doubled
from tests.chaos.world import Sink, installation, recorded, until

SECONDS = float(os.environ.get("RINGHOOK_CHAOS_SECONDS", "60"))
ROLES = ("ingress", "linker", "dispatch", "deliver", "admin")
Deed = Callable[[], Awaitable[None]]


def deeds(made: Installation, kafka: Kafka, postgres: Postgres) -> dict[str, tuple[Deed, Deed]]:
    """Return for each misfortune how it comes about, and how it ends."""
    found: dict[str, tuple[Deed, Deed]] = {
        "freeze kafka": (kafka.freeze, kafka.thaw),
        "kill kafka": (kafka.kill, kafka.start),
        "freeze postgres": (postgres.freeze, postgres.thaw),
        "kill postgres": (postgres.kill, postgres.start),
    }
    for name, role in made.roles.items():
        found[f"freeze {name}"] = (role.process.freeze, role.process.thaw)
        found[f"kill {name}"] = (role.process.kill, role.start)
    return found


async def wreck(made: Installation, kafka: Kafka, postgres: Postgres, seconds: float) -> list[str]:
    """Let misfortunes happen, one after the other, each once before any comes twice; return what happened."""
    loop, happened = asyncio.get_running_loop(), []
    until_then, waiting = loop.time() + seconds, list[str]()
    everything = deeds(made, kafka, postgres)
    while loop.time() < until_then:
        waiting = waiting or random.sample(sorted(everything), len(everything))
        name = waiting.pop()
        begin, end = everything[name]
        await begin()
        happened.append(name)
        await asyncio.sleep(random.uniform(0.2, 3.0))  # noqa: S311 - misfortune is no secret
        await end()
        await asyncio.sleep(random.uniform(0.2, 1.0))  # noqa: S311
    return happened


@pytest.mark.chaos
@pytest.mark.kafka
@pytest.mark.postgres
@pytest.mark.timeout(SECONDS * 2 + 240)
async def test_nothing_acknowledged_is_lost_or_recorded_twice_whatever_is_killed(
    tmp_path: Path, kafka_server: Kafka, postgres_server: Postgres, postgres_url: str, namespace: str
) -> None:
    ledger = Ledger()
    async with Sink().open() as sink:
        more = {"RINGHOOK_BUS_URL": kafka_server.url, "RINGHOOK_STORE_URL": postgres_url, "RINGHOOK_NAMESPACE": namespace}
        made = installation(tmp_path, sink, **more, RINGHOOK_SINGLE_BROKER="yes")
        await made.prepare()
        made.add("dispatch", "2")
        made.add("deliver", "2")
        async with made.running(*ROLES):
            generator, stop = Generator(made.public, ledger), asyncio.Event()
            posting = asyncio.create_task(generator.run(stop))
            happened = await wreck(made, kafka_server, postgres_server, SECONDS)
            stop.set()
            await posting
            arrived = await until(lambda: not ledger.lost(sink.ids), 120)
            logs = {name: role.log()[-4000:] for name, role in made.roles.items()}
        events = await recorded(made)
    told = f"{len(ledger.acknowledged)} acknowledged, answers {generator.answers}, happened {happened}"
    assert len(ledger.acknowledged) > SECONDS, told
    assert not ledger.lost(events), f"{len(ledger.lost(events))} lost; {told}"
    assert not doubled(events), f"{doubled(events)} recorded twice; {told}"
    assert not ledger.disorder(events), told
    assert arrived, f"{len(ledger.lost(sink.ids))} never arrived at the sink; {told}\n{logs}"
    print(f"\n{told}; repeats at the sink {len(sink.ids) - len(set(sink.ids))}")  # noqa: T201 - the figure asked for
