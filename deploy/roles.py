"""THE composition root: which workers a role runs, and what each is handed. Only here is the environment read."""

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import structlog
from aiohttp import web

from deploy import engines, settings
from deploy.facts import Gathered
from deploy.greeting import Greeting
from deploy.reload import Known, Reload
from deploy.settings import Admin, Settings
from deploy.settings.lists import Service
from deploy.settings.parts import Edge, Vault
from deploy.story import Story, add_story
from ingress.admin.api import Api, add_claims, add_reading
from ingress.admin.broker import add_broker
from ingress.admin.dead import add_dead
from ingress.admin.deliveries import add_deliveries
from ingress.admin.destinations import add_destinations
from ingress.admin.events import add_events
from ingress.admin.findings import add_findings
from ingress.admin.forget import add_forgetting
from ingress.admin.gate import Gate, name_of
from ingress.admin.handled import Handled
from ingress.admin.life import add_life
from ingress.admin.quota import Quota
from ingress.admin.reload import add_reload
from ingress.admin.replays import add_replays
from ingress.admin.resend import add_resend
from ingress.admin.retry import Retry, add_retry
from ingress.admin.store import ClaimStore, Pruning
from ingress.admin.turns import Turns
from ingress.app import public_app
from ingress.link.attempt import Seals
from ingress.link.signin.handoff import Handoff
from ingress.notices import Notices
from ingress.server import Server
from linker import ringapi
from linker.advance import Advance
from linker.announce import Announce
from linker.broker import Broker
from linker.budget import Budget, Places
from linker.early import Passing
from linker.forget import Forget
from linker.forgetting import Forgetting
from linker.intake import Intake
from linker.notices import FirstProofs
from linker.placestore import Alone, PlaceStore
from linker.progress import Explain
from linker.pruning import Bygone
from linker.reseal import Reseal
from linker.restored import Restored
from linker.ringapi import Credentials
from linker.risk import AtRisk
from linker.sealed import Sealed
from linker.setback import Mending
from linker.standing import Standing
from linker.store import Store
from linker.told import Told
from linker.unreadable import Unreadable
from linker.vault import Vault as TokenVault
from schemas.errors import Unavailable
from schemas.topics import EVENT_RECORDED, WEBHOOK_RECEIVED, Topic, gone_by, letters
from schemas.topics import delivery as named
from workers.bus.contract import Bus
from workers.deliver import copies
from workers.deliver.backlog import backlog
from workers.deliver.birth import Birth, always, begins
from workers.deliver.fleet import Fleet
from workers.deliver.forgotten import Forgotten
from workers.deliver.job import Deliver
from workers.deliver.replays import Replays
from workers.deliver.standing import Destinations
from workers.deliver.wishes import Wishes
from workers.dispatch.census import Census
from workers.dispatch.job import Dispatch, Prune
from workers.dispatch.parked import Bounds
from workers.dispatch.route import Route, Routes
from workers.notice import Notice
from workers.retain import Retain
from workers.runtime import logs
from workers.runtime.clock import utc_now
from workers.runtime.database import Database
from workers.runtime.drive import Drive
from workers.runtime.health import Probe, add_probes
from workers.runtime.jobs import Job
from workers.runtime.lag import LagSweep
from workers.runtime.listener import Listener, internal_app
from workers.runtime.reloads import Reloads
from workers.runtime.stop import Ending, on_signals
from workers.runtime.stops import YOUNG_S, StopTable
from workers.runtime.storeprobe import StoreProbe
from workers.runtime.supervise import Worker, supervise
from workers.runtime.sweep import Sweeping

log = structlog.get_logger()
SEARCHES = 2  # at a time, one after the other: an operator can wait, and Ring does not
CHECKS_S = 2.0  # seconds in which a role looks at store and topics before it opens its ports
Say = Callable[[str], None]


