"""Keeps what was not read yet: a topic's records go only after their slowest reader could have read them. Runs in admin.

A group that is days behind is told of from half of the retention on. From then on retention grows with it, a day at a time and
well ahead, up to a month; it goes back once the group has caught up. On SQLite there is nothing to do: nothing goes unread.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import Final

import msgspec
import structlog
from prometheus_client import Gauge
from sqlalchemy import select

from schemas.errors import Rejected
from schemas.topics import DAY, Topic
from workers.bus.contract import Browser, Bus
from workers.runtime.database import Database
from workers.runtime.lane import lanes
from workers.runtime.namespace import installation
from workers.runtime.rows import upsert

log = structlog.get_logger()
OFTEN: Final = timedelta(minutes=5)
AGAIN: Final = timedelta(hours=1)  # until the same is told again
ALERT: Final = 0.5  # of the retention
AHEAD: Final = 0.8  # what is unread is at most so much of the retention old
HOUR: Final = timedelta(hours=1)
LONGEST: Final = 30 * DAY  # as long as dead letters are kept; what was known of a forgotten account is gone by then
HOURS: Final = LONGEST // HOUR
USED: Final = Gauge(
    "ringhook_retention_used_ratio", "Age of the oldest record a group has not read / its topic's retention", ["group"]
)
GROWS: Final = "what it has not read is kept longer, up to 30 days: look why it does not read, before they are over"
ENDS: Final = "what it has not read is kept no longer than 30 days, and these are nearly over: its oldest go unread then"
REMEDY: Final = "raise retention.ms of this topic by hand, or grant AlterConfigs as `ringhook topics acls` prints it"

Readers = Callable[[datetime], Awaitable[Mapping[Topic, Collection[str]]]]  # the groups that must read all of a topic


class Raised(msgspec.Struct, frozen=True):
    """What a topic's retention was before we changed it, and what we changed from and to, in milliseconds.

    It is written before it is done: after a crash in between the broker has `before`.
    """

    base: int
    before: int
    now: int


def wanted(age: timedelta, base: timedelta) -> timedelta:
    """Return how long a topic is to be kept whose oldest unread record is so old, and that is kept `base` otherwise."""
    days = ceil(age / AHEAD / DAY) + 1
    return max(base, min(days * DAY, LONGEST))


@dataclass
class Retain:
    """A Sweep."""

    bus: Bus
    browser: Browser
    database: Database
    readers: Readers
    name: str = "retain"
    _told: dict[str, datetime] = field(default_factory=dict)
    _shown: set[str] = field(default_factory=set)

    async def __call__(self, now: datetime) -> timedelta:
        """Look at each topic. Raises Unavailable: what was not looked at is, a little later."""
        readers = await self.readers(now)
        for topic, groups in readers.items():
            try:
                if kept := await self.bus.retention(topic.name):
                    ages = {group: await self._age(group, topic, now) for group in groups}
                    self._tell_ages(topic, {group: age for group, age in ages.items() if age is not None}, kept, now)
                    await self._keep(topic, kept, [*ages.values()])
            except Rejected as error:
                self._tell(topic.name, "retention.refused", now, topic=topic.name, why=str(error), remedy=REMEDY)
        self._forget({group for groups in readers.values() for group in groups})
        return OFTEN

    def _tell_ages(self, topic: Topic, ages: Mapping[str, timedelta], kept: timedelta, now: datetime) -> None:
        for group, age in ages.items():
            USED.labels(group=group).set(age / kept)
            self._shown.add(group)
            if age >= ALERT * kept:
                facts = {"group": group, "topic": topic.name, "behind_h": age // HOUR, "kept_h": kept // HOUR}
                self._tell(group, "backlog.ages", now, **facts, meaning=ENDS if kept >= LONGEST else GROWS)

    def _forget(self, groups: Collection[str]) -> None:
        for gone in self._shown - {*groups}:
            USED.remove(gone)
        self._shown &= {*groups}

    async def _age(self, group: str, topic: Topic, now: datetime) -> timedelta | None:
        """Return how old the oldest is that a group has not read, in whole hours; None: nobody knows where it is.

        Asked by times, since admin may not read what it keeps. Kafka forgets where a group was that nobody is in for a week.
        """
        committed = await self.bus.committed(group, topic.name)
        if not committed:
            return None if await self._has_begun(group) else timedelta()
        low, high = 0, 1
        while low < HOURS and await self._unread(topic, committed, now - high * HOUR):
            low, high = high, min(2 * high, HOURS)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if await self._unread(topic, committed, now - middle * HOUR) else (low, middle)
        return low * HOUR

    async def _unread(self, topic: Topic, committed: Mapping[int, int], before: datetime) -> bool:
        """Say whether something was taken before then that is not read."""
        since = await self.browser.since(topic.name, before)
        return any(position < since.get(index, 0) for index, position in committed.items())

    async def _has_begun(self, group: str) -> bool:
        async with self.database.read() as connection:
            return await connection.scalar(select(lanes.c.grp).where(lanes.c.grp == group).limit(1)) is not None

    async def _keep(self, topic: Topic, kept: timedelta, ages: Sequence[timedelta | None]) -> None:
        raised = await self._raised(topic)
        ours = raised and _ms(kept) in {raised.before, raised.now}  # else an operator has said something since
        base = timedelta(milliseconds=raised.base) if raised and ours else kept
        age = max((age for age in ages if age is not None), default=timedelta())
        period = max(wanted(age, base), kept) if None in ages else wanted(age, base)
        if period == kept:
            return
        await self._remember(topic, Raised(_ms(base), _ms(kept), _ms(period)))
        await self.bus.retain(topic.name, period)
        await self._remember(topic, Raised(_ms(base), _ms(period), _ms(period)))
        say = log.warning if period > kept else log.info
        say("retention.changed", topic=topic.name, from_h=kept // HOUR, to_h=period // HOUR, oldest_unread_h=age // HOUR)

    async def _raised(self, topic: Topic) -> Raised | None:
        async with self.database.read() as connection:
            found = await connection.scalar(select(installation.c.value).where(installation.c.name == _row(topic)))
        return msgspec.json.decode(found, type=Raised) if found else None

    async def _remember(self, topic: Topic, raised: Raised) -> None:
        async with self.database.begin() as connection:
            await upsert(connection, installation, [{"name": _row(topic), "value": msgspec.json.encode(raised).decode()}])

    def _tell(self, what: str, event: str, now: datetime, **facts: object) -> None:
        if now - self._told.get(what, now - AGAIN) >= AGAIN:
            self._told[what] = now
            log.error(event, **facts)


def _row(topic: Topic) -> str:
    return f"retention.{topic.name}"


def _ms(period: timedelta) -> int:
    return int(period / timedelta(milliseconds=1))
