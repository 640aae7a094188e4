"""The Kafka bus: what `connect` yields."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

from schemas.errors import Rejected
from schemas.topics import Topic
from workers.bus.contract import GRACE, Browser, Lag, Publisher, Record, Stop, Work
from workers.bus.kafka import topics
from workers.bus.kafka.backlog import Backlog
from workers.bus.kafka.browse import browser
from workers.bus.kafka.consumer import consume
from workers.bus.kafka.exclusive import exclusive
from workers.bus.kafka.names import Names
from workers.bus.kafka.producer import Producer
from workers.bus.kafka.session import Begin, Plan
from workers.bus.kafka.url import Address


class KafkaBus:
    """Seam 1 over Apache Kafka ≥ 4.0."""

    def __init__(self, address: Address, names: Names, producer: Producer, backlog: Backlog) -> None:
        self._address = address
        self._names = names
        self._producer = producer
        self._backlog = backlog

    async def publish(self, records: Sequence[Record]) -> None:
        """Return once all are held. TooLarge: none is. BusUnavailable: some may be, now or later."""
        await self._producer.publish(records)

    async def consume(
        self,
        topics: Collection[str],
        group: str,
        work: Work,
        stop: Stop,
        *,
        atomic: bool,
        start: Begin = "first",
        grace: float = GRACE,
    ) -> None:
        """Run one `work` per assigned lane and session until `stop` is set."""
        await consume(self._address, Plan(self._names, tuple(sorted(topics)), group, work, stop, atomic, start, grace))

    def exclusive(self, name: str) -> AbstractAsyncContextManager[Publisher]:
        """Entering fences the name's former holder, whose late records are never seen; its calls raise Revoked."""
        return exclusive(self._address, self._names, name)

    def available(self) -> bool:
        """Say whether Kafka answered when it was last asked."""
        return self._producer.available()

    async def lag(self, group: str, topics: Collection[str]) -> Lag:
        """Return how much a group has not yet committed of these topics, for metrics only."""
        return await self._backlog.lag(group, topics)

    async def committed(self, group: str, topic: str) -> Mapping[int, int]:
        """Return by index what a group has committed."""
        return await self._backlog.committed(group, topic)

    async def declare(self, declared: Collection[Topic]) -> None:
        """Know these topics, too; Rejected where one is not on the broker as it was declared."""
        fresh = [topic for topic in declared if topic.name not in self._names.counts]
        self._names.learn(fresh)
        try:
            await self._demand(declared)
        except BaseException:
            self._names.forget(fresh)
            raise
        await self._backlog.close()  # it opens again with all of them

    async def _demand(self, declared: Collection[Topic]) -> None:
        count = await self._producer.know()
        if differing := [name for topic in declared if count(name := self._names.physical(topic.name)) != topic.partitions]:
            raise Rejected(f"not there as they were declared: {', '.join(differing)}", reason="topic_differs")

    async def retention(self, topic: str) -> timedelta | None:
        """Return for how long Kafka keeps records, read or not; None: for ever."""
        return await topics.retention(self._address, self._names.physical(topic))

    async def retain(self, topic: str, period: timedelta) -> None:
        """Let Kafka keep records for so long (KIP-339)."""
        await topics.retain(self._address, self._names.physical(topic), period)

    def browse(self) -> AbstractAsyncContextManager[Browser]:
        """Read without a group, over connections of its own."""
        return browser(self._address, self._names)