@dataclass
class House:
    """What one process holds while it runs its roles."""

    namespace: str
    bus: Bus
    database: Database
    stack: AsyncExitStack
    ending: Ending
    me: str = field(default_factory=lambda: f"{socket.gethostname()}.{os.getpid()}.{uuid4().hex[:8]}")
    began: datetime = field(default_factory=utc_now)  # before anything came in
    internal: web.Application = field(default_factory=internal_app)
    workers: list[Worker] = field(default_factory=list)
    probes: dict[str, Probe] = field(default_factory=dict)
    listening: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def drive(self, job: Job) -> None:
        """Run a job on its lanes, and measure its lag."""
        self.workers.append(Drive(self.bus, job, self.database))
        self.workers.append(Sweeping(LagSweep(self.bus, job.name, job.topics)))


def configured(role: str, directory: Path) -> Settings:
    """Return the role's settings from the environment and the files of a directory, or raise Misconfigured."""
    return settings.read(role, os.environ, directory)


async def run(role: str, directory: Path, say: Say) -> None:
    """Run a role until SIGTERM or SIGINT, the public door's drain included. Misconfigured: it cannot start as it is told."""
    chosen = configured(role, directory)
    logs.configure(level=chosen.common.log_level)
    with on_signals(drain_s=chosen.edge.drain_s if chosen.edge else 0.0) as ending:
        async with built(chosen, _patient(say), ending, partial(configured, role, directory)) as workers:
            _calm_collector()
            await supervise(workers, ending.stop)


def _patient(say: Say) -> Say:
    """Return what says the same, and loses it where the output cannot be written: that is no worker's fault."""

    def said(words: str) -> None:
        with suppress(OSError):
            say(words)

    return said


