"""Every topic: its name, its key, how long it is kept, who may write and who may read it."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

PARTITIONS: Final = 12
BODY_LIMIT: Final = (
    256 * 1024
)  # Ring's webhook body; topics and producers allow twice that and 64 KiB (dead letters carry history)
MESSAGE_LIMIT: Final = 2 * BODY_LIMIT + 64 * 1024
DAY: Final = timedelta(days=1)
FORGETTING: Final = 7 * DAY  # after which a compacted topic holds nothing that was overwritten

_ROUTE: Final = "route:"  # so that a route to `event.recorded` is no name of ours

Role = Literal["ingress", "linker", "dispatch", "deliver", "admin", "partner"]


def dead(name: str) -> str:
    """Return the name of the dead-letter topic of `name`."""
    return f"{name}.dead"


class Topic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic as `ringhook topics apply` creates it; `name` is without namespace and version."""

    name: str
    key: str
    retention: timedelta | None  # None: kept for ever
    writers: tuple[Role, ...]
    readers: tuple[Role, ...]
    keepers: tuple[Role, ...] = ()  # who may say that it is kept longer, while somebody has not read it
    compacted: bool = False
    partitions: int = PARTITIONS
    outside: bool = False  # the partner's own: outsiders call it as `ringhook.toml` does

    def physical(self, namespace: str) -> str:
        """Return the name outsiders see: `<namespace>.<noun>.<past tense>.v1`, a route's topic as it is."""
        return self.name.removeprefix(_ROUTE) if self.outside else physical(namespace, self.name)

    @property
    def dead(self) -> "Topic":
        """The topic that takes what no retry can mend, as it was plus why, when and how often."""
        readers: tuple[Role, ...] = ("admin",)
        return Topic(name=dead(self.name), key=self.key, retention=30 * DAY, writers=self.readers, readers=readers)


CODE_RECEIVED: Final = Topic(
    name="code.received", key="hash of the code", retention=DAY, writers=("ingress",), readers=("linker",)
)
LINK_REQUESTED: Final = Topic(name="link.requested", key="attempt id", retention=DAY, writers=("ingress",), readers=("linker",))
WEBHOOK_RECEIVED: Final = Topic(
    name="webhook.received",
    key="account id",
    retention=7 * DAY,
    writers=("ingress", "dispatch", "admin"),
    readers=("dispatch",),
    keepers=("admin",),
)
EVENT_RECORDED: Final = Topic(
    name="event.recorded",
    key="account id",
    retention=7 * DAY,
    writers=("dispatch",),
    readers=("deliver", "partner", "admin"),
    keepers=("admin",),
)
ACCOUNT_CHANGED: Final = Topic(
    name="account.changed",
    key="account id",
    retention=None,
    writers=("linker",),
    readers=("dispatch", "admin", "linker"),  # linker: after a restore of its store, to learn what it had told
    compacted=True,
)
ACCOUNT_TOLD: Final = Topic(name="account.told", key="account id", retention=7 * DAY, writers=("dispatch",), readers=("linker",))
EDGE_NOTICED: Final = Topic(name="edge.noticed", key="kind", retention=7 * DAY, writers=("ingress", "linker"), readers=("admin",))
DELIVERY_ATTEMPTED: Final = Topic(
    name="delivery.attempted", key="account id", retention=3 * DAY, writers=("deliver",), readers=("admin",)
)

READ_BY_JOBS: Final = (CODE_RECEIVED, LINK_REQUESTED, WEBHOOK_RECEIVED, ACCOUNT_CHANGED, ACCOUNT_TOLD, EDGE_NOTICED)
FIXED: Final = (*READ_BY_JOBS, EVENT_RECORDED, DELIVERY_ATTEMPTED, *(topic.dead for topic in READ_BY_JOBS))


def gone_by(asked: datetime) -> datetime:
    """Return when the last segment is gone that can hold what was known of an account when it was forgotten.

    A segment takes records for a quarter of its topic's retention at most, and goes when the last of them is that old; a day
    is for what the broker takes its time for. Dead letters are kept longest.
    """
    longest = max(
        (topic.retention or FORGETTING for topic in (*FIXED, delivery_dead("any"), delivery_held("any"))), default=FORGETTING
    )
    return asked + longest * 5 / 4 + DAY


def delivery(destination: str) -> str:
    """Return the name under which a destination's own topics (`….dead`, `….held`) and its consumer group go."""
    return f"delivery.{destination}"


def delivery_dead(destination: str) -> Topic:
    """Return the dead-letter topic of one HTTP destination."""
    return Topic(name=dead(delivery(destination)), key="account id", retention=30 * DAY, writers=("deliver",), readers=("admin",))


def letters(topics: Collection[Topic]) -> tuple[str, ...]:
    """Return the names of the dead-letter topics among these."""
    return tuple(topic.name for topic in topics if topic.name.endswith(dead("")) and not topic.outside)


def delivery_held(destination: str) -> Topic:
    """Return the topic of what was put aside for one HTTP destination: replays, and dead letters that are sent anew."""
    writers: tuple[Role, ...] = ("deliver", "admin")
    return Topic(
        name=f"{delivery(destination)}.held", key="account id", retention=30 * DAY, writers=writers, readers=("deliver",)
    )


def routed(name: str) -> Topic:
    """Return the topic of a route, which takes copies of events."""
    return Topic(
        name=f"{_ROUTE}{name}", key="account id", retention=7 * DAY, writers=("dispatch",), readers=("partner",), outside=True
    )


def declared(destinations: Collection[str], routes: Collection[str] = ()) -> tuple[Topic, ...]:
    """Return every topic that an installation with these HTTP destinations and routes needs."""
    own = (topic(name) for name in sorted(destinations) for topic in (delivery_dead, delivery_held))
    return (*FIXED, *own, *(routed(name) for name in sorted(routes)))


def physical(namespace: str, name: str) -> str:
    """Return the name outsiders see: `<namespace>.<noun>.<past tense>.v1`."""
    return f"{namespace}.{name}.v1"
