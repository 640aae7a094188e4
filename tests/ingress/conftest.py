"""The public listener on a free port, over the memory bus, with a switch to take the bus away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
import msgspec
import pytest

from ingress.app import public_app
from ingress.link.attempt import Seals
from ingress.notices import Notices
from ingress.server import Server
from ingress.settings import Dev, Settings
from schemas import topics
from schemas.errors import Unavailable
from workers.bus import memory
from workers.bus.contract import BusUnavailable, Publisher, Record
from workers.runtime.sealing import CodeOpener, CodeSealer, Keyring, generate_code_keys, generate_key
from workers.runtime.secrets import Secret

KEY = "test-hmac-key"
NEXT_KEY = "next-hmac-key"
NOW = datetime(2026, 2, 15, 4, 48, 30, tzinfo=UTC)


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Ask again until it is so, at most forty seconds."""
    async with asyncio.timeout(40):
        while not await check():  # noqa: ASYNC110 - what is waited for happens in sockets, and sets no event
            await asyncio.sleep(0.01)


@dataclass
class Switch:
    """A Publisher over a real one: notes what was held, and can be down, slow or broken."""

    inner: Publisher
    held: list[Record] = field(default_factory=list)
    down: bool = False
    bug: Exception | None = None
    waiting: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def publish(self, records: Sequence[Record]) -> None:
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        if self.bug and records[0].topic != topics.EDGE_NOTICED.name:
            raise self.bug
        if self.down:
            raise BusUnavailable
        await self.inner.publish(records)
        self.held += records

    async def until_waiting(self, count: int) -> None:
        async def enough() -> bool:
            return self.waiting >= count

        await until(enough)

    def of(self, topic: topics.Topic) -> list[Record]:
        return [record for record in self.held if record.topic == topic.name]


@dataclass
class Edge:
    """A running public listener."""

    url: str
    port: int
    bus: Switch
    opener: CodeOpener
    client: aiohttp.ClientSession
    server: Server
    stop: asyncio.Event
    running: asyncio.Task[None]
    notices: Notices
    attempts: "Known"
    seals: Seals
    clock: "Clock"


@dataclass
class Clock:
    """Stands still until a test moves it."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


class Known:
    """Attempts with a switch; a link's progress as a test says it is."""

    def __init__(self) -> None:
        self.progresses: dict[str, Known.Seen] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.down = self.silent = False

    class Seen(msgspec.Struct, frozen=True):
        state: str
        steps: tuple[tuple[str, float], ...] = ()
        finding: str | None = None

    async def progress(self, attempt: str, partner_user: str | None = None) -> Seen | None:
        if self.down:
            raise Unavailable
        if self.silent:  # and what is cancelled takes its time, as a connection to a server that says nothing does
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            await asyncio.sleep(3)
        self.asked.append((attempt, partner_user))
        return self.progresses.get(attempt)


Start = Callable[..., AbstractAsyncContextManager[Edge]]


def base_settings() -> Settings:
    return Settings(
        public_url="http://127.0.0.1",
        hmac_keys={"first": Secret(KEY), "next": Secret(NEXT_KEY)},
        exchange_secrets={"first": Secret("s3cret-path"), "next": Secret("next-path")},
        signin=Dev(passcode=Secret("open sesame")),
    )


@asynccontextmanager
async def running(**changes: object) -> AsyncIterator[Edge]:
    """Serve with these settings changed; everything has ended when the context has."""
    settings = msgspec.structs.replace(base_settings(), **changes)
    public, private = generate_code_keys()
    async with AsyncExitStack() as stack:
        inner = await stack.enter_async_context(memory.connect("memory:", namespace="t", topics=topics.FIXED))
        bus = Switch(inner)
        clock, attempts, cookies = Clock(), Known(), Keyring.parse(generate_key())
        notices = Notices(bus, clock=clock)
        sealer = CodeSealer(public)
        application = public_app(settings, bus, sealer, notices, cookies=cookies, attempts=attempts, clock=clock)
        listening = asyncio.get_running_loop().create_future()
        server = Server(application, "127.0.0.1", 0, settings.limits, listening=listening)
        stop = asyncio.Event()
        task, telling = asyncio.create_task(server.run(stop)), asyncio.create_task(notices.run(stop))
        port = await asyncio.wait_for(listening, 30)
        client = await stack.enter_async_context(
            aiohttp.ClientSession(f"http://127.0.0.1:{port}", cookie_jar=aiohttp.CookieJar(unsafe=True))
        )
        edge = Edge(
            url=f"http://127.0.0.1:{port}",
            port=port,
            bus=bus,
            opener=CodeOpener(private),
            client=client,
            server=server,
            stop=stop,
            running=task,
            notices=notices,
            attempts=attempts,
            seals=Seals(cookies, settings.namespace),
            clock=clock,
        )
        try:
            yield edge
        finally:
            bus.gate.set()
            stop.set()
            await asyncio.wait_for(asyncio.gather(task, telling), 40)


@pytest.fixture
def serve() -> Start:
    return running


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with running() as started:
        yield started


@pytest.fixture
def keyring() -> Keyring:
    return Keyring.parse(generate_key())
