"""Keys that wait in rows: the log goes on, order is kept, and a restart forgets nothing."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import cast

import msgspec
import pytest
from msgspec.structs import replace
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from tests.workers.deliver import support
from tests.workers.deliver.support import Sink, attempts, dead_letters, delivering, destination, event, header, until
from workers.bus.contract import Bus
from workers.deliver import health, ledger, parked, session, window
from workers.deliver.forgotten import Forgotten
from workers.deliver.policy import Standard, Tries
from workers.deliver.session import TOPIC
from workers.deliver.tables import tries
from workers.deliver.window import LIMIT, SPAN
from workers.runtime import stops
from workers.runtime.database import Database, StoreUnavailable
from workers.runtime.stops import StopTable
from workers.runtime.waiting import lines, waiting

LONG = Standard(schedule=(0.2,) * 500)


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PARK_AFTER", timedelta(seconds=0.3))


async def rows(store: Database) -> int:
    async with store.read() as connection:
        return await connection.scalar(select(func.count()).select_from(waiting).where(waiting.c.release_n.is_(None))) or 0


async def waits(store: Database, count: int) -> None:
    async with asyncio.timeout(60):
        while await rows(store) != count:  # noqa: ASYNC110 -- the store has no event to set
            await asyncio.sleep(0.02)


async def nothing_left(bus: Bus, group: str) -> None:
    async with asyncio.timeout(20):
        while (await bus.lag(group, [TOPIC])).records:  # noqa: ASYNC110 -- the bus has no event to set
            await asyncio.sleep(0.05)


async def test_a_failing_key_waits_in_rows_and_the_log_goes_on(bus: Bus, sink: Sink, store: Database) -> None:
    broken = True
    sink.answer = lambda identity, _number: 500 if broken and identity.startswith("bad") else 200
    await bus.publish([event(f"bad{turn}", device="bad") for turn in range(3)])
    async with delivering(bus, destination(sink.url), policy=LONG) as worker:
        for turn in range(5):
            await bus.publish([event(f"good{turn}", device="good")])
            await asyncio.sleep(0.1)
        await waits(store, 3)
        await bus.publish([event("bad3", device="bad"), event("good5", device="good")])
        await waits(store, 4)
        await until(lambda: "good5" in sink.ids)
        await nothing_left(bus, worker.name)
        broken = False
        await until(lambda: "bad3" in sink.ids)
        await bus.publish([event("bad4", device="bad")])
        await until(lambda: "bad4" in sink.ids)
        await waits(store, 0)
    assert [one for one in sink.unique if one.startswith("bad")] == ["bad0", "bad1", "bad2", "bad3", "bad4"]
    assert [sink.seen(f"bad{turn}") for turn in range(1, 5)] == [1, 1, 1, 1]
    async with store.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(lines).where(lines.c.release_n.is_(None))) == 0
        assert await connection.scalar(select(func.count()).select_from(tries)) == 0


async def test_what_waits_and_what_it_went_through_outlive_a_restart(bus: Bus, sink: Sink, store: Database) -> None:
    sink.answer = lambda identity, _number: 500 if identity == "bad0" else 200
    policy = Standard(schedule=(0.05, 0.3, 0.1, 0.1, 0.1))
    await bus.publish([event(f"bad{turn}", device="bad") for turn in range(3)])
    for _ in range(2):
        async with delivering(bus, destination(sink.url), policy=policy):
            await bus.publish([event("good", device="good")])
            await waits(store, 3)
    async with delivering(bus, destination(sink.url), policy=policy):
        await bus.publish([event("good", device="good")])
        await until(lambda: "bad2" in sink.ids)
        await waits(store, 0)
    (letter,) = await dead_letters(bus, 1)
    assert (header(letter, "ce_id"), header(letter, "dead_reason")) == ("bad0", "exhausted")
    assert header(letter, "dead_attempts") == str(sink.seen("bad0"))
    assert [one for one in sink.unique if one.startswith("bad")] == ["bad0", "bad1", "bad2"]


async def by_a_clock_ahead(store: Database, ahead: timedelta) -> None:
    """Let what was tried stand in the store as it does where the clock was so far ahead that noted it."""
    async with store.begin() as connection:
        for row in [*await connection.execute(select(tries.c.key, tries.c.due_at, tries.c.tries))]:
            read = msgspec.msgpack.decode(row.tries, type=Tries)
            moved = replace(read, **{name: getattr(read, name) + ahead for name in ("first", "previous", "latest")})
            changes = {"due_at": row.due_at + ahead.total_seconds(), "tries": msgspec.msgpack.encode(moved)}
            await connection.execute(update(tries).where(tries.c.key == row.key).values(changes))


async def test_a_retry_that_was_noted_by_a_clock_ahead_is_due_no_later_than_one_of_now(
    bus: Bus, sink: Sink, store: Database
) -> None:
    sink.answer = lambda identity, _number: 500 if identity == "bad0" else 200
    policy = Standard(schedule=(0.05, 0.3, 0.1, 0.1, 0.1))
    await bus.publish([event(f"bad{turn}", device="bad") for turn in range(2)])
    async with delivering(bus, destination(sink.url), policy=policy):
        await bus.publish([event("good0", device="good")])
        await waits(store, 2)
    await by_a_clock_ahead(store, timedelta(days=1))
    async with delivering(bus, destination(sink.url), policy=policy):
        await bus.publish([event("good1", device="good")])
        await until(lambda: "bad1" in sink.ids)
        await waits(store, 0)
    (letter,) = await dead_letters(bus, 1)
    assert (header(letter, "ce_id"), header(letter, "dead_reason")) == ("bad0", "exhausted"), "its attempts count, too"


@pytest.mark.parametrize("rows_first", [False, True])
async def test_who_follows_a_buried_one_is_known_beyond_a_restart_until_one_succeeds(
    bus: Bus, sink: Sink, store: Database, *, rows_first: bool
) -> None:
    says = {"bad0": 500 if rows_first else 422, "bad1": 422, "bad2": 422, "bad3": 422}
    sink.answer = lambda identity, _number: says.get(identity, 200)
    for turn, name in enumerate(("bad0", "bad1", "fine", "bad2", "bad3")):
        async with delivering(bus, destination(sink.url), policy=LONG):
            await bus.publish([event(name, device="d"), event(f"life{turn}", device="other")])
            if rows_first and name == "bad0":
                await waits(store, 1)
                says[name] = 422
            await until(lambda: f"life{turn}" in sink.ids and name in sink.ids)  # noqa: B023 -- awaited in this turn
            await nothing_left(bus, "delivery.alerts")
            await waits(store, 0)
    letters = await dead_letters(bus, 4)
    told = {header(letter, "ce_id"): header(letter, "dead_reason") for letter in letters}
    assert told == {"bad0": "refused", "bad1": "follower", "bad2": "refused", "bad3": "follower"}
    assert [sink.seen(name) for name in ("bad1", "bad2", "bad3")] == [1, 3, 1]
    async with store.read() as connection:
        kept = [*await connection.scalars(select(tries.c.key))]
    assert [(key[0], len(key)) for key in kept] == [("!", 33)], "what is over is forgotten, and a mark names nobody"


async def test_that_one_was_buried_is_kept_while_it_runs_as_well_and_not_at_once(
    bus: Bus, sink: Sink, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink.answer = lambda _identity, _number: 422
    async with delivering(bus, destination(sink.url)):
        await bus.publish([event("bad0", device="d0")])
        await dead_letters(bus, 1)
        await asyncio.sleep(2 * ledger.STEP_S)
        assert await tried(store) == 0, "a step for each that is buried would cost more than it is worth"
        monkeypatch.setattr(ledger, "MARKS_S", 0.1)
        async with asyncio.timeout(20):
            while await tried(store) != 1:  # noqa: ASYNC110 -- the store has no event to set
                await asyncio.sleep(0.02)


async def tried(store: Database) -> int:
    async with store.read() as connection:
        return await connection.scalar(select(func.count()).select_from(tries)) or 0


async def test_events_without_an_order_wait_each_for_itself(bus: Bus, sink: Sink, store: Database) -> None:
    broken = True
    sink.answer = lambda identity, _number: 500 if broken and identity in {"e1", "e3"} else 200
    await bus.publish([event(f"e{turn}") for turn in range(5)])
    async with delivering(bus, destination(sink.url, key="none"), policy=LONG):
        await waits(store, 2)
        assert [sink.seen(one) for one in ("e0", "e2", "e4")] == [1, 1, 1]
        broken = False
        await until(lambda: all(sink.seen(one) > 1 for one in ("e1", "e3")))
        await waits(store, 0)


async def test_many_keys_wait_and_come_in_order(bus: Bus, sink: Sink, store: Database) -> None:
    broken = True

    async def answer(identity: str, _number: int) -> int:
        await asyncio.sleep(0.001)
        return 500 if broken and identity.startswith("bad") else 200

    sink.answer = answer
    names = [f"bad{key}-{turn:02}" for turn in range(30) for key in range(20)]
    async with delivering(bus, destination(sink.url, concurrency=16), policy=LONG):
        await bus.publish([event(name, device=name.partition("-")[0], account=name.partition("-")[0]) for name in names])
        for turn in range(40):
            await bus.publish([event(f"good{turn}", device=f"good{turn % 7}", account=f"g{turn}")])
            await asyncio.sleep(0.05)
        await waits(store, 600)
        broken = False
        await until(lambda: set(names) <= set(sink.ids))
        await waits(store, 0)
    order = defaultdict(list)
    for identity in sink.unique:
        order[identity.partition("-")[0]].append(identity)
    assert all(came == sorted(came) for key, came in order.items() if key.startswith("bad"))


async def all_in_rows(bus: Bus, store: Database, keys: int, each: int) -> None:
    """Publish events of keys that fail beside one that lives until all of theirs wait."""
    bad = [event(f"bad{key}-{number}", device=f"bad{key}") for number in range(each) for key in range(keys)]
    await bus.publish(bad)
    await waits_beside(bus, store, len(bad))


async def waits_beside(bus: Bus, store: Database, count: int) -> None:
    """Wait until so many wait, beside one that lives."""
    async with asyncio.timeout(20):
        while await rows(store) != count:
            await bus.publish([event("alive", device="good")])
            await asyncio.sleep(0.1)


async def test_after_an_outage_with_nothing_but_rows_left_they_get_what_the_destination_takes(
    bus: Bus, sink: Sink, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PROBE_FIRST_S", 0.1)
    broken, down = True, False

    async def answers(identity: str, _number: int) -> int:
        await asyncio.sleep(0.02)
        return 500 if down or (broken and identity.startswith("bad")) else 200

    sink.answer = answers
    async with delivering(bus, destination(sink.url), policy=LONG) as worker:
        await all_in_rows(bus, store, keys=30, each=12)
        down = True
        await bus.publish([event(f"late{number}", device=f"late{number}") for number in range(8)])
        await until(lambda: worker.flight and worker.flight.health.failing)
        broken, down, sink.most = False, False, 0
        await waits(store, 0)
        assert worker.flight
        assert worker.flight.health.allowed > 8, "what rows take proves as much as live events do"
    assert sink.most > 6


async def test_what_fails_again_in_rows_leaves_the_others_their_places(bus: Bus, sink: Sink, store: Database) -> None:
    hangs, hanging, stuck = False, asyncio.Event(), 0

    async def answers(identity: str, _number: int) -> int:
        nonlocal stuck
        if not identity.startswith("bad"):
            return 200
        stuck += hangs
        if hangs:
            await hanging.wait()
        return 500

    sink.answer = answers
    async with delivering(bus, destination(sink.url, concurrency=8), policy=LONG):
        await all_in_rows(bus, store, keys=12, each=1)
        hangs = True
        for _ in range(30):  # without a sign of life fewer would be tried
            await bus.publish([event("alive", device="good")])
            await asyncio.sleep(0.05)
        hanging.set()
        assert stuck == 2, "a quarter, though hardly anything else is to be sent"


async def test_of_an_account_that_was_forgotten_no_row_keeps_anything_and_none_is_sent(
    bus: Bus, sink: Sink, store: Database
) -> None:
    broken = True
    sink.answer = lambda identity, _number: 500 if broken and identity.startswith("bad") else 200
    slow = Standard(schedule=(0.2, 3.0) + (0.2,) * 500)
    await bus.publish([event(f"bad{who}{turn}", device="bad", account=who) for turn in range(2) for who in ("gone", "stays")])
    async with delivering(bus, destination(sink.url), policy=slow, stops=StopTable(store, "test")):
        await bus.publish([event("good", device="good")])
        await waits(store, 4)
        async with store.begin() as connection:
            await stops.stop(connection, stops.fingerprint("test", "gone"), "forgotten", 1.0)
        assert await Forgotten(store)(datetime.now(UTC)) == timedelta(minutes=1)
        left = [record for record in await records(store) if record]
        assert len(left) == 2
        broken, before = False, len(sink.ids)
        await until(lambda: "badstays1" in sink.ids)
        await waits(store, 0)
    assert not any(b"badgone" in record for record in left)
    assert {*sink.ids[before:]} == {"badstays0", "badstays1"}


async def test_nothing_is_kept_of_who_was_forgotten_where_the_destination_is_configured_no_more(
    bus: Bus, sink: Sink, store: Database
) -> None:
    sink.answer = lambda identity, _number: 500 if identity.startswith("bad") else 200
    await bus.publish([event("bad", device="bad", account="gone"), event("good", device="good")])
    async with delivering(bus, destination(sink.url), policy=LONG):
        await waits(store, 1)
    async with store.begin() as connection:
        await stops.stop(connection, stops.fingerprint("test", "gone"), "forgotten", 1.0)
    await Forgotten(store)(datetime.now(UTC))
    assert await records(store) == [b""]


async def records(store: Database) -> list[bytes]:
    async with store.read() as connection:
        return [*(await connection.scalars(select(waiting.c.record).where(waiting.c.release_n.is_(None))))]


class Refusing:
    """A store that can be read, and takes nothing while it is `full`."""

    def __init__(self, database: Database) -> None:
        self._database, self.full = database, False
        self.read = database.read

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        if self.full:
            raise StoreUnavailable
        async with self._database.begin() as connection:
            yield connection


async def test_while_the_store_takes_no_step_no_row_is_sent(bus: Bus, sink: Sink, store: Database) -> None:
    full, broken = Refusing(store), True
    support.STORES.append(cast("Database", full))
    sink.answer = lambda identity, _number: 500 if broken and identity.startswith("bad") else 200
    await bus.publish([event(f"bad{turn}", device="bad") for turn in range(3)])
    async with delivering(bus, destination(sink.url), policy=LONG):
        await bus.publish([event("good0", device="good")])
        await waits(store, 3)
        full.full = True
        await bus.publish([event("bad3", device="bad")])  # makes a step necessary
        await asyncio.sleep(0.5)
        broken, before = False, len(sink.ids)
        await bus.publish([event("good1", device="good")])
        await until(lambda: "good1" in sink.ids)
        await asyncio.sleep(1)
        assert not [one for one in sink.ids[before:] if one.startswith("bad")]
        full.full = False
        await until(lambda: "bad3" in sink.ids)
        await waits(store, 0)
    support.STORES.remove(cast("Database", full))
    assert [one for one in sink.unique if one.startswith("bad")] == ["bad0", "bad1", "bad2", "bad3"]


async def test_what_waits_under_a_former_key_goes_before_all_that_comes(bus: Bus, sink: Sink, store: Database) -> None:
    broken = True
    sink.answer = lambda identity, _number: 500 if broken and identity.startswith("bad") else 200
    await bus.publish([event(f"bad{turn}", device="bad") for turn in range(2)])
    async with delivering(bus, destination(sink.url), policy=LONG):
        await bus.publish([event("good0", device="good")])
        await waits(store, 2)
    async with delivering(bus, destination(sink.url, key="account"), policy=LONG):
        await bus.publish([event("next", device="other")])  # of the same account
        await asyncio.sleep(1)
        assert "next" not in sink.ids
        broken = False
        await until(lambda: "next" in sink.ids)
    assert [one for one in sink.unique if not one.startswith("good")] == ["bad0", "bad1", "next"]


async def test_what_waits_is_not_sent_once_the_filter_takes_it_no_more_and_that_is_told(
    bus: Bus, sink: Sink, store: Database
) -> None:
    sink.answer = lambda identity, _number: 500 if identity == "press" else 200
    await bus.publish([event("press", device="p", kind="button_press")])
    policy = Standard(schedule=(0.3,) * 99)
    async with delivering(bus, destination(sink.url), policy=policy):
        await bus.publish([event("good", device="g")])
        await waits(store, 1)
    tried = sink.seen("press")
    sink.ids.clear()
    sink.answer = lambda _identity, _number: 200
    async with delivering(bus, destination(sink.url, filter={"exact": {"type": "com.ring.motion_detected"}}), policy=policy):
        await waits(store, 0)
    assert sink.ids == []
    assert (await attempts(bus, tried + 2))[-1]["verdict"] == "unwanted"


async def test_an_outage_fetches_no_more_than_a_note_can_hold(bus: Bus, sink: Sink) -> None:
    sink.answer = lambda _id, _number: 503
    await bus.publish([event(f"e{number}", device=f"d{number}") for number in range(8)])
    async with delivering(bus, destination(sink.url, filter={"prefix": {"subject": "d"}})) as worker:
        await until(lambda: worker.flight and worker.flight.health.failing)
        for _ in range(10):
            await bus.publish([event(f"x{number}", device="x") for number in range(500)])  # which it does not want
        await asyncio.sleep(2)
        assert worker.flight
        assert max(lane.window.end - lane.window.next() for lane in worker.flight.lanes) <= SPAN


async def test_what_waits_is_sent_when_it_is_due_though_its_lane_was_quiet_for_longer_than_a_proof_lasts(
    bus: Bus, sink: Sink, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "PROVEN_FOR_S", 0.8)
    monkeypatch.setattr(session, "PROVE_EVERY_S", 0.3)
    sink.answer = lambda identity, number: 500 if identity == "bad" and number < 4 else 200
    await bus.publish([event("bad", device="bad")])
    async with delivering(bus, destination(sink.url), policy=Standard(schedule=(0.4, 3.0, 3.0))):
        await bus.publish([event("good", device="good")])
        await waits(store, 1)
        await until(lambda: sink.seen("bad") == 4, 15)
        await waits(store, 0)


async def test_keys_that_fail_with_a_full_window_behind_them_do_not_make_a_living_destination_dead_for_ever(
    bus: Bus, sink: Sink, store: Database
) -> None:
    """All of one lane: nobody else's events are in hand with which it could show that it lives."""
    sink.answer = lambda identity, _number: 500 if identity.startswith("bad") else 200
    keys = [f"bad{key}" for key in range(6)]
    await bus.publish([event(f"{key}-first", device=key) for key in keys])
    await bus.publish([event(f"{keys[number % 2]}-{number}", device=keys[number % 2]) for number in range(LIMIT + 40)])
    await bus.publish([event(f"good{number}", device="good") for number in range(20)])
    async with delivering(bus, destination(sink.url), policy=Standard(schedule=(0.3,) * 400)) as worker:
        await until(lambda: "good19" in sink.ids)
        await waits(store, LIMIT + 46)
        assert worker.flight
        assert worker.flight.state(worker.flight.now()) == "well"
    assert sink.ids.count("good0") == 1


