"""A linker on a real store beside a Ring over HTTP; time is a number that the test moves."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import update

from linker import places
from linker.advance import Advance
from linker.budget import Budget
from linker.intake import Intake
from linker.places import Asked, Book
from linker.placestore import Reply
from linker.progress import Explain
from linker.ringapi import Credentials, RingApi
from linker.rows import Grant
from linker.standing import Standing
from linker.store import Store
from linker.tables import attempts, grants
from linker.vault import Vault
from schemas.errors import Rejected
from schemas.records import App, CodeReceived, LinkRequested, LinkSecret, Notice
from tests.linker.ring import Ring
from workers.bus.contract import Held
from workers.runtime.clock import steady
from workers.runtime.database import Database
from workers.runtime.jobs import Step
from workers.runtime.sealing import CodeOpener, CodeSealer, Keyring, generate_code_keys, generate_key
from workers.runtime.secrets import Secret
from workers.runtime.storefault import StoreUnavailable

AT = 1_771_130_906.0
PUBLIC, PRIVATE = generate_code_keys()
VAULT = generate_key()
APPS: dict[App, Credentials] = {
    "first": Credentials("client-1", Secret("canary-client-secret"), Secret("test-hmac-key")),
    "next": Credentials("client-1", Secret("canary-client-secret"), Secret("other-hmac-key")),
}


class Clock:
    """Time, which the test moves."""

    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> float:
        return self.now


class Noted:
    """What the linker took as proven, as often as it did."""

    def __init__(self) -> None:
        self.kinds: list[Notice] = []

    def proven(self, kind: Notice) -> None:
        self.kinds.append(kind)


class Shared:
    """The places that linkers share, in memory; how long Ring wants rest is forgotten with the linker that heard it."""

    def __init__(self, clock: Callable[[], float] = steady) -> None:
        self.clock, self.book = clock, Book()

    async def ask(self, asked: Asked) -> Reply:
        here = self.clock()
        self.book, answered = places.answered(self.book, replace(asked, rests=0.0), here=here, now=here)
        return Reply(answered, here, here)


@dataclass
class Rig:
    database: Database
    ring: Ring
    api: RingApi
    store: Store
    clock: Clock
    owners: int = 0
    secrets: list[str] = field(default_factory=list)
    noted: Noted = field(default_factory=Noted)

    def __post_init__(self) -> None:
        self.places = Shared()
        self.sealer, self.opener = CodeSealer(PUBLIC), CodeOpener(PRIVATE)
        self.vault = Vault(Keyring.parse(VAULT), "test")
        self.intake = Intake(self.opener)
        self.explain = Explain(Standing(self.database), self.clock)

    @property
    def now(self) -> float:
        return self.clock.now

    @now.setter
    def now(self, value: float) -> None:
        self.clock.now = value

    def linker(
        self,
        *,
        store: object = None,
        api: object = None,
        budget: Budget | None = None,
        apps: Collection[App] = tuple(APPS),
        **more: Any,  # noqa: ANN401 - handed through
    ) -> Advance:
        self.owners += 1
        return Advance(
            store=store or self.store,  # type: ignore[arg-type]
            ring=api or self.api,  # type: ignore[arg-type]
            vault=self.vault,
            opener=self.opener,
            keys={app: APPS[app].hmac_key for app in apps},
            budget=budget or Budget(self.places, 10_000),
            owner=f"linker-{self.owners}",
            notices=self.noted,
            clock=self.clock,
            **more,
        )

    async def feed(self, *records: Held) -> list[Any]:
        async with self.database.begin() as connection:
            step = Step(connection=connection, group="linker.intake", index=0, n=1)
            return list(await self.intake(records, step, datetime.fromtimestamp(self.now, UTC)))

    async def code(
        self, account: str, code: str = "", *, at: float | None = None, app: App = "first", stranger: bool = False
    ) -> str:
        code = code or f"canary-code-{account}"
        self.secrets.append(code)
        self.ring.allow(code, account)
        received = datetime.fromtimestamp(self.now if at is None else at, UTC)
        value = CodeReceived(code=self.sealer.seal(code.encode()), received_at=received, app=app, stranger=stranger)
        code_hash = sha256(code.encode()).hexdigest()
        assert await self.feed(held("code.received", code_hash, value)) == [()]
        return code_hash

    async def sign_in(self, attempt: str, nonce: str, time: str, user: str = "u1") -> None:
        self.secrets.append(nonce)
        self.ring.redirected(nonce, time)
        assert await self.feed(held("link.requested", attempt, self.request(attempt, nonce, time, user))) == [()]

    def request(self, attempt: str, nonce: str, time: str, user: str) -> LinkRequested:
        secret = msgspec.json.encode(LinkSecret(nonce=nonce, account_identifier="u***r@example.com"))
        return LinkRequested(
            attempt=attempt,
            secret=self.sealer.seal(secret),
            time=time,
            partner_user=user,
            requested_at=datetime.fromtimestamp(self.now, UTC),
        )

    def time(self, ago: float = 0.0) -> str:
        return str(int((self.now - ago) * 1000))

    async def turn(self, linker: Advance, until: Callable[[], Awaitable[bool]], turns: int = 400) -> None:
        """Sweep until it is so; where the linker wants to sleep, move the time on instead."""
        for _ in range(turns):
            try:
                pause = await linker(datetime.fromtimestamp(self.now, UTC))
            except StoreUnavailable:
                continue  # as the driver of sweeps would
            if linker._running:
                await asyncio.wait(linker._running, timeout=5)
            elif pause > timedelta(0):
                if await until():
                    return
                due = (await Store(self.database).next_due()).first()
                self.now = max(self.now + pause.total_seconds(), due or 0.0)
        raise AssertionError("not in time")

    async def turn_once(self, linker: Advance) -> None:
        pause = await linker(datetime.fromtimestamp(self.now, UTC))
        if linker._running:
            await asyncio.wait(linker._running, timeout=0.05)
        else:
            self.now += min(pause.total_seconds(), 0.2)

    async def settle(self, linker: Advance, *hashes: str, turns: int = 400) -> list[Grant]:
        """Run until these grants have completed or ended, and return them."""

        async def done() -> bool:
            found = await self.grants(*hashes)
            return all(grant.stage == "rest" for grant in found)

        async with linker:
            await self.turn(linker, done, turns)
        return await self.grants(*hashes)

    async def state(self, linker: Advance, code_hash: str, state: str) -> Grant:
        return (await self.states(linker, state, code_hash))[0]

    async def states(self, linker: Advance, state: str, *hashes: str) -> list[Grant]:
        async def there() -> bool:
            return {grant.state for grant in await self.grants(*hashes)} == {state}

        async with linker:
            await self.turn(linker, there)
        return await self.grants(*hashes)

    async def grants(self, *hashes: str) -> list[Grant]:
        store = Store(self.database)
        return [grant for code_hash in hashes if (grant := await store.grant(code_hash))]

    async def let_leases_end(self) -> None:
        """Let the leases of the dead be over; a store that is busy with burying them is asked again."""
        async with asyncio.timeout(20):
            while not await self._end_leases():
                pass

    async def _end_leases(self) -> bool:
        try:
            await self._without_leases()
        except StoreUnavailable:
            return False
        return True

    async def _without_leases(self) -> None:
        async with self.database.begin() as connection:
            await connection.execute(update(grants).values(lease_until=0.0))
            await connection.execute(update(attempts).values(lease_until=0.0))


def held(topic: str, key: str, value: msgspec.Struct) -> Held:
    now = datetime.fromtimestamp(AT, UTC)
    return Held(topic=topic, key=key.encode(), value=msgspec.json.encode(value), index=0, offset=0, time=now)


__all__ = ["APPS", "AT", "Rejected", "Rig", "held"]
