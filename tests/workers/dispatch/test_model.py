"""What waits, beside a naive reader with a list per account: any deeds in any order, some undone, across restarts."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from tempfile import TemporaryDirectory
from typing import Any, cast

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas import cloudevents
from schemas.ring.peek import peek
from tests.workers.dispatch.house import NOW, body, changed, received
from workers.bus.contract import Held, Lane, Record, Start
from workers.dispatch.job import Dispatch
from workers.dispatch.parked import Bounds
from workers.dispatch.tables import STEPPED
from workers.runtime.database import Database, connect
from workers.runtime.jobs import Step
from workers.runtime.lane import Session, note

HOUR = timedelta(hours=1)
LONG_AGO = NOW - 9_999 * HOUR
BOUNDS = Bounds(wait=3 * HOUR, per_account=3, in_all=12 * 4)
NAMES = st.sampled_from("AB")
EVENTS = st.lists(st.tuples(st.just("event"), NAMES, st.integers(0, 9)), min_size=1, max_size=6)
NEWS = st.tuples(st.sampled_from(["link", "link", "relink", "lose", "farewell", "remove", "remove", "forget"]), NAMES)
PARTS = st.lists(st.one_of(EVENTS, NEWS.map(lambda news: [news])), max_size=3)
BATCH = st.tuples(st.just("batch"), PARTS.map(lambda parts: [*chain.from_iterable(parts)]))
DEEDS = st.tuples(
    st.one_of(BATCH, BATCH, st.just(("due", ())), st.just(("restart", ()))), st.sampled_from([True, True, True, False])
)
LINK, WAITS = [("link", "A")], [("event", "A", 1)]
DUE = ("due", ()), True
Told = tuple[str, str, bool, str | None]  # account, id, linked, user


def batch(deeds: Sequence[tuple[Any, ...]]) -> tuple[tuple[str, Any], bool]:
    return ("batch", deeds), True


@dataclass
class Naive:
    """What a reader does who keeps everything in lists."""

    known: set[str] = field(default_factory=set)
    waiting: defaultdict[str, list[tuple[str, datetime]]] = field(default_factory=lambda: defaultdict(list))
    users: dict[str, tuple[str, datetime]] = field(default_factory=dict)  # whose events, and since when
    linked: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    doubted: set[str] = field(default_factory=set)  # events that waited when a removal was told
    out: list[Told] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)

    def batch(self, deeds: Sequence[tuple[str, ...]], now: datetime) -> None:
        grown = set[str]()
        for deed, account, *more in deeds:
            if deed == "event":
                self.event(account, f"{account}{more[0]}", now, grown)
            elif deed == "farewell":
                self.tell(account, "farewell", now)
                self.doubted |= {name for name, _ in self.waiting[account]}
            else:
                self.news(deed, account, now)
        for account in grown - self.linked:
            while len(self.waiting[account]) > 3:
                self.bury(account)
        while grown and any(map(len, self.waiting.values())) and sum(map(len, self.waiting.values())) > 4:
            full = [account for account in sorted(self.waiting) if self.waiting[account] and account not in self.linked]
            if not full:
                break
            self.bury(max(full, key=lambda account: len(self.waiting[account])))

    def event(self, account: str, name: str, now: datetime, grown: set[str]) -> None:
        if name in self.known:
            return
        self.known.add(name)
        if account in self.linked and not self.waiting[account]:
            self.tell(account, name, now)
        else:
            self.waiting[account].append((name, now))
            grown.add(account)

    def news(self, deed: str, account: str, now: datetime) -> None:
        self.removed.discard(account)
        self.linked.discard(account)
        if deed in ("link", "relink"):
            user = {"link": "u", "relink": "v"}[deed]
            former, since = self.users.get(account, (user, LONG_AGO))
            self.users[account] = (user, since if former == user else now)
            self.linked.add(account)
        if deed == "remove":
            self.removed.add(account)
            self.waiting[account] = [one for one in self.waiting[account] if one[0] not in self.doubted]
        if deed == "forget":
            self.waiting[account].clear()
            self.users.pop(account, None)

    def bury(self, account: str) -> None:
        name, _ = self.waiting[account].pop(0)
        self.known.discard(name)
        self.dead.add(name)

    def tell(self, account: str, name: str, since: datetime) -> None:
        user, begun = self.users.get(account, ("", since))
        mine = account in self.linked and since >= begun
        self.out.append((account, name, mine, user if mine else None))

    def due(self, now: datetime) -> None:
        ready = [account for account in sorted(self.waiting) if account in self.linked and self.waiting[account]]
        for account in ready:
            for name, since in self.waiting.pop(account):
                self.tell(account, name, since)
        for account in () if ready else sorted(self.waiting):
            while self.waiting[account] and self.waiting[account][0][1] <= now - BOUNDS.wait:
                name, _ = self.waiting[account].pop(0)
                if account not in self.removed:
                    self.out.append((account, name, False, None))


class Current(Dispatch):
    """Always reads what is present."""

    def _settled(self, index: int, now: datetime) -> bool:
        return super()._settled(index, now) or True


class Opened:
    def __init__(self, n: int) -> None:
        self.n = n

    async def open(self) -> Start:
        return Start(next={}, note=note(self.n), gaps={})


@dataclass
class Real:
    """Dispatch on one lane of a store."""

    database: Database
    lane: Session
    job: Dispatch = field(default_factory=lambda: Current("test", BOUNDS))
    versions: int = 0
    users: dict[str, tuple[str, datetime]] = field(default_factory=dict)  # as the linker has them
    out: list[Told] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)

    async def restart(self) -> None:
        n, self.job = self.lane.n, Current("test", BOUNDS)
        self.lane = Session(self.database, "dispatch", 0, STEPPED)
        await self.lane.open(cast("Lane", Opened(n)), lambda act: act())

    async def step(self, deed: str, deeds: Sequence[tuple[str, ...]], now: datetime, *, stands: bool) -> None:
        users = self.users.copy()
        async with self.lane.step() as step:
            made = await self.due(step, now) if deed == "due" else await self.batch(step, deeds, now)
        if not stands:
            await self.lane.undo()
            self.users = users
            return
        self.lane.n += 1
        for record in made:
            if record.topic == "event.recorded":
                event = cloudevents.read(record.headers, record.value)
                name = "farewell" if event.id.startswith("farewell") else event.id
                self.out.append((event.accountid, name, event.linked, event.partneruserid))
            elif record.topic == "webhook.received.dead":
                self.dead.add(peek(record.value).request_id)

    async def due(self, step: Step, now: datetime) -> Sequence[Record]:
        return await self.job.due(step, 1_000, now) or ()

    async def batch(self, step: Step, deeds: Sequence[tuple[str, ...]], now: datetime) -> Sequence[Record]:
        records = [self.record(deed, account, now, *map(str, more)) for deed, account, *more in deeds]
        held = [Held(**msgspec.structs.asdict(record), index=0, offset=at, time=now) for at, record in enumerate(records)]
        return [record for result in await self.job(held, step, now) for record in cast("Sequence[Record]", result)]

    def record(self, deed: str, account: str, now: datetime, name: str = "") -> Record:
        self.versions += 1
        if deed == "event":
            return received(body(account + name, account=account, device=account, at=now), now)
        if deed == "farewell":
            return received(body(f"farewell-{self.versions}", account=account, kind="app_integration_removed", at=now), now)
        if deed == "forget":
            self.users.pop(account, None)
            return Record(topic="account.changed", key=account.encode(), value=b"")
        if deed in ("link", "relink"):
            user = {"link": "u", "relink": "v"}[deed]
            former, since = self.users.get(account, (user, LONG_AGO))
            self.users[account] = user, since if former == user else now
            return changed(account, self.versions, user=user, at=now, since=self.users[account][1])
        state = "removed" if deed == "remove" else "lost"
        return changed(account, self.versions, linked=False, user=None, state=state, at=now)


@settings(max_examples=50, deadline=None)
@example([*map(batch, (LINK, [("forget", "A")], WAITS))])
@example([batch([("event", "A", at) for at in range(4)]), batch(LINK), DUE])
@example([batch(WAITS), batch(LINK), DUE, batch([("lose", "A")]), batch([("event", "A", 2)])])
@example([batch([*WAITS, ("farewell", "A"), ("event", "A", 2)]), batch([("remove", "A")]), batch(LINK), DUE])
@example([batch([*WAITS, ("relink", "A")]), batch(LINK), DUE])
@example([batch(WAITS), batch([("forget", "A"), ("remove", "A")]), batch(LINK), DUE])
@given(st.lists(DEEDS, min_size=4, max_size=14))
def test_any_deeds_some_undone_end_as_a_naive_reader_expects(deeds: list[tuple[tuple[str, Any], bool]]) -> None:
    asyncio.run(compared(deeds))


async def compared(deeds: list[tuple[tuple[str, Any], bool]]) -> None:
    naive, now = Naive(), NOW
    with TemporaryDirectory() as folder:
        async with connect(f"sqlite:///{folder}/store.db") as database:
            await database.create_all()
            real = Real(database, Session(database, "dispatch", 0, STEPPED))
            await real.restart()
            for (deed, more), stands in deeds:
                now += HOUR
                if deed == "restart":
                    await real.restart()
                    continue
                await real.step(deed, more, now, stands=stands)
                if stands:
                    naive.due(now) if deed == "due" else naive.batch(more, now)
                assert real.out == naive.out
                assert real.dead == naive.dead
