"""Nothing is sent for an account that was removed or forgotten: the table, and deliver before each attempt."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence

import pytest
from sqlalchemy import select

from schemas.records import CLOCKS_APART
from schemas.ring.envelope import REMOVED
from schemas.topics import DELIVERY_ATTEMPTED, EVENT_RECORDED, delivery
from tests.workers.deliver.support import Nobody, Sink, delivering, destination, event, until
from workers.bus.contract import Bus, Lane, Stop
from workers.runtime import setback, stops
from workers.runtime.database import Database, StoreUnavailable, connect
from workers.runtime.stops import CACHED_S, StopTable, Why, fingerprint


@pytest.fixture
async def database(store_url: str) -> AsyncIterator[Database]:
    async with connect(store_url) as database:
        await database.create_all()
        yield database


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


async def put(database: Database, account: str, why: Why, namespace: str = "test", *, since: float = 1_771_130_906.0) -> None:
    async with database.begin() as connection:
        await stops.stop(connection, fingerprint(namespace, account), why, since)


async def freed(database: Database, account: str, at: float = 0.0) -> None:
    async with database.begin() as connection:
        await stops.free(connection, {fingerprint("test", account): at})


async def test_a_removal_is_seen_within_five_seconds_and_a_relink_at_once(database: Database) -> None:
    clock = Clock()
    table = StopTable(database, "test", clock)
    assert not await table.why("a1")
    await put(database, "a1", "removed")
    clock.now += CACHED_S - 0.1
    assert not await table.why("a1")
    clock.now += 0.1
    assert await table.why("a1")
    assert not await table.why("a2")
    await freed(database, "a1")
    assert not await table.why("a1")


async def test_a_relink_undoes_a_removal_and_never_a_forget(database: Database) -> None:
    table = StopTable(database, "test")
    await put(database, "a1", "removed")
    await put(database, "a1", "forgotten")
    await put(database, "a1", "removed")
    await freed(database, "a1")
    assert await table.why("a1")


async def test_a_relink_leaves_when_it_came_and_may_be_undone_by_another_removal(database: Database) -> None:
    table = StopTable(database, "test")
    await freed(database, "a1", 50.0)
    assert (await table.why("a1"), table.since("a1")) == (None, 0.0)
    await put(database, "a2", "removed")
    await freed(database, "a2", 100.0)
    await freed(database, "a2", 200.0)
    assert (await table.why("a2"), table.since("a2")) == (None, 100.0)
    await put(database, "a2", "removed")
    table = StopTable(database, "test")
    assert await table.why("a2") == "removed"
    await freed(database, "a2", 300.0)
    assert (await table.why("a2"), table.since("a2")) == (None, 300.0)
    async with database.read() as connection:
        assert await stops.forgotten(connection, "test", ["a2"]) == set()


async def test_another_namespaces_rows_stop_nobody_and_no_row_names_an_account(database: Database) -> None:
    await put(database, "acct-1", "removed", namespace="staging")
    assert not await StopTable(database, "test").why("acct-1")
    async with database.read() as connection:
        [row] = (await connection.execute(select(stops.stops))).all()
    assert "acct" not in str(row)
    assert len(row.account_hash) == 64


async def test_in_a_restored_store_nobody_knows_who_is_removed_until_it_is_mended(database: Database) -> None:
    table = StopTable(database, "test")
    await put(database, "gone", "removed")
    await put(database, "never", "forgotten")
    await setback.found(database, "dispatch", 0, 9, 1)
    asked = await asyncio.gather(*map(table.why, ("gone", "never", "here")), return_exceptions=True)
    assert isinstance(asked[0], StoreUnavailable)
    assert "restored from a backup" in str(asked[0])
    assert asked[1:] == ["forgotten", None]
    async with database.begin() as connection:
        assert await setback.advance(connection, setback.FOUND, None)
    assert await table.why("gone") == "removed"


async def test_a_young_process_believes_no_removal_from_before_it_as_nobody_may_have_seen_yet_that_the_store_is_old(
    database: Database,
) -> None:
    clock = Clock()
    table = StopTable(database, "test", clock, young=60.0, began=1_771_130_906.5)
    await put(database, "before", "removed")
    await put(database, "since", "removed", since=1_771_130_907.0)
    with pytest.raises(StoreUnavailable, match="60 s old"):
        await table.why("before")
    assert await table.why("since") == "removed"
    clock.now += 60.0
    assert await table.why("before") == "removed"


async def test_accounts_that_wait_together_are_looked_up_by_one_statement(database: Database) -> None:
    await put(database, "a3", "removed")
    table, asked = StopTable(database, "test"), list[int]()
    read = table._read

    async def counted(hashes: list[str]) -> dict[str, Why]:
        asked.append(len(hashes))
        return await read(hashes)

    object.__setattr__(table, "_read", counted)
    found = await asyncio.gather(*(table.why(f"a{number % 10}") for number in range(100)))
    assert found.count("removed") == 10
    assert len(asked) <= 2 + 10  # those of the stopped account look again themselves
    assert max(asked) >= 9


async def attempts(bus: Bus, count: int) -> Sequence[dict[str, object]]:
    told: list[dict[str, object]] = []
    over = asyncio.Event()

    async def work(lane: Lane, ends: Stop) -> None:
        await lane.open()
        while not ends.is_set():
            told.extend(json.loads(held.value) for held in await lane.fetch(100, 0.05))
            if len(told) >= count:
                over.set()

    async with asyncio.timeout(40):
        await bus.consume([DELIVERY_ATTEMPTED.name], "reader", work, over, atomic=False)
    return told


async def test_events_of_a_stopped_account_go_nowhere_and_are_told(bus: Bus, sink: Sink, store: Database) -> None:
    await put(store, "gone", "removed")
    names = [(f"{account}-{turn}", account) for turn in range(3) for account in ("gone", "here")]
    await bus.publish([event(name, account=account, device=account) for name, account in names])
    async with delivering(bus, destination(sink.url), stops=StopTable(store, "test")):
        await until(lambda: len(sink.ids) == 3)
        told = [line for line in await attempts(bus, 6) if line["verdict"] == "cancelled"]
    assert sink.ids == ["here-0", "here-1", "here-2"]
    assert [(line["event"], line["number"]) for line in told] == [("gone-0", 0), ("gone-1", 0), ("gone-2", 0)]
    assert (await bus.lag(delivery("alerts"), [EVENT_RECORDED.name])).records == 0


async def test_the_partner_still_hears_of_a_removal_and_of_a_forgotten_account_nothing(
    bus: Bus, sink: Sink, store: Database
) -> None:
    await put(store, "gone", "removed")
    await put(store, "never", "forgotten")
    farewells = [event(f"bye-{account}", account=account, kind=REMOVED) for account in ("never", "gone")]
    await bus.publish(farewells)
    async with delivering(bus, destination(sink.url), stops=StopTable(store, "test")):
        await until(lambda: sink.ids)
        await attempts(bus, 2)
    assert sink.ids == ["bye-gone"]


async def test_what_waited_when_an_account_was_removed_is_not_sent_once_it_is_back(bus: Bus, sink: Sink, store: Database) -> None:
    await bus.publish([event("before", account="a1"), event("bye", account="a1", kind=REMOVED), event("other", account="a2")])
    await asyncio.sleep(2 * CLOCKS_APART)
    await put(store, "a1", "removed")
    await freed(store, "a1", time.time())
    await bus.publish([event("after", account="a1")])
    async with delivering(bus, destination(sink.url), stops=StopTable(store, "test")):
        await until(lambda: len(sink.ids) == 3)
        told = [line for line in await attempts(bus, 4) if line["verdict"] == "cancelled"]
    assert sorted(sink.ids) == ["after", "bye", "other"]
    assert [line["event"] for line in told] == ["before"]


async def test_a_removal_ends_the_retries_of_what_came_before_it(bus: Bus, sink: Sink, store: Database) -> None:
    sink.answer = lambda identity, _number: 500 if identity == "e1" else 200
    await bus.publish([event("e1", account="a1"), event("e2", account="a1"), event("life", account="a2", device="d2")])
    clock = Clock()
    async with delivering(bus, destination(sink.url), stops=StopTable(store, "test", clock)):
        await until(lambda: sink.seen("e1"))
        await put(store, "a1", "removed")
        clock.now += CACHED_S
        told = await attempts(bus, 2)
        while sum(line["verdict"] == "cancelled" for line in told) < 2:
            told = await attempts(bus, len(told) + 1)
    assert sink.seen("e2") == 0
    assert sink.seen("life") == 1


async def test_nothing_is_sent_while_nobody_knows_who_is_stopped(bus: Bus, sink: Sink) -> None:
    class Away(Nobody):
        def __init__(self) -> None:
            self.asked = 0

        async def why(self, account: str) -> None:
            del account
            self.asked += 1
            if self.asked < 3:
                raise StoreUnavailable("away")

    away = Away()
    await bus.publish([event("e1")])
    async with delivering(bus, destination(sink.url), stops=away):
        await until(lambda: sink.ids)
    assert (sink.ids, away.asked) == (["e1"], 3)
