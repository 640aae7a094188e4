"""What a reader that is days behind has not read is kept for it; what an operator says of retention stands."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs
from structlog.typing import EventDict

from deploy import migrations
from schemas.errors import Rejected, Unavailable
from schemas.topics import DAY, EVENT_RECORDED, Topic, declared
from workers.bus import kafka
from workers.bus.contract import Bus, Lane, Record, Stop
from workers.bus.kafka.url import parse
from workers.retain import ENDS, GROWS, LONGEST, Retain, wanted
from workers.runtime.database import connect
from workers.runtime.lane import lanes
from workers.runtime.rows import insert_once

GROUP = "delivery.alerts"
WEEK = 7 * DAY


def test_retention_grows_a_day_at_a_time_and_well_ahead_of_what_is_unread() -> None:
    assert wanted(timedelta(), WEEK) == wanted(timedelta(days=4.8), WEEK) == WEEK
    assert wanted(timedelta(days=4.9), WEEK) == 8 * DAY
    for hours in range(24 * 28):
        age = timedelta(hours=hours)
        kept = wanted(age, WEEK)
        assert kept >= min(age / 0.8 + DAY, LONGEST)
        assert kept % DAY == timedelta()
        assert wanted(age, 40 * DAY) == 40 * DAY, "what is kept longer is not kept shorter"
    assert wanted(timedelta(days=90), WEEK) == LONGEST


@dataclass
class Rig:
    bus: Bus
    now: datetime
    retain: Retain = field(init=False)
    others: list[str] = field(default_factory=list)  # groups besides
    gone: bool = False

    async def readers(self, _now: datetime) -> Mapping[Topic, Collection[str]]:
        return {EVENT_RECORDED: [*self.others] if self.gone else [GROUP, *self.others]}

    async def sweeps(self, days: float) -> timedelta | None:
        """Look, so many days from now; return how long the topic is kept then."""
        async with asyncio.timeout(30):
            while not await self._looked(self.now + days * DAY):  # noqa: ASYNC110 - a broker has no event to wait for
                await asyncio.sleep(0.1)
        return await self.kept()

    async def _looked(self, now: datetime) -> bool:
        """Look; say whether that was possible: a broker that has just started knows no groups yet."""
        with contextlib.suppress(Unavailable):
            return await self.retain(now) == timedelta(minutes=5)
        return False

    async def kept(self) -> timedelta | None:
        return await self.bus.retention(EVENT_RECORDED.name)

    async def read(self, *, all_of_it: bool) -> None:
        """Let the group commit where it stands, or that it has read everything."""
        stop, seen = asyncio.Event(), set[int]()

        async def work(lane: Lane, told: Stop) -> None:
            following = dict((await lane.open()).next)
            while all_of_it and (batch := await lane.fetch(100, 1.0)):
                following |= {held.topic: held.offset + 1 for held in batch}
            await lane.commit(following, b"")
            seen.add(lane.index)
            if len(seen) == EVENT_RECORDED.partitions:
                stop.set()
            await told.wait()

        async with asyncio.timeout(60):
            await self.bus.consume([EVENT_RECORDED.name], GROUP, work, stop, atomic=False)


@asynccontextmanager
async def rigged(bus: Bus, store_url: str) -> AsyncIterator[Rig]:
    await migrations.upgrade(store_url)
    async with connect(store_url) as database, bus.browse() as browser:
        made = Rig(bus, datetime.now(UTC))
        made.retain = Retain(bus, browser, database, made.readers)
        yield made


@pytest.fixture
async def rig(kafka_url: str, namespace: str, sqlite_url: str) -> AsyncIterator[Rig]:
    topics = declared(["alerts"])
    await kafka.apply(kafka_url, namespace=namespace, topics=[EVENT_RECORDED], single_broker=True)
    async with kafka.connect(kafka_url, namespace=namespace, topics=topics) as bus, rigged(bus, sqlite_url) as made:
        await bus.publish([Record(topic=EVENT_RECORDED.name, key=b"k", value=b"v")])
        yield made


def aged(logs: list[EventDict]) -> list[EventDict]:
    return [line for line in logs if line["event"] == "backlog.ages"]


@pytest.mark.kafka
async def test_what_is_unread_is_kept_and_goes_as_before_once_it_is_read(rig: Rig) -> None:
    with capture_logs() as logs:
        assert await rig.sweeps(20) == WEEK, "nobody has begun to read"
        await rig.read(all_of_it=False)
        assert await rig.sweeps(3) == WEEK
        assert aged(logs) == []
        assert await rig.sweeps(3.6) == WEEK
        (told,) = aged(logs)
        assert (told["group"], told["behind_h"], told["kept_h"]) == (GROUP, 86, 168)
        assert await rig.sweeps(5.5) == 8 * DAY
        assert await rig.sweeps(5.5) == 8 * DAY
        assert await rig.sweeps(12.1) == 17 * DAY
        assert await rig.sweeps(60) == LONGEST
        assert await rig.sweeps(61) == LONGEST
    assert (told["meaning"], aged(logs)[-1]["meaning"]) == (GROWS, ENDS)
    assert [line["event"] for line in logs].count("retention.changed") == 3
    await rig.read(all_of_it=True)
    assert await rig.sweeps(12) == WEEK


@pytest.mark.kafka
async def test_what_an_operator_says_meanwhile_stands(rig: Rig) -> None:
    await rig.read(all_of_it=False)
    assert await rig.sweeps(6) == 9 * DAY
    await rig.bus.retain(EVENT_RECORDED.name, 12 * DAY)
    assert await rig.sweeps(6.1) == 12 * DAY
    assert await rig.sweeps(10) == 14 * DAY
    await rig.read(all_of_it=True)
    assert await rig.sweeps(0) == 12 * DAY


@pytest.mark.kafka
async def test_a_crash_between_the_note_and_the_deed_forgets_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    await rig.read(all_of_it=False)
    for days, kept in ((6, WEEK), (10, 9 * DAY), (0, 14 * DAY)):
        with monkeypatch.context() as crash:
            crash.setattr(rig.bus, "retain", crashes)
            with pytest.raises(RuntimeError):
                await rig.retain(rig.now + timedelta(days=days))
        assert await rig.kept() == kept
        await rig.sweeps(days)
    assert await rig.kept() == WEEK


async def crashes(_topic: str, _period: timedelta) -> None:
    raise RuntimeError("killed")


@pytest.mark.kafka
async def test_a_refusal_is_told_with_what_to_do_and_once_an_hour(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refused(_topic: str, _period: timedelta) -> None:
        raise Rejected("Kafka does not let us", reason="denied")

    await rig.read(all_of_it=False)
    monkeypatch.setattr(rig.bus, "retain", refused)
    with capture_logs() as logs:
        for minutes in (0, 5, 59, 60):
            await rig.retain(rig.now + timedelta(days=6, minutes=minutes))
    told = [line for line in logs if line["event"] == "retention.refused"]
    assert len(told) == 2
    assert "retention.ms" in told[0]["remedy"]


@pytest.mark.kafka
async def test_a_group_whose_place_kafka_forgot_lowers_nothing(rig: Rig) -> None:
    await rig.read(all_of_it=False)
    assert await rig.sweeps(6) == 9 * DAY
    await rig.read(all_of_it=True)
    rig.others.append("delivery.gone")
    async with rig.retain.database.begin() as connection:
        await insert_once(connection, lanes, {"grp": "delivery.gone", "lane": 0, "epoch": 1, "n": 1})
    assert await rig.sweeps(1) == 9 * DAY
    rig.others.clear()
    assert await rig.sweeps(1) == WEEK


@pytest.mark.kafka
async def test_what_was_raised_to_and_is_said_by_an_operator_later_stands(rig: Rig) -> None:
    await rig.read(all_of_it=False)
    assert await rig.sweeps(6) == 9 * DAY
    assert await rig.sweeps(10) == 14 * DAY
    await rig.bus.retain(EVENT_RECORDED.name, 9 * DAY)
    await rig.read(all_of_it=True)
    assert await rig.sweeps(0) == 9 * DAY


@pytest.mark.kafka
async def test_what_is_kept_for_ages_is_left_alone(rig: Rig, kafka_url: str, namespace: str) -> None:
    await kafka.topics.retain(parse(kafka_url), EVENT_RECORDED.physical(namespace), timedelta(days=365 * 200))
    assert await rig.kept() is None
    assert await rig.sweeps(20) is None


@pytest.mark.kafka
async def test_nothing_is_shown_of_a_reader_that_is_none_any_more(rig: Rig) -> None:
    await rig.read(all_of_it=False)
    await rig.sweeps(3.5)
    assert REGISTRY.get_sample_value("ringhook_retention_used_ratio", {"group": GROUP}) == pytest.approx(0.5, abs=0.01)
    rig.gone = True
    await rig.sweeps(3.5)
    assert REGISTRY.get_sample_value("ringhook_retention_used_ratio", {"group": GROUP}) is None
