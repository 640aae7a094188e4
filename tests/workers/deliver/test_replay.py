"""What was recorded is delivered again to one destination: once each, in order, whatever ends in between, beside live traffic."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from time import monotonic

import pytest
from msgspec.structs import replace
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from schemas.cloudevents import read
from schemas.topics import EVENT_RECORDED, delivery_held
from tests.workers.deliver.support import STORES, Sink, attempts, delivering, destination, event, header, until
from tests.workers.deliver.support import read as everything
from workers.bus.contract import Bus, Held, Record, Stop
from workers.deliver import aside, session, wishes
from workers.deliver import replay as rows
from workers.deliver.policy import Again, Cancel, Done, Standard
from workers.deliver.replay import Replay, State, Wanted, again, held_group, matching
from workers.deliver.replays import Replays
from workers.deliver.tally import Tally
from workers.runtime import setback
from workers.runtime.database import StoreUnavailable
from workers.runtime.drive import Drive
from workers.runtime.namespace import installation

EVENTS = [event(f"{device}{number}", device=device) for number in range(4) for device in "ABC"]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "SETTLED_S", 0.5)
    monkeypatch.setattr(aside, "SENT_S", 0.5)
    monkeypatch.setattr(aside, "LOOK_S", 0.1)
    monkeypatch.setattr(wishes, "FRESH_S", 0.0)


async def begin(wanted: Wanted | None = None, name: str = "r1", **changes: object) -> Replay:
    now = datetime.now(UTC).timestamp()
    made = Replay(
        id=name,
        destination="alerts",
        state="copying",
        wanted=wanted or Wanted(),
        begin_at=now - 3600,
        end_at=now,
        total=len(EVENTS),
        looked=0,
        copied=0,
        by="ada",
        asked_at=now,
    )
    made = replace(made, **changes)
    async with STORES[-1].begin() as connection:
        assert await rows.begin(connection, made)
        assert not await rows.begin(connection, made)
    return made


async def found(name: str = "r1") -> Replay:
    async with STORES[-1].read() as connection:
        one = await rows.find(connection, name)
    assert one
    return one


async def reaches(state: State, name: str = "r1") -> Replay:
    async with asyncio.timeout(60):
        while (one := await found(name)).state != state:  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.05)
    return one


def keyed(ids: list[str]) -> dict[str, list[str]]:
    return {device: [name for name in ids if name.startswith(device)] for device in "ABC"}


PRESSES = {"exact": {"type": "com.ring.button_press"}}
WHOLE = {device: [f"{device}{number}" for number in range(4)] for device in "ABC"}


async def test_a_range_is_sent_again_in_order_marked_and_live_events_only_once(bus: Bus, sink: Sink) -> None:
    await bus.publish(EVENTS)
    async with delivering(bus, destination(sink.url)):
        await until(lambda: len(sink.ids) == len(EVENTS))
        await begin()
        await until(lambda: len(sink.ids) == 2 * len(EVENTS))
        await bus.publish([event("late", device="A")])
        done = await reaches("done")
        await until(lambda: "late" in sink.ids)
    assert keyed(sink.ids[len(EVENTS) :]) == WHOLE
    assert sink.seen("late") == 1
    assert (done.looked, done.copied, done.ended_at is not None) == (len(EVENTS), len(EVENTS), True)
    first, second = ([headers for headers, _ in sink.requests if headers["webhook-id"] == "B2"])[:2]
    assert (first.get("webhook-replay"), second["webhook-replay"]) == (None, "r1")
    bodies = [body for headers, body in sink.requests if headers["webhook-id"] == "B2"]
    assert bodies[0] == bodies[1], "the sequence is the first one's"


async def test_only_what_is_wanted_comes_again(bus: Bus, sink: Sink) -> None:
    await bus.publish([*EVENTS, event("other", device="A", kind="button_press")])
    async with delivering(bus, destination(sink.url)):
        await until(lambda: len(sink.ids) == len(EVENTS) + 1)
        await begin(Wanted(filter={"exact": {"subject": "A"}}, ids=("A1", "A3", "B1")))
        done = await reaches("done")
    assert sink.ids[len(EVENTS) + 1 :] == ["A1", "A3"]
    assert done.copied == 2


async def test_a_range_is_counted_and_sent_as_the_destinations_own_filter_says(bus: Bus, sink: Sink) -> None:
    await bus.publish([*EVENTS, event("press", device="A", kind="button_press")])
    async with delivering(bus, destination(sink.url, filter=PRESSES)):
        await until(lambda: sink.ids == ["press"])
        await begin()
        done = await reaches("done")
    assert sink.ids == ["press", "press"]
    assert (done.looked, done.copied, done.accepted) == (len(EVENTS) + 1, 1, 1)


async def test_what_was_put_aside_under_a_wider_filter_is_not_sent_and_that_is_told_and_counted(bus: Bus, sink: Sink) -> None:
    await bus.publish([event("A1", device="A")])
    (held,) = await everything(bus, EVENT_RECORDED.name, 1)
    async with delivering(bus, destination(sink.url, filter=PRESSES)):
        await begin(name="r1", state="sending")
        await bus.publish([again(held, "r1", "alerts", named=False)])
        done = await reaches("done")
        (told,) = await attempts(bus, 1)
    assert (sink.ids, done.accepted, done.unsent) == ([], 0, 1)
    assert (told["event"], told["verdict"], told["replay"]) == ("A1", "unwanted", "r1")


async def test_what_becomes_of_each_is_counted(bus: Bus, sink: Sink) -> None:
    await bus.publish(EVENTS)
    async with delivering(bus, destination(sink.url)):
        await until(lambda: len(sink.ids) == len(EVENTS))
        sink.answer = lambda identity, _: told_of(422 if identity == "B3" else 200)
        await begin()
        done = await reaches("done")
    assert (done.accepted, done.buried, done.unsent) == (len(EVENTS) - 1, 1, 0)


async def told_of(status: int) -> int:
    return status


async def away(*_: object) -> None:
    raise StoreUnavailable("away")


async def test_what_could_not_be_counted_is_counted_the_next_time(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    del bus
    made, tally = await begin(), Tally()
    for decision in (Done(), Again(datetime.now(UTC)), Cancel(), Done()):
        tally.add("r1", decision)
    tally.add(None, Done())
    with monkeypatch.context() as once:
        once.setattr(rows, "add", away)
        with pytest.raises(StoreUnavailable):
            await tally.tell(STORES[-1])
    await tally.tell(STORES[-1])
    await tally.tell(STORES[-1])
    assert await found() == replace(made, accepted=2, unsent=1)


async def test_what_is_asked_for_by_its_id_is_sent_whatever_the_filter(bus: Bus, sink: Sink) -> None:
    await bus.publish([*EVENTS, event("press", device="A", kind="button_press")])
    async with delivering(bus, destination(sink.url, filter=PRESSES)):
        await until(lambda: sink.ids == ["press"])
        await begin(Wanted(ids=("A1", "B1")))
        done = await reaches("done")
    assert sorted(sink.ids) == ["A1", "B1", "press"]
    assert done.copied == 2


async def test_what_is_put_aside_by_name_is_sent_whatever_the_filter(bus: Bus, sink: Sink) -> None:
    await bus.publish([event("A1", device="A")])
    (held,) = await everything(bus, EVENT_RECORDED.name, 1)
    replays = Replays(STORES[-1])
    async with delivering(bus, destination(sink.url, filter=PRESSES)):
        await replays.prepare("r1", "alerts", ["A1"], by="ada", now=datetime.now(UTC))
        await bus.publish([replays.again(held, "r1", "alerts")])
        await replays.prepared("r1", datetime.now(UTC))
        await until(lambda: sink.ids == ["A1"], 20)
        await reaches("done")


async def test_an_event_of_an_account_nobody_linked_is_not_sent_by_its_name_either_and_that_is_told(bus: Bus, sink: Sink) -> None:
    await bus.publish([event("A1", device="A", linked=False)])
    async with delivering(bus, destination(sink.url)):
        await begin(Wanted(ids=("A1",)))
        done = await reaches("done")
        (told,) = await attempts(bus, 1)
    assert (sink.ids, done.copied, done.unsent) == ([], 1, 1)
    assert (told["event"], told["verdict"], told["replay"]) == ("A1", "unwanted", "r1")


async def test_it_goes_on_after_restarts_where_it_was(bus: Bus, sink: Sink) -> None:
    await bus.publish(EVENTS)
    async with delivering(bus, destination(sink.url)):
        await until(lambda: len(sink.ids) == len(EVENTS))
    sink.answer = slowly
    await begin()
    sent = len(EVENTS)
    for more in (3, 4):
        async with delivering(bus, destination(sink.url, concurrency=1)):
            await until(lambda: len(sink.ids) >= sent + more)  # noqa: B023 - called in this turn only
        sent = len(sink.ids)
    async with delivering(bus, destination(sink.url)):
        await reaches("done")
    assert keyed(sink.ids[len(EVENTS) :]) == WHOLE, "each once, since each end was a peaceful one"


async def slowly(_id: str, _number: int) -> int:
    await asyncio.sleep(0.05)
    return 200


async def test_one_that_is_cancelled_sends_nothing_more(bus: Bus, sink: Sink) -> None:
    await bus.publish(EVENTS)
    async with delivering(bus, destination(sink.url, concurrency=1)):
        await until(lambda: len(sink.ids) == len(EVENTS))
        sink.answer = slowly
        made = await begin()
        await until(lambda: len(sink.ids) > len(EVENTS))
        async with STORES[-1].begin() as connection:
            assert await rows.become(connection, made, "cancelled", datetime.now(UTC)) or await rows.become(
                connection, replace(made, state="sending"), "cancelled", datetime.now(UTC)
            )
        await asyncio.sleep(1)
        seen = len(sink.ids)
        await begin(Wanted(ids=("C3",)), name="r2")
        await reaches("done", "r2")
    assert seen < 2 * len(EVENTS)
    assert sink.ids[seen:] == ["C3"]


async def test_what_is_put_aside_takes_its_share_and_live_events_pass(bus: Bus, sink: Sink) -> None:
    hanging = asyncio.Event()

    async def hangs(identity: str, number: int) -> int:
        if identity[0] in "ABC" and number > 1:
            await hanging.wait()
        return 200

    sink.answer = hangs
    await bus.publish(EVENTS)
    async with delivering(bus, destination(sink.url, concurrency=8)) as worker:
        await until(lambda: len(sink.ids) == len(EVENTS))
        await begin()
        await until(lambda: worker.flight and worker.flight.health.flying == 2)
        await bus.publish([event(f"live{number}", device=f"d{number}") for number in range(30)])
        await until(lambda: sum(name.startswith("live") for name in sink.ids) == 30)
        assert sink.flying == 2
        hanging.set()
        await reaches("done")
    assert keyed(sink.ids[len(EVENTS) :]) == WHOLE


OLD = [event(f"old{number}", device=f"d{number % 20}", account=f"a{number % 20}") for number in range(200)]


async def test_what_is_put_aside_gets_no_more_than_a_part_of_the_rate(bus: Bus, sink: Sink) -> None:
    await bus.publish(OLD)
    async with delivering(bus, destination(sink.url)):
        await until(lambda: len(sink.ids) == len(OLD))
    await begin(total=len(OLD))
    async with delivering(bus, destination(sink.url, rate=40)):
        await until(lambda: len(sink.ids) > len(OLD))
        began = monotonic()
        await until(lambda: len(sink.ids) >= len(OLD) + 30)
    assert monotonic() - began > 1.5, "ten at once, and ten a second"


async def test_what_is_put_aside_has_no_turn_while_live_events_wait_for_one(bus: Bus, sink: Sink) -> None:
    await bus.publish(OLD)
    async with delivering(bus, destination(sink.url)):
        await until(lambda: len(sink.ids) == len(OLD))
    sink.answer = slowly
    await begin(total=len(OLD))
    async with delivering(bus, destination(sink.url, concurrency=1)):
        await until(lambda: len(sink.ids) > len(OLD))
        await bus.publish([event(f"live{number}", device=f"d{number}") for number in range(20)])
        await until(lambda: sum(name.startswith("live") for name in sink.ids) == 20)
    began = next(place for place, name in enumerate(sink.ids) if name.startswith("live"))
    assert all(name.startswith("live") for name in sink.ids[began : began + 20])


def test_a_record_that_is_sent_again_is_as_it_was_and_says_by_what_it_comes() -> None:
    plain = EVENTS[0]
    held = Held(
        topic=EVENT_RECORDED.name,
        key=plain.key,
        value=plain.value,
        headers=plain.headers,
        index=3,
        offset=17,
        time=datetime.now(UTC),
    )
    first = again(held, "r1", "alerts", named=False)
    assert (first.topic, first.key, first.value) == (delivery_held("alerts").name, plain.key, plain.value)
    assert first.headers == (*plain.headers, ("replay", b"r1"), ("origin_offset", b"17"))
    letter = replace(held, headers=(*first.headers, ("dead_reason", b"exhausted"), ("dead_offset", b"4")), offset=99)
    second = again(letter, "r2", "alerts", named=False)
    assert header_of(second)("origin_offset") == "17"
    assert header_of(second)("replay") == "r2"
    assert not [name for name, _ in second.headers if name.startswith("dead_")]


def header_of(record: Record) -> Callable[[str], str]:
    return lambda name: header(record, name)  # type: ignore[arg-type] # any record has headers


def test_ids_and_filter_must_both_fit() -> None:
    made = read(EVENTS[0].headers, EVENTS[0].value)
    assert matching(Wanted())(made)
    assert matching(Wanted(ids=("A0",), filter={"exact": {"subject": "A"}}))(made)
    assert not matching(Wanted(ids=("A1",)))(made)
    assert not matching(Wanted(ids=("A0",), filter={"exact": {"subject": "B"}}))(made)


async def test_live_traffic_beside_it_and_a_cancel_leave_no_word_of_a_store_that_was_set_back(bus: Bus, sink: Sink) -> None:
    """Its lanes end amid live records, which its group reads on."""
    sink.answer = slowly
    await bus.publish(EVENTS)
    stop = asyncio.Event()

    async def goes_on() -> None:
        for number in count():
            if stop.is_set():
                return
            await bus.publish([event(f"live{number}", device=f"d{number}", account=f"a{number % 30}")])
            await asyncio.sleep(0.005)

    async with delivering(bus, destination(sink.url)), asyncio.TaskGroup() as tasks:
        tasks.create_task(goes_on())
        made = await begin()
        await reaches("done")
        other = await begin(name="r2")
        await asyncio.sleep(0.3)
        async with STORES[-1].begin() as connection:
            await rows.become(connection, other, "cancelled", datetime.now(UTC))
        await asyncio.sleep(1.5)
        stop.set()
    assert made.state == "copying"
    async with STORES[-1].read() as connection:
        assert (await connection.execute(select(installation.c.name).where(installation.c.name == setback.NAME))).all() == []
    assert {sink.seen(f"{device}{number}") for device in "ABC" for number in range(4)} <= {2, 3}


async def test_it_is_not_over_while_events_of_it_wait_in_rows(bus: Bus, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "PARK_AFTER", timedelta(seconds=0.2))
    bad = asyncio.Event()
    sink.answer = lambda name, number: 500 if name == "A0" and number > 1 and not bad.is_set() else 200
    await bus.publish(EVENTS)
    async with delivering(bus, destination(sink.url), policy=Standard(schedule=(0.1,) * 400)) as worker:
        await until(lambda: len(sink.ids) == len(EVENTS))
        await begin()
        await until(lambda: worker.flight and worker.flight.waiting())
        await asyncio.sleep(2.5)
        assert (await found()).state == "sending"
        bad.set()
        await reaches("done")
    assert [name for name in dict.fromkeys(sink.ids[len(EVENTS) :]) if name[0] == "A"] == ["A0", "A1", "A2", "A3"]


def aside_of(record: Record, name: str) -> Record:
    """Return what is put aside of an event by the replay of that name."""
    where = {"topic": EVENT_RECORDED.name, "index": 0, "offset": 0, "time": datetime.now(UTC)}
    held = Held(key=record.key, value=record.value, headers=record.headers, **where)  # type: ignore[arg-type] # each of its kind
    return again(held, name, "alerts", named=False)


async def test_what_was_done_before_is_not_sent_again_where_the_group_was_forgotten(bus: Bus, sink: Sink) -> None:
    """Kafka forgets the positions of a group that nobody is in, long before the topic forgets its records."""
    await begin(name="done", state="done")
    await begin(name="cancelled", state="cancelled")
    await bus.publish([*EVENTS, *(aside_of(record, name) for record in EVENTS[:3] for name in ("done", "cancelled", "no row"))])
    async with delivering(bus, destination(sink.url)):
        await begin(Wanted(ids=("C3",)), end_at=datetime.now(UTC).timestamp() + 0.1)
        await reaches("done")
    assert sorted(sink.ids) == sorted([*(name for names in WHOLE.values() for name in names), "C3"])
    assert (await bus.lag(held_group("alerts"), [delivery_held("alerts").name])).records == 0


async def test_what_was_put_aside_is_sent_where_the_clock_was_ahead_that_wished_it(bus: Bus, sink: Sink) -> None:
    replays, ahead = Replays(STORES[-1]), datetime.now(UTC) + timedelta(minutes=10)
    await replays.prepare("r1", "alerts", ["A0"], by="ada", now=ahead)
    await bus.publish([aside_of(EVENTS[0], "r1")])
    await replays.prepared("r1", ahead)
    async with delivering(bus, destination(sink.url)):
        await reaches("done")
    assert sink.ids == ["A0"]


async def test_what_was_put_aside_is_sent_where_the_clock_was_behind_that_wished_it(bus: Bus, sink: Sink) -> None:
    replays, behind = Replays(STORES[-1]), datetime.now(UTC) - timedelta(minutes=10)
    async with delivering(bus, destination(sink.url)):
        await replays.prepare("r1", "alerts", ["A0"], by="ada", now=behind)
        await asyncio.sleep(1.5)  # it has been looked at, and at once was long ago by that clock
        assert (await found()).state == "preparing"
        await bus.publish([aside_of(EVENTS[0], "r1")])
        await replays.prepared("r1", behind)
        await reaches("done")
    assert sink.ids == ["A0"]


async def test_a_span_is_copied_at_once_where_the_clock_was_ahead_by_which_it_ends_now(bus: Bus, sink: Sink) -> None:
    await bus.publish(EVENTS)
    async with delivering(bus, destination(sink.url)):
        await until(lambda: len(sink.ids) == len(EVENTS))
        ahead = datetime.now(UTC).timestamp() + 3600
        await begin(end_at=ahead, asked_at=ahead)
        await reaches("done")
    assert keyed(sink.ids[len(EVENTS) :]) == WHOLE


async def test_while_nobody_knows_whether_it_is_over_nothing_is_sent_and_nothing_is_left_out(
    bus: Bus, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, known = count(1), rows.still_open

    async def away(connection: AsyncConnection, names: Collection[str]) -> frozenset[str]:
        if next(asked) < 4:
            raise StoreUnavailable
        return await known(connection, names)

    monkeypatch.setattr(rows, "still_open", away)
    await begin(name="done", state="done")
    await begin(name="r1", state="sending")
    await bus.publish([aside_of(record, name) for record in EVENTS for name in ("done", "r1")])
    async with delivering(bus, destination(sink.url)):
        await reaches("done")
    assert keyed(sink.ids) == WHOLE
    assert next(asked) >= 4


async def test_it_is_not_over_where_its_last_event_goes_to_rows_just_when_it_is_looked_at(
    bus: Bus, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed, bad, rows_wait = bus.committed, asyncio.Event(), asyncio.Event()

    async def late(group: str, topic: str) -> Mapping[int, int]:
        """Return positions only once what could not be sent waits in rows, and they have passed it."""
        monkeypatch.setattr(session, "PARK_AFTER", timedelta(0))
        while topic == delivery_held("alerts").name and (await bus.lag(group, [topic])).records:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.05)
        rows_wait.set()
        return await committed(group, topic)

    monkeypatch.setattr(bus, "committed", late)
    sink.answer = lambda name, _number: 500 if name == "A0" and not bad.is_set() else 200
    await begin(name="r1", state="sending")
    await bus.publish([*(aside_of(record, "r1") for record in EVENTS), event("live", device="d")])
    async with delivering(bus, destination(sink.url), policy=Standard(schedule=(0.1,) * 400)):
        await rows_wait.wait()
        await asyncio.sleep(1)
        assert (await found()).state == "sending"
        bad.set()
        await reaches("done")
    assert keyed(list(dict.fromkeys(sink.ids))) == WHOLE


async def test_one_that_cannot_be_read_ends_nothing_of_what_is_live(bus: Bus, sink: Sink) -> None:
    await bus.publish(EVENTS)
    async with delivering(bus, destination(sink.url)):
        await until(lambda: len(sink.ids) == len(EVENTS))
        with capture_logs() as logs:
            odd = await begin(name="odd", begin_at=-1e14, end_at=-1e14)
            await asyncio.sleep(1)
            await bus.publish([event("live", device="d")])
            await until(lambda: "live" in sink.ids)
    crashed = [line["what"] for line in logs if line["event"] == "replay.crashed"]
    assert sorted(crashed) == sorted([odd.group, "advance odd"]), "what crashed is left alone for a while"


async def test_it_is_not_copied_before_its_group_is_past_the_end(bus: Bus, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = asyncio.Event()

    class Gated(Drive):
        async def run(self, stop: Stop) -> None:
            await gate.wait()
            await super().run(stop)

    monkeypatch.setattr(aside, "Drive", Gated)
    await bus.publish(EVENTS)
    async with delivering(bus, destination(sink.url)):
        await until(lambda: len(sink.ids) == len(EVENTS))
        await begin()
        await asyncio.sleep(1.5)
        assert (await found()).state == "copying"
        gate.set()
        await reaches("done")
    assert keyed(sink.ids[len(EVENTS) :]) == WHOLE
