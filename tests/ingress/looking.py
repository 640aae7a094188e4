"""What looks into topics at `/v1`, over a memory bus: records to look at, and the port that tells of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import msgspec

from ingress.admin.api import Api
from ingress.admin.dead import add_dead
from ingress.admin.deliveries import add_deliveries
from ingress.admin.destinations import add_destinations
from ingress.admin.events import add_events
from ingress.admin.gate import Gate
from ingress.admin.handled import Handled
from ingress.admin.life import add_life
from ingress.admin.replays import add_replays
from ingress.admin.resend import add_resend
from ingress.admin.retry import Retry, add_retry
from ingress.admin.turns import Turns
from ingress.settings import Scope
from schemas import cloudevents
from schemas.events import Event, EventData
from schemas.topics import EVENT_RECORDED, PARTITIONS, declared, letters
from tests.ingress.test_admin import bearer, listening, token
from workers.bus import memory
from workers.bus.contract import Record
from workers.bus.memory import MemoryBus
from workers.bus.partition import partition
from workers.deliver import copies
from workers.deliver.copies import Copy
from workers.deliver.replays import Replays
from workers.deliver.standing import Destinations
from workers.runtime.database import Database, connect
from workers.runtime.listener import internal_app

NOW = datetime(2026, 2, 13, 13, 39, 57, tzinfo=UTC)


@dataclass
class Desk:
    """The port, the bus behind it, and the clock of the bus."""

    client: aiohttp.ClientSession
    bus: MemoryBus
    database: Database
    leaving: asyncio.Event
    clock: list[datetime] = field(default_factory=lambda: [NOW])
    destinations: set[str] = field(default_factory=set)  # as the configuration names them

    async def copy(self, name: str, seen: datetime, takes: str | None) -> None:
        """Let a copy of deliver tell of its destination."""
        blank = dict.fromkeys(("flying", "waiting", "held"), 0) | dict.fromkeys(("behind", "behind_since", "lived_at"))
        told = Copy("alerts", name, "well", **blank, failed_at=None, failure=None, seen_at=seen.timestamp(), takes=takes)
        async with self.database.begin() as connection:
            await copies.tell(connection, told)

    async def get(self, path: str, *scopes: Scope, **query: object) -> tuple[int, dict[str, Any]]:
        asked = {name.rstrip("_"): str(value) for name, value in query.items()}
        async with self.client.get(path, params=asked, headers=bearer(*scopes or ("read",))) as answer:
            return answer.status, await answer.json()

    async def told(self, path: str, *scopes: Scope, **query: object) -> dict[str, Any]:
        status, said = await self.get(path, *scopes, **query)
        assert status == 200, said
        return said

    async def refused(self, path: str, **query: object) -> tuple[int, str]:
        status, said = await self.get(path, **query)
        return status, said["error"]["message"]

    async def post(self, path: str, body: object, *scopes: Scope) -> tuple[int, dict[str, Any]]:
        async with self.client.post(path, json=body, headers=bearer(*scopes or ("operate",))) as answer:
            return answer.status, await answer.json()

    async def publish(self, *records: Record) -> None:
        """Publish, each record a second after the one before it."""
        for record in records:
            await self.bus.publish([record])
            self.clock[0] += timedelta(seconds=1)


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    clock, leaving, application = [NOW], asyncio.Event(), internal_app()
    gate = Gate([token(*scopes) for scopes in (("read",), ("read", "bodies"), ("operate",))], {"127.0.0.1"})
    api = Api(application, gate)
    topics = declared(["alerts"])
    with TemporaryDirectory() as folder:
        async with (
            memory.connect("memory:", namespace="t", topics=topics, clock=lambda: clock[0]) as bus,
            bus.browse() as browser,
            connect(f"sqlite:///{folder}/store.db") as database,
        ):
            await database.create_all()
            names = {"alerts"}
            known, replays, handled = Destinations(database, names), Replays(database), Handled(database)
            add_events(api, browser, leaving)
            searches = Turns(2, "search topics", abreast=1)
            add_deliveries(api, browser, letters(topics), searches)
            add_dead(api, browser, letters(topics), searches, handled)
            add_life(api, browser, letters(topics), searches)
            add_destinations(api, known)
            add_replays(api, replays, known, browser, searches)
            add_retry(api, Retry(browser, bus, handled, replays, letters(topics), destinations=known))
            add_resend(api, browser, searches, known, publisher=bus, replays=replays)
            async with listening(application) as port, aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
                assert isinstance(bus, MemoryBus)
                yield Desk(client, bus, database, leaving, clock, names)


def event(
    number: int, *, account: str = "a1", kind: str = "motion_detected", user: str | None = None, linked: bool = True
) -> Event:
    payload = msgspec.Raw(b'{"meta": {"request_id": "r%d"}}' % number)
    return Event(
        id=f"r{number}",
        type=f"com.ring.{kind}",
        subject="d1",
        time=NOW,
        accountid=account,
        partneruserid=user,
        linked=linked,
        data=EventData(received_at=NOW, payload=payload),
    )


def recorded(shown: Event) -> Record:
    headers, value = cloudevents.binary(shown)
    return Record(topic=EVENT_RECORDED.name, key=shown.accountid.encode(), value=value, headers=headers)


def expire(bus: MemoryBus, topic: str, account: str, below: int) -> None:
    """Let what is below an offset expire, in the index of an account."""
    bus.memory.logs[topic, partition(account.encode(), PARTITIONS)].expire(below)