@pytest.mark.parametrize("living", range(3))
async def test_whoever_lives_behind_keys_that_fail_is_found_in_whichever_lane_it_is(
    bus: Bus, sink: Sink, monkeypatch: pytest.MonkeyPatch, living: int
) -> None:
    """Every lane is full of them, and each probe that fails lets every lane look further, not only the one that turns first."""
    monkeypatch.setattr(health, "PROBE_LONGEST_S", 0.6)
    monkeypatch.setattr(window, "LIMIT", 96)
    sink.answer = lambda identity, _number: 500 if identity.startswith("bad") else 200
    for lane, account in enumerate(("a1", "a2", "a3")):
        keys = [f"{account}-{key}" for key in range(3)]
        await bus.publish([event(f"bad-{key}", device=key, account=account) for key in keys])
        behind = [event(f"bad-{account}-{n}", device=keys[n % 2], account=account) for n in range(160)]
        await bus.publish([*behind, *([event("good", device="good", account=account)] if lane == living else [])])
    async with delivering(bus, destination(sink.url), policy=Standard(schedule=(0.3,) * 400)) as worker:
        await until(lambda: worker.flight and worker.flight.health.probes > 1)
        await until(lambda: worker.flight and worker.flight.health.life, 12)


async def test_who_fails_does_not_hold_up_its_neighbours_however_many_follow(
    bus: Bus, sink: Sink, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "PARK_AFTER", timedelta(seconds=30))
    monkeypatch.setattr(window, "SPAN", 96)
    sink.answer = lambda identity, _number: 500 if identity.startswith("bad") else 200
    async with delivering(bus, destination(sink.url), policy=LONG):
        for lot in range(5):
            await bus.publish([event(f"bad{lot}", device=f"b{lot}"), *(event(f"good{lot}-{n}", device="g") for n in range(100))])
        await until(lambda: len([one for one in sink.unique if one.startswith("good")]) == 500)
        assert await rows(store) <= 5


