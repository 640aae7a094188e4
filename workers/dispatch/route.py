"""`[[route]]` of ringhook.toml: copies of events on topics of the partner's choice, in the commit of the event itself. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from schemas import cloudevents
from schemas.filters import Wants, wanting
from schemas.topics import EVENT_RECORDED, Topic, routed
from workers.bus.contract import Record

_TOPIC: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")  # what Kafka calls a topic


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which events are copied to a topic."""

    topic: str  # as it is called on the broker: no namespace is put before it
    filter: dict[str, Any] | None = None  # as schemas/filters.py reads it; without one it takes every event
    deliver_unlinked: bool = False

    @property
    def declared(self) -> Topic:
        """The topic, as the bus must know it."""
        return routed(self.topic)


def problems(route: Route) -> Iterator[str]:
    """Yield everything that is wrong with a route, each as `key: words`."""
    if not _TOPIC.fullmatch(route.topic):
        yield "topic: must be 1 to 249 letters, digits, . _ - (Kafka's own rule)"
    try:
        wanting(route.filter, unlinked=route.deliver_unlinked)
    except ValueError as error:
        yield f"filter: {error}"


class Routes:
    """Finds the copies that events need."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._ways: Sequence[tuple[str, Wants]] = [
            (route.declared.name, wanting(route.filter, unlinked=route.deliver_unlinked)) for route in routes
        ]

    def with_copies(self, outputs: Sequence[Record]) -> Sequence[Record]:
        """Return the outputs, each event followed by its copies."""
        if not self._ways:
            return outputs
        return [each for record in outputs for each in (record, *self._copies(record))]

    def _copies(self, record: Record) -> Iterator[Record]:
        if record.topic != EVENT_RECORDED.name:
            return
        event = cloudevents.read(record.headers, record.value)
        yield from (replace(record, topic=topic) for topic, wants in self._ways if wants(event))
