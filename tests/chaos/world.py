"""An installation under test, the sink it delivers to, and a reader of what it recorded."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from itertools import count
from pathlib import Path

from aiohttp import web
from aiokafka import AIOKafkaConsumer, TopicPartition

from deploy.demo.installation import Installation
from schemas import topics
from tests.chaos.generator import KEY
from workers.bus import kafka, sqlite
from workers.bus.contract import Lane, Record, Stop
from workers.bus.partition import partition
from workers.runtime.sealing import generate_code_keys, generate_key

SECRET = "whsec_" + base64.b64encode(b"chaos-destination-secret-32bytes").decode()
TOKEN = "chaos-token"
END = b"the end"
JUDGED = 150.0  # seconds to read everything: more than a consumer that stalls takes to be noticed and rebuilt
KEYS = [
    next(key for n in count() if partition(key := b"%d" % n, topics.PARTITIONS) == index) for index in range(topics.PARTITIONS)
]


DEV = """
        kind = "dev"
        passcode_env = "PASSCODE"
"""


class Sink:
    """A partner's service that accepts everything and writes down each id as it comes, and whose event it was said to be."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.owners: list[tuple[str, str | None]] = []  # (account, partner's user)
        self.url = ""

    async def ring(self, request: web.Request) -> web.Response:
        event = json.loads(await request.read())
        self.owners.append((event["accountid"], event.get("partneruserid")))
        self.ids.append(request.headers["webhook-id"])
        return web.Response(status=204)

    async def login(self, _: web.Request) -> web.Response:
        """Be the login page to which a hand-off sends the browser."""
        return web.Response(text="sign in")

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Sink"]:
        application = web.Application()
        application.router.add_post("/ring", self.ring)
        application.router.add_get("/login", self.login)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/ring"
        try:
            yield self
        finally:
            await runner.cleanup()


def installation(directory: Path, sink: Sink, *, signin: str = DEV, **more: str) -> Installation:
    """Return an installation with one destination; Ring's API is a closed port, since no code comes."""
    public, private = generate_code_keys()
    environment = {
        "RINGHOOK_RING_CLIENT_ID": "chaos",
        "RINGHOOK_RING_CLIENT_SECRET": "chaos-secret",
        "RINGHOOK_RING_HMAC_KEY": KEY,
        "RINGHOOK_VAULT_KEYS": generate_key(),
        "RINGHOOK_COOKIE_KEYS": generate_key(),
        "RINGHOOK_CODE_PUBLIC_KEY": public,
        "RINGHOOK_CODE_PRIVATE_KEYS": private,
        "RINGHOOK_RING_API_URL": "http://127.0.0.1:9",
        "RINGHOOK_RING_OAUTH_URL": "http://127.0.0.1:9",
        "RINGHOOK_WAITING_S": "5",  # most accounts are never linked here: their events wait, and come as not linked
        "RINGHOOK_WAITING_PER_ACCOUNT": "100000",  # none goes because there are many: it would count as lost
        "CHAOS_SECRET": SECRET,
        "PASSCODE": "chaos-passcode",
        **more,
    }
    toml = f"""
        [signin]
        {signin}
        [[token]]
        name = "test"
        sha256 = "{sha256(TOKEN.encode()).hexdigest()}"
        scopes = ["read", "claim", "operate", "broker"]

        [[destination]]
        name = "sink"
        url = "{sink.url}"
        secret_env = "CHAOS_SECRET"
        allow_http = true
        allow_networks = ["127.0.0.0/8"]
        deliver_unlinked = true
        """
    return Installation(directory, environment, toml)


async def recorded(made: Installation) -> list[str]:
    """Return the ids on event.recorded, as a read_committed consumer of a new group sees them, lane by lane, up to now."""
    url, namespace = made.environment["RINGHOOK_BUS_URL"], made.environment.get("RINGHOOK_NAMESPACE", "ringhook")
    engine = kafka if url.startswith("kafka") else sqlite
    found, ended, read = dict[int, list[str]](), set[int](), asyncio.Event()

    async def work(lane: Lane, stop: Stop) -> None:
        await lane.open()
        mine = found[lane.index] = []  # nothing is ever committed: a session that has to begin again reads all of it again
        ended.discard(lane.index)
        while not stop.is_set():
            for held in await lane.fetch(500, 5.0):
                if held.value != END:
                    mine.append((held.header("ce_id") or b"").decode())
                    continue
                ended.add(lane.index)
                if len(ended) == topics.PARTITIONS:
                    read.set()

    async with engine.connect(url, namespace=namespace, topics=topics.declared(["sink"])) as bus:
        await bus.publish([Record(topic="event.recorded", key=key, value=END) for key in KEYS])
        try:
            async with asyncio.timeout(JUDGED):
                await bus.consume(["event.recorded"], f"judge-{id(found)}", work, read, atomic=False)
        except TimeoutError:
            raise AssertionError(await stuck(url, namespace, sorted(ended))) from None
    return [name for index in sorted(found) for name in found[index]]


async def stuck(url: str, namespace: str, ended: list[int]) -> str:
    """Say how far each partition of event.recorded can be read, for the day when the judge cannot read to its end."""
    said = [f"read to the end: {ended}"]
    for isolation in ("read_committed", "read_uncommitted"):
        consumer = AIOKafkaConsumer(bootstrap_servers=url.removeprefix("kafka://"), isolation_level=isolation)
        await consumer.start()
        try:
            places = [TopicPartition(f"{namespace}.event.recorded.v1", index) for index in range(topics.PARTITIONS)]
            ends = await consumer.end_offsets(places)
            said.append(f"{isolation}: {[ends[place] for place in places]}")
        finally:
            await consumer.stop()
    return "; ".join(said)


async def until(holds: Callable[[], bool], seconds: float) -> bool:
    """Say whether the callable came true in time."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not holds():  # noqa: ASYNC110 - there is no event to wait for
                await asyncio.sleep(0.1)
    return holds()
