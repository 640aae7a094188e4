"""Every role, the broker, PostgreSQL and Ring killed and frozen at random under load and links; then the ledgers are judged."""

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from deploy.demo.installation import Installation
from deploy.demo.ring.ring import Partner, Ring, running
from deploy.demo.ring.state import Client
from deploy.local.kafka import Kafka
from deploy.local.postgres import Postgres
from tests.chaos.generator import KEY, Generator
from tests.chaos.ledger import Ledger, doubled
from tests.chaos.links import Town, judged, tokens_belong
from tests.chaos.links import told as ends
from tests.chaos.world import TOKEN, Sink, installation, recorded, until

SECONDS = float(os.environ.get("RINGHOOK_CHAOS_SECONDS", "60"))
LINKS = int(os.environ.get("RINGHOOK_CHAOS_LINKS", "40"))  # homes that are linked meanwhile
POSTING = 10  # of those, so many have events before, while and after they are linked
ROLES = ("ingress", "linker", "dispatch", "deliver", "admin")
Deed = Callable[[], Awaitable[None] | None]


def deeds(made: Installation, kafka: Kafka, postgres: Postgres, ring: Ring) -> dict[str, tuple[Deed, Deed]]:
    """Return for each misfortune how it comes about, and how it ends."""
    found: dict[str, tuple[Deed, Deed]] = {
        "freeze kafka": (kafka.freeze, kafka.thaw),
        "kill kafka": (kafka.kill, kafka.start),
        "freeze postgres": (postgres.freeze, postgres.thaw),
        "kill postgres": (postgres.kill, postgres.start),
        "freeze ring": (ring.freeze, ring.thaw),
        "kill ring": (ring.kill, ring.start),
    }
    for name, role in made.roles.items():
        found[f"freeze {name}"] = (role.process.freeze, role.process.thaw)
        found[f"kill {name}"] = (role.process.kill, role.start)
    return found


async def wreck(made: Installation, kafka: Kafka, postgres: Postgres, ring: Ring, seconds: float) -> list[str]:
    """Let misfortunes happen, one after the other, each once before any comes twice; return what happened."""
    loop, happened = asyncio.get_running_loop(), []
    until_then, waiting = loop.time() + seconds, list[str]()
    everything = deeds(made, kafka, postgres, ring)
    while loop.time() < until_then:
        waiting = waiting or random.sample(sorted(everything), len(everything))
        name = waiting.pop()
        begin, end = everything[name]
        await acted(begin)
        happened.append(name)
        await asyncio.sleep(random.uniform(0.2, 3.0))  # noqa: S311 - misfortune is no secret
        await acted(end)
        await asyncio.sleep(random.uniform(0.2, 1.0))  # noqa: S311
    return happened


async def acted(deed: Deed) -> None:
    if (doing := deed()) is not None:
        await doing


@pytest.mark.chaos
@pytest.mark.kafka
@pytest.mark.postgres
@pytest.mark.timeout(SECONDS * 2 + 240)
async def test_nothing_acknowledged_is_lost_or_doubled_and_every_link_completes_whatever_is_killed(
    tmp_path: Path, kafka_server: Kafka, postgres_server: Postgres, postgres_url: str, namespace: str
) -> None:
    ledger = Ledger()
    async with Sink().open() as sink:
        more = {"RINGHOOK_BUS_URL": kafka_server.url, "RINGHOOK_STORE_URL": postgres_url, "RINGHOOK_NAMESPACE": namespace}
        signin = f'kind = "handoff"\nlogin_url = "{sink.url.removesuffix("/ring")}/login"'
        made = installation(tmp_path, sink, signin=signin, **more, RINGHOOK_SINGLE_BROKER="yes")
        async with ring_before(made) as ring:
            await made.prepare()
            for role in ("dispatch", "deliver", "linker"):
                made.add(role, "2")
            async with made.running(*ROLES):
                town = Town(made, ring, TOKEN, count=LINKS)
                known = [home.account.id for home in town.homes[:POSTING]]
                generator, stop = Generator(made.public, ledger, known=known), asyncio.Event()
                posting, linking = asyncio.create_task(generator.run(stop)), asyncio.create_task(town.link())
                happened = await wreck(made, kafka_server, postgres_server, ring, SECONDS)
                stop.set()
                await posting
                linked = await until(linking.done, 150)
                borrowed = await tokens_belong(town, made.roles["linker"].internal) if linked else []
                unheard = await strangers(town, generator, sink) if linked else set()
                linking.cancel()
                arrived = await until(lambda: not ledger.lost(sink.ids), 120)
                logs = {name: role.log()[-4000:] for name, role in made.roles.items()}
        events = await recorded(made)
    told = f"{len(ledger.acknowledged)} acknowledged, answers {generator.answers}, links {ends(town)}, happened {happened}"
    assert len(ledger.acknowledged) > SECONDS, told
    assert not ledger.lost(events), f"{len(ledger.lost(events))} lost; {told}"
    assert not doubled(events), f"{doubled(events)} recorded twice; {told}"
    assert not ledger.disorder(events), told
    assert arrived, f"{len(ledger.lost(sink.ids))} never arrived at the sink; {told}\n{logs}"
    assert not judged(town), f"{judged(town)}; {told}\n{logs}"
    assert not borrowed, f"the tokens of others, or none, are held for {borrowed}; {told}"
    assert not released_to_others(town, sink), told
    assert not unheard, f"events of {sorted(unheard)} came without their user; {told}"
    print(f"\n{told}; repeats at the sink {len(sink.ids) - len(set(sink.ids))}")  # noqa: T201 - the figure asked for


async def strangers(town: Town, generator: Generator, sink: Sink) -> set[str]:
    """Let something happen in each linked home; return those homes whose events never name their user."""
    for _ in range(10):
        heard = set(sink.owners)
        missing = {home.name: home.account.id for home in town.homes if (home.account.id, home.user) not in heard}
        if not missing:
            break
        await generator.once([*missing.values()])
        await asyncio.sleep(3)
    return {*missing}


@asynccontextmanager
async def ring_before(made: Installation) -> AsyncIterator[Ring]:
    """Run a simulated Ring to which the installation is the partner."""
    door = f"{made.public}/ring"
    partner = Partner(f"{door}/token-exchange", f"{door}/webhook", f"{door}/account-link")
    async with running(partner, Client("chaos", "chaos-secret", KEY), lapse=20) as ring:
        made.environment |= {"RINGHOOK_RING_API_URL": ring.url, "RINGHOOK_RING_OAUTH_URL": ring.url}
        yield ring


def released_to_others(town: Town, sink: Sink) -> set[tuple[str, str | None]]:
    """Return the events that were given out as another user's than the home's own."""
    users = {home.account.id: home.user for home in town.homes}
    return {(account[-6:], user) for account, user in sink.owners if user not in {None, users.get(account)}}
