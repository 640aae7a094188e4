"""A partner's service on loopback, a bus, and a delivery between them."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

from schemas.cloudevents import binary
from schemas.events import Event, EventData, event_type
from schemas.topics import DELIVERY_ATTEMPTED, EVENT_RECORDED, delivery_dead
from workers.bus.contract import Bus, Held, Lane, Record, Stop
from workers.deliver.destinations import Destination
from workers.deliver.flight import Stops
from workers.deliver.job import Deliver
from workers.deliver.policy import Policy, Standard
from workers.runtime.database import Database
from workers.runtime.secrets import Secret

SECRET = "whsec_" + base64.b64encode(b"deliver-tests-secret-of-32-bytes").decode()
STORES: list[Database] = []  # the test's own
QUICK = Standard(schedule=(0.05, 0.05, 0.05))


class Sink:
    """What a partner's service got: one line per request, in order of arrival."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.ids: list[str] = []
        self.flying = self.most = 0
        self.says = b""  # the body of each answer
        self.asks: dict[str, str] = {}  # Retry-After of each answer to an event that is no 2xx
        self.answer: Callable[[str, int], int | Awaitable[int]] = lambda _id, _number: 200

    def seen(self, identity: str) -> int:
        return self.ids.count(identity)

    @property
    def unique(self) -> list[str]:
        return list(dict.fromkeys(self.ids))

    async def ring(self, request: web.Request) -> web.Response:
        identity = request.headers["webhook-id"]
        self.requests.append((dict(request.headers), await request.read()))
        self.ids.append(identity)
        self.flying += 1
        self.most = max(self.most, self.flying)
        try:
            said = self.answer(identity, self.seen(identity))
            status = said if isinstance(said, int) else await said
        finally:
            self.flying -= 1
        asked = {"Retry-After": self.asks[identity]} if identity in self.asks and status // 100 != 2 else None
        return web.Response(status=status, body=self.says, headers=asked)


@asynccontextmanager
async def served(app: web.Application, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
    await site.start()
    try:
        yield site_url(runner).replace("http:", "https:" if tls else "http:")
    finally:
        await runner.cleanup()


def site_url(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"


def destination(url: str, **changes: object) -> Destination:
    fields = {"name": "alerts", "secret_env": "ALERTS", "allow_http": True, "allow_networks": ["127.0.0.0/8"], "timeout_s": 5.0}
    return msgspec.convert({**fields, "url": url, **changes}, Destination)


def event(
    identity: str, *, device: str | None = "d1", account: str = "a1", linked: bool = True, kind: str = "motion_detected"
) -> Record:
    made = Event(
        id=identity,
        type=event_type(kind),
        subject=device,
        time=datetime.now(UTC),
        accountid=account,
        partneruserid="u-42",
        linked=linked,
        data=EventData(received_at=datetime.now(UTC), motion="human", payload=msgspec.Raw(b'{"meta":{}}')),
    )
    headers, value = binary(made)
    return Record(topic=EVENT_RECORDED.name, key=account.encode(), value=value, headers=headers)


class Nobody:
    """A stop table in which nobody stands."""

    def free(self, account: str) -> bool:
        del account
        return False

    async def why(self, account: str) -> None:
        del account

    def since(self, account: str) -> float:
        del account
        return 0.0


@asynccontextmanager
async def delivering(
    bus: Bus, target: Destination, *, policy: Policy = QUICK, stops: Stops | None = None, secret: str = SECRET
) -> AsyncIterator[Deliver]:
    stop = asyncio.Event()
    worker = Deliver(bus, STORES[-1], target, [Secret(secret)], stops or Nobody(), namespace="test", policy=policy)
    task = asyncio.create_task(worker.run(stop), name="delivering")
    try:
        yield worker
    finally:
        stop.set()
        async with asyncio.timeout(20):
            await task


async def until(condition: Callable[[], object], seconds: float = 40.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 -- the other side has no event to set
            await asyncio.sleep(0.01)


async def dead_letters(bus: Bus, count: int, name: str = "alerts") -> Sequence[Held]:
    """Return the destination's dead letters once there are `count`."""
    return await read(bus, delivery_dead(name).name, count)


async def attempts(bus: Bus, count: int) -> list[dict[str, Any]]:
    """Return what is told of attempts once `count` are."""
    return [json.loads(held.value) for held in await read(bus, DELIVERY_ATTEMPTED.name, count)]


async def read(bus: Bus, topic: str, count: int) -> Sequence[Held]:
    """Return a topic's records once there are `count`."""
    found: list[Held] = []
    stop = asyncio.Event()

    async def work(lane: Lane, ends: Stop) -> None:
        await lane.open()
        while not ends.is_set():
            found.extend(await lane.fetch(100, 0.05))
            if len(found) >= count:
                stop.set()

    async with asyncio.timeout(20):
        await bus.consume([topic], f"reader-{id(found)}", work, stop, atomic=False)
    return found


def header(held: Held, name: str) -> str:
    return (held.header(name) or b"").decode()
