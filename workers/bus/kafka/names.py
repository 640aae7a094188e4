"""Topics as this installation calls them: `webhook.received` here, `<namespace>.webhook.received.v1` on the broker."""

from collections.abc import Collection

from schemas.errors import Rejected
from schemas.topics import Topic
from workers.bus.contract import Record
from workers.bus.kafka.eos import Place
from workers.bus.partition import partition


class Names:
    """Where each declared topic's records go."""

    def __init__(self, namespace: str, topics: Collection[Topic]) -> None:
        self.namespace = namespace
        self.counts = dict[str, int]()
        self._physical = dict[str, str]()
        self.learn(topics)

    def learn(self, topics: Collection[Topic]) -> None:
        """Know these, too."""
        self.counts |= {topic.name: topic.partitions for topic in topics}
        self._physical |= {topic.name: topic.physical(self.namespace) for topic in topics}

    def forget(self, topics: Collection[Topic]) -> None:
        """Know these no more."""
        for topic in topics:
            del self.counts[topic.name], self._physical[topic.name]

    def physical(self, topic: str) -> str:
        """Return the broker's name of a declared topic."""
        try:
            return self._physical[topic]
        except KeyError:
            raise Rejected(f"topic {topic!r} is not declared to the bus", reason="topic_unknown") from None

    def all_physical(self) -> list[str]:
        """Return the broker's names of all declared topics."""
        return list(self._physical.values())

    def place(self, record: Record) -> Place:
        """Return the partition of a record: murmur2 of its key modulo the declared count, never the broker's count."""
        return Place(self.physical(record.topic), partition(record.key, self.counts[record.topic]))

    def group(self, name: str) -> str:
        """Return the broker's name of a consumer group."""
        return f"{self.namespace}.{name}"
