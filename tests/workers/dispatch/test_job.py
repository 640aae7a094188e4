"""Dispatch through its public door: what is published on the bus, and what comes out of it, on both pairs of engines."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from schemas import cloudevents
from schemas.events import suffixed
from schemas.ring import probe
from schemas.ring.envelope import parse
from schemas.ring.peek import peek
from tests.workers.dispatch.house import AT_ONCE, NAMESPACE, NOW, House, body, changed, counted, received
from workers.bus.contract import Bus, Held, Lane, Record, Start, Stop, Work
from workers.dispatch.job import Dispatch, Prune
from workers.dispatch.normalise import digest
from workers.dispatch.tables import STEPPED, accounts, claims
from workers.runtime.database import connect
from workers.runtime.drive import Drive
from workers.runtime.lane import Session

SAMPLES = Path(__file__).parents[2] / "samples"
Event3 = tuple[str, str, str]  # request id, account, type
Steps = list[tuple[list[Event3], bool]]  # batches, and whether each stands


async def test_copies_near_and_far_come_out_once_and_in_order(house: House) -> None:
    first = [received(body(str(number))) for number in range(30)]
    events, dead = await house.tell([*first, *first[:10]], first[20:], [received(body("last"))])
    assert [event.id for event in events] == [*map(str, range(30)), "last"]
    assert dead == []


async def test_another_event_under_a_used_id_goes_out_under_an_id_of_its_own(house: House) -> None:
    mine, other = body("1"), body("1", account="B")
    events, _ = await house.tell([received(mine)], [received(other)], [received(other), received(mine)])
    theirs = suffixed("1", digest(parse(other, NOW), "B", "first"))
    assert sorted((event.accountid, event.id) for event in events) == [("A", "1"), ("B", theirs)]


async def test_an_event_without_account_goes_to_the_one_completed_account_that_has_its_device(house: House) -> None:
    orphans = [received(body(f"o{number}", account=None)) for number in range(3)]
    events, dead = await house.tell(
        [received(body("1"))],
        [orphans[0]],  # known, but not linked yet
        [changed("A", 1)],
        [orphans[1], orphans[1]],
        [received(body("2", kind="device_removed", at=NOW + timedelta(seconds=1)))],
        [orphans[2]],
    )
    assert {event.id: event.accountid for event in events} == {"1": "A", "o1": "A", "2": "A"}
    assert len(events) == 3
    assert sorted(dead) == [("o0", "account_unknown"), ("o2", "account_unknown")]


async def test_two_linked_accounts_with_one_device_make_its_orphans_nobodys(house: House) -> None:
    named = [received(body("1", account="A")), received(body("2", account="B"))]
    events, dead = await house.tell([*named, changed("A", 1), changed("B", 1)], [received(body("o", account=None))])
    assert (len(events), dead) == (2, [("o", "account_unknown")])


async def test_what_is_not_rings_or_too_old_is_quarantined_with_its_reason(house: House) -> None:
    junk, old = b"junk", body("old", at=NOW - timedelta(days=14))
    foreign = Record(topic="webhook.received", key=b"k", value=body("foreign"))
    before = counted("motion_detected", "stale")
    events, dead = await house.tell([received(junk), received(old), foreign, received(body("1"))])
    assert [event.id for event in events] == ["1"]
    assert sorted(dead) == sorted([(peek(junk).request_id, "not_json"), ("old", "stale"), ("foreign", "not_from_ingress")])
    assert counted("motion_detected", "stale") == before + 1


async def test_the_doctors_webhook_goes_nowhere_and_is_no_dead_letter(house: House) -> None:
    events, dead = await house.tell([received(probe.body("ringhook-probe-1", NOW))], [received(body("1"))])
    assert ([event.id for event in events], dead) == (["1"], [])


async def test_events_say_what_is_known_of_the_link_when_they_are_dispatched(house: House) -> None:
    later = NOW + timedelta(hours=1)
    events, _ = await house.tell(
        [received(body("1"))],
        [changed("A", 2)],
        [received(body("2"))],
        [changed("A", 1, user="old news")],
        [received(body("3"))],
        [changed("A", 3, user="v", at=later, since=later)],
        [received(body("4"), later - timedelta(seconds=1)), received(body("5", at=later), later)],
        [changed("A", 4, user=None, linked=False, at=later)],
        [received(body("6", at=later), later)],
    )
    said = {event.id: (event.linked, event.partneruserid) for event in events}
    u, v, nobody = (True, "u"), (True, "v"), (False, None)
    assert said == {"1": nobody, "2": u, "3": u, "4": nobody, "5": v, "6": nobody}


async def test_every_sample_of_rings_comes_out_once_with_its_payload_untouched(house: House) -> None:
    raw = {path.stem: path.read_bytes() for path in SAMPLES.glob("*.json") if "without_account" not in path.stem}
    named = {stem: sample for stem, sample in raw.items() if parse(sample, NOW).account}
    events, _ = await house.tell([received(sample) for sample in raw.values()] * 2)
    wanted = Counter(sample.strip() for sample in named.values())
    assert Counter(bytes(event.data.payload) for event in events) == wanted


class Killed(BaseException):
    """The process ends here."""


class StruckLane(Lane):
    """A lane whose process dies before or after its k-th commit takes effect."""

    def __init__(self, lane: Lane, strike: Callable[[str], Awaitable[None]]) -> None:
        self.index, self._lane, self._strike = lane.index, lane, strike

    async def open(self) -> Start:
        return await self._lane.open()

    async def fetch(self, limit: int, wait: float) -> Sequence[Held]:
        return await self._lane.fetch(min(limit, 2), wait)

    async def commit(self, next: Mapping[str, int], note: bytes, outputs: Sequence[Record] = ()) -> None:  # noqa: A002 - the seam
        await self._strike("before")
        await self._lane.commit(next, note, outputs)
        await self._strike("after")


class StruckBus:
    """The bus of a process whose every lane ends where it is once `dead` is set."""

    def __init__(self, bus: Bus, strike: Callable[[str], Awaitable[None]], dead: asyncio.Event) -> None:
        self._bus, self._strike, self._dead = bus, strike, dead

    async def consume(self, topics: Collection[str], group: str, work: Work, stop: Stop, *, atomic: bool, start: object) -> None:
        assert start == "first"

        async def struck(lane: Lane, told: Stop) -> None:
            alive = [asyncio.ensure_future(work(StruckLane(lane, self._strike), told)), asyncio.ensure_future(self._dead.wait())]
            await asyncio.wait(alive, return_when=asyncio.FIRST_COMPLETED)
            for each in alive:
                each.cancel()
            await asyncio.gather(*alive, return_exceptions=True)
            if not self._dead.is_set():
                await alive[0]

        await self._bus.consume(topics, group, struck, stop, atomic=atomic)


async def killed(house: House, moment: str, times: int) -> None:
    """Run dispatch until it has passed that moment so often, and end its process there."""
    dead, passed = asyncio.Event(), 0

    async def strike(name: str) -> None:
        nonlocal passed
        passed += name == moment
        if passed >= times:
            dead.set()
            await asyncio.Event().wait()  # nothing after this line runs

    async with house.open() as bus:
        drive = Drive(
            cast("Bus", StruckBus(bus, strike, dead)), Dispatch(NAMESPACE, house.bounds), house.database, clock=lambda: NOW
        )
        task = asyncio.create_task(drive.run(asyncio.Event()))
        async with asyncio.timeout(60):
            await dead.wait()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_killed_before_or_after_any_commit_nothing_is_lost_or_doubled(house: House) -> None:
    story = [received(body(str(number % 12), account="AB"[number % 12 % 2])) for number in range(24)]
    async with house.open() as bus:
        await bus.publish([changed("A", 1), changed("B", 1), *story])
    for moment, times in (("before", 1), ("after", 1), ("before", 2), ("after", 2)):
        await killed(house, moment, times)
    events, dead = await house.tell([received(body("last"))])
    of = {name: [event.id for event in events if event.accountid == name] for name in "AB"}
    assert of == {"A": ["0", "2", "4", "6", "8", "10", "last"], "B": ["1", "3", "5", "7", "9", "11"]}
    assert dead == []
    async with house.database.read() as connection:
        assert await connection.scalar(select(func.count()).select_from(claims)) == len(events)


async def test_claims_are_forgotten_after_sixteen_days_and_not_before(house: House) -> None:
    await house.tell([received(body("1"))])
    prune = Prune(house.database)
    for days, left in ((16, 1), (17, 0)):
        assert await prune(NOW + timedelta(days=days)) == timedelta(seconds=30)
        async with house.database.read() as connection:
            assert await connection.scalar(select(func.count()).select_from(claims)) == left


async def test_of_an_accounts_versions_few_are_kept(house: House) -> None:
    await house.tell(*([changed("A", version)] for version in range(1, 6)))
    async with house.database.read() as connection:
        assert {*await connection.scalars(select(accounts.c.version))} == {4, 5}


EVENTS = st.tuples(st.sampled_from("12345"), st.sampled_from("AB"), st.sampled_from(["motion_detected", "button_press"]))
STEPS = st.lists(st.tuples(st.lists(EVENTS, max_size=6), st.booleans()), max_size=8)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_any_mix_of_doubles_in_any_batches_some_undone_is_what_a_naive_reader_expects(
    steps: Steps,
) -> None:
    assert asyncio.run(told(steps)) == naive([batch for batch, stands in steps if stands])


def naive(batches: list[list[Event3]]) -> list[tuple[str, str]]:
    owners: dict[str, str] = {}
    out: list[tuple[str, str]] = []
    for request_id, account, kind in (event for batch in batches for event in batch):
        mine = digest(parse(body(request_id, account=account, kind=kind), NOW), account, "first")
        name = request_id if owners.setdefault(request_id, mine) == mine else suffixed(request_id, mine)
        if (account, name) not in out:
            out.append((account, name))
    return out


async def told(steps: Steps) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    with TemporaryDirectory() as folder:
        async with connect(f"sqlite:///{folder}/store.db") as database:
            await database.create_all()
            lane, insist = Session(database, "dispatch", 0, STEPPED), cast("Lane", Opened())
            await lane.open(insist, lambda act: act())
            for batch, stands in steps:
                out += await step(lane, batch, stands=stands)
    return out


class Opened:
    async def open(self) -> Start:
        return Start(next={}, note=b"", gaps={})


async def step(lane: Session, batch: list[Event3], *, stands: bool) -> list[tuple[str, str]]:
    """Take one batch through; it stands, or it is undone as after a crash."""
    records = [received(body(request_id, account=account, kind=kind)) for request_id, account, kind in batch]
    held = [Held(**msgspec.structs.asdict(record), index=0, offset=offset, time=NOW) for offset, record in enumerate(records)]
    async with lane.step() as open_step:
        results = await Dispatch(NAMESPACE, AT_ONCE)(held, open_step, NOW)
    if not stands:
        await lane.undo()
        return []
    lane.n += 1
    made = [record for result in results for record in cast("Sequence[Record]", result)]
    return [(event.accountid, event.id) for event in (cloudevents.read(record.headers, record.value) for record in made)]