def _calm_collector() -> None:
    """Spare the cyclic collector what lives as long as the process: it took a fifth of the CPU of `up`, and long pauses."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


@asynccontextmanager
async def built(chosen: Settings, say: Say, ending: Ending, read: Callable[[], Settings]) -> AsyncIterator[list[Worker]]:
    """Open bus and store, and give the workers of the role; once it is leaving, the public door looks for no new callers.

    `read` reads the configuration anew.
    """
    async with AsyncExitStack() as stack:
        if engines.unshared(chosen.common):
            stack.enter_context(engines.own_store(chosen.common))
        unchecked = await _prepared(chosen)
        database = await stack.enter_async_context(engines.open_store(chosen.common))
        bus = await stack.enter_async_context(engines.open_bus(chosen.common, chosen.topics))
        house = House(chosen.common.namespace, bus, database, stack, ending, workers=unchecked)
        house.probes["bus"] = lambda: None if bus.available() else "the bus takes nothing just now: the log says why"
        await _furnish(house, chosen, read)
        _open_inside(house, chosen, say)
        yield house.workers


async def _prepared(chosen: Settings) -> list[Worker]:
    """Check store and topics before anything runs; where they do not answer, start all the same and check when they do."""
    trying = asyncio.create_task(engines.prepare(chosen), name="preparing")
    await asyncio.wait({trying}, timeout=None if chosen.role == "up" else CHECKS_S)  # `up` may have tables to make first
    try:
        if trying.done():
            await trying
            return []
        why, begun = f"no answer within {CHECKS_S:g} s", trying
    except Unavailable as error:
        why, begun = str(error), None
    log.warning(
        "start.unchecked", why=why, meaning="this role starts all the same, and looks at store and topics once both answer"
    )
    return [engines.Preparing(chosen, begun)]


async def _furnish(house: House, chosen: Settings, read: Callable[[], Settings]) -> None:
    if chosen.edge is not None:
        add_ingress(house, chosen.edge)
    if chosen.vault is not None:
        alone = engines.unshared(chosen.common)
        places = Alone() if alone else PlaceStore(await house.stack.enter_async_context(engines.open_beside(chosen.common)))
        await add_linker(house, chosen.vault, gate(chosen), places, alone=alone)
    if chosen.waiting is not None:
        add_dispatch(house, chosen.waiting, chosen.routes)
    known = Known(set(chosen.destinations), set(letters(chosen.topics)))
    fleet = add_destinations_of(house, chosen.services) if chosen.services is not None else None
    if chosen.admin is not None:
        await add_admin(house, chosen.admin, gate(chosen), known)
    if fleet or chosen.admin is not None:
        reload = Reload(read, chosen, house.bus, house.database, known, fleet, house.me, house.began, house.ending.reload)
        house.workers.append(Sweeping(reload))
        house.stack.push_async_callback(reload.leave)
    if chosen.edge is None:
        add_store_probe(house)  # where Ring and browsers come in, webhooks are taken without the store too


def add_ingress(house: House, edge: Edge) -> None:
    """Open the public door."""
    notices = Notices(house.bus)
    explain = Explain(Standing(house.database))
    application = public_app(edge.settings, house.bus, edge.sealer, notices, cookies=edge.cookies, attempts=explain)
    server = Server(application, *edge.listen, edge.settings.limits, listening=house.listening, leaving=house.ending.leaving)
    house.workers += [server, notices]
    house.probes["public"] = server.ready


async def add_linker(house: House, vault: Vault, callers: Gate, places: Places, *, alone: bool) -> None:
    """Complete links, `alone` where no other linker can live. The keys that open codes and tokens come no further than here."""
    apps = {
        app: Credentials(vault.client_ids[app], vault.client_secrets[app], key)
        for app, key in vault.hmac_keys.items()
        if app in vault.client_ids and app in vault.client_secrets
    }
    budget = Budget(places, vault.rate)
    client: AbstractAsyncContextManager[ringapi.RingApi] = ringapi.connect(
        api_url=vault.api_url, oauth_url=vault.oauth_url, apps=apps, heard=budget.heard
    )
    ring = await house.stack.enter_async_context(client)
    store, intake, proofs = Store(house.database, house.namespace), Intake(vault.opener), FirstProofs(house.bus)
    tokens = TokenVault(vault.keys, house.namespace)
    advance = Advance(
        store=store,
        ring=ring,
        vault=tokens,
        opener=vault.opener,
        keys=vault.hmac_keys,
        budget=budget,
        owner=house.me,
        notices=proofs,
        alone=alone,
        wake=intake.wake,
    )
    house.drive(intake)
    house.drive(Told(house.namespace, intake.wake))
    house.workers += [
        Sweeping(AtRisk(store)),
        Sweeping(Passing(house.database)),
        Sweeping(Bygone(house.database)),
        Sweeping(Forget(Forgetting(house.database, house.namespace), house.bus)),
    ]
    broker = Broker(store, advance.vault, advance.wake, advance.clock)
    add_broker(Api(house.internal, callers), broker, Quota())
    house.workers += [advance, Sweeping(Announce(store, house.bus), wake=advance.moved), Sweeping(proofs, wake=proofs.wake)]
    sealed = Sealed(house.database)
    house.workers += [Sweeping(Reseal(sealed, tokens, alone=alone)), Sweeping(Unreadable(sealed, store, tokens))]
    house.workers.append(Sweeping(Restored(Mending(house.database, house.namespace), store, house.bus)))


def add_dispatch(house: House, bounds: Bounds, routes: Collection[Route]) -> None:
    """Make events of webhooks, each once, and their copies."""
    house.drive(Dispatch(house.namespace, bounds, Routes(routes)))
    house.workers += [Sweeping(Prune(house.database)), Sweeping(Census(house.database))]


def add_destinations_of(house: House, services: Collection[Service]) -> Fleet[Service]:
    """Deliver to HTTP services."""
    began = {service.name: house.began for service in services}  # others are born when they are first heard of
    wishes = Wishes(house.database)

    def make(service: Service) -> Sequence[Worker]:
        return delivery(house, service, wishes, began.get(service.name) or utc_now())

    fleet = Fleet(services, make, partial(backlog, house.bus, house.database))
    house.workers += [fleet, Sweeping(Forgotten(house.database))]
    return fleet


def delivery(house: House, service: Service, wishes: Wishes, born: datetime) -> Sequence[Worker]:
    """Return what delivers to one HTTP service, and measures how far behind it is."""
    wanted = begins(service.destination.since)
    birth = Birth(house.database, service.name, born) if wanted is None else always(wanted)
    stops = StopTable(house.database, house.namespace, young=YOUNG_S)
    deliver = Deliver(
        house.bus,
        house.database,
        service.destination,
        service.secrets,
        stops,
        namespace=house.namespace,
        headers=service.headers,
        tls=service.tls,
        start=birth,
        copy=house.me,
        wishes=wishes,
    )
    return [deliver, Sweeping(LagSweep(house.bus, deliver.name, (EVENT_RECORDED.name,), deliver.behind))]


async def add_admin(house: House, admin: Admin, callers: Gate, by: Known) -> None:
    """Answer `/v1`, and keep the facts of the edge."""
    house.drive(Notice())
    claims, explain = ClaimStore(house.database), Explain(Standing(house.database))
    house.workers.append(Sweeping(Pruning(claims)))
    api = Api(house.internal, callers)
    add_claims(api, Handoff(claims, Seals(admin.cookies, house.namespace), admin.public_url, utc_now))
    add_reading(api, explain, explain, claims, utc_now)
    add_forgetting(api, Forgetting(house.database, house.namespace), gone_by)
    known, replays, handled = Destinations(house.database, by.destinations), Replays(house.database), Handled(house.database)
    add_destinations(api, known)
    add_findings(api, Gathered(house.database, known))
    browser = await house.stack.enter_async_context(house.bus.browse())
    add_events(api, browser, house.ending.leaving)
    searches = Turns(SEARCHES, "search topics", abreast=1)
    add_deliveries(api, browser, by.dead, searches)
    add_dead(api, browser, by.dead, searches, handled)
    add_life(api, browser, by.dead, searches)
    add_replays(api, replays, known, browser, searches)
    add_retry(api, Retry(browser, house.bus, handled, replays, by.dead, destinations=known))
    add_reload(api, Reloads(house.database))
    house.workers.append(Sweeping(Retain(house.bus, browser, house.database, partial(readers, house, by))))
    add_resend(api, browser, searches, known, publisher=house.bus, replays=replays)


async def readers(house: House, by: Known, now: datetime) -> Mapping[Topic, Collection[str]]:
    """Return who must have read all of a topic before anything of it goes: destinations of the file, and those that run.

    One that is gone from the file runs on while it has a backlog, and other hosts may have other files.
    """
    async with house.database.read() as connection:
        running = await copies.seen(connection, now)
    return {WEBHOOK_RECEIVED: (Dispatch.name,), EVENT_RECORDED: [named(name) for name in sorted(by.destinations | running)]}


def add_store_probe(house: House) -> None:
    """Be ready only while the store answers."""
    probe = StoreProbe(house.database)
    house.workers.append(Sweeping(probe))
    house.probes["store"] = probe.away


def gate(chosen: Settings) -> Gate:
    """Return who may call the internal listener, and by which names."""
    host, url = chosen.common.internal_listen[0], chosen.common.internal_url
    named = {name_of(urlsplit(url).netloc)} if url else set[str]()
    return Gate(chosen.tokens, {"localhost", host, socket.gethostname().lower(), *named, *chosen.common.internal_hosts})


def _open_inside(house: House, chosen: Settings, say: Say) -> None:
    """Open the internal port; `up` and admin tell there, and `up` on the terminal, how far Ring has come with us."""
    add_probes(house.internal, house.probes, metrics=chosen.common.metrics_open)
    inside = Listener(house.internal, *chosen.common.internal_listen)
    house.workers.append(inside)
    if chosen.admin is None:
        return
    story = Story(Gathered(house.database, Destinations(house.database, chosen.destinations)))
    host = chosen.common.internal_listen[0]
    add_story(house.internal, story, gate(chosen), host)
    if chosen.edge is not None:
        words = partial(_welcome, chosen.edge, chosen.common.internal_listen)
        house.workers.append(Greeting(house.listening, inside.opened, say, words))
        house.workers.append(Sweeping(story.telling(say)))


def _welcome(edge: Edge, internal: tuple[str, int], port: int) -> str:
    return (
        f"ringhook is up: Ring and browsers at {_at(edge.listen[0], port)} (as {edge.settings.public_url}), "
        f"probes and /v1 at http://{_at(*internal)}"
    )


def _at(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