async def test_a_key_that_is_slow_waits_in_rows_and_its_neighbours_go_at_their_own_pace(
    bus: Bus, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "PARK_AFTER", timedelta(seconds=30))
    monkeypatch.setattr(window, "SPAN", 96)

    async def answer(identity: str, _number: int) -> int:
        await asyncio.sleep(0.4 if identity.startswith("slow") else 0)
        return 200

    sink.answer = answer
    lots = [[event(f"slow{lot}", device="s"), *(event(f"good{lot}-{n}", device=f"g{n}") for n in range(30))] for lot in range(14)]
    await bus.publish([one for lot in lots for one in lot])
    async with delivering(bus, destination(sink.url)):
        await until(lambda: len([one for one in sink.unique if one.startswith("good")]) == 420)
        assert len([one for one in sink.unique if one.startswith("slow")]) < 9
        await until(lambda: "slow13" in sink.ids, 20)
    assert [one for one in sink.ids if one.startswith("slow")] == [f"slow{n}" for n in range(14)]


async def test_a_session_takes_in_all_lines_that_it_finds_however_many_at_a_time(
    bus: Bus, sink: Sink, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LOT", 2)
    sink.answer = lambda identity, _number: 500 if identity.startswith("bad") else 200
    await bus.publish([event(f"bad{key}", device=f"bad{key}") for key in range(5)])
    async with delivering(bus, destination(sink.url), policy=LONG):
        await bus.publish([event("good", device="good")])
        await waits(store, 5)
    sink.answer = lambda _identity, _number: 200
    async with delivering(bus, destination(sink.url), policy=LONG):
        await waits(store, 0)


async def test_a_lane_in_which_no_further_key_may_wait_says_so_once_and_once_when_that_is_over(
    bus: Bus, sink: Sink, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parked, "KEYS_LIMIT", 10)
    broken = {f"bad{key}" for key in range(14)}
    sink.answer = lambda identity, _number: 500 if identity in broken else 200
    with capture_logs() as lines:
        async with delivering(bus, destination(sink.url), policy=LONG):
            await bus.publish([event(name, device=name) for name in sorted(broken)])
            for _turn in range(4):
                await waits_beside(bus, store, 10)
                broken.pop()  # another takes its place
            broken.clear()
            await waits_beside(bus, store, 0)
            await until(lambda: any(line["event"] == "delivery.lane_eased" for line in lines))
    told = [line for line in lines if line["event"] in {"delivery.lane_crowded", "delivery.lane_eased"}]
    assert [line["log_level"] for line in told] == ["warning", "info"]
    assert (told[0]["destination"], told[0]["keys"]) == ("alerts", 10)
    assert "ringhook deliveries list" in told[0]["remedy"]


async def test_while_the_destination_is_dead_its_backlog_stays_on_the_bus(bus: Bus, sink: Sink, store: Database) -> None:
    sink.answer = lambda _identity, _number: 503
    await bus.publish([event(f"e{number}", device=f"d{number}") for number in range(400)])
    async with delivering(bus, destination(sink.url), policy=Standard(schedule=(60.0,) * 9)) as worker:
        await until(lambda: len(sink.ids) > 8 and worker.flight and worker.flight.health.failing)
        assert await rows(store) == 0
        sink.answer = lambda _identity, _number: 200
        await until(lambda: len(sink.unique) == 400)


async def test_a_long_outage_of_a_destination_with_few_devices_leaves_its_backlog_on_the_bus(
    bus: Bus, sink: Sink, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PROBE_LONGEST_S", 1.0)
    sink.answer = lambda _identity, _number: 500
    await bus.publish([event(f"e{number}", device=f"d{number % 6}") for number in range(LIMIT + 400)])
    async with delivering(bus, destination(sink.url), policy=Standard(schedule=(0.3,) * 9)) as worker:
        await until(lambda: worker.flight and worker.flight.health.probes >= 5, 90)
        assert worker.flight
        assert await rows(store) <= LIMIT + session.AHEAD * worker.flight.health.probes
        sink.answer = lambda _identity, _number: 200
        await until(lambda: len(sink.unique) == LIMIT + 400, 100)
    for device in range(6):
        mine = [name for name in dict.fromkeys(sink.ids) if int(name[1:]) % 6 == device]
        assert mine == [f"e{number}" for number in range(device, LIMIT + 400, 6)]
