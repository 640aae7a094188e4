"""A record of `event.recorded` as deliver holds it: the event, and the key by which this destination keeps order. Pure."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from schemas.cloudevents import read, sequence, structured
from schemas.errors import Rejected
from schemas.events import Event
from workers.bus.contract import Held

_KEYS: Final[Mapping[str, Callable[[Event], str | None]]] = {
    "device": lambda event: event.subject or event.accountid,
    "account": lambda event: event.accountid,
    "none": lambda _: None,
}


class Parcel(msgspec.Struct, frozen=True, gc=False):
    """A record and the event in it; None where it holds none of ours, which only a dead letter can tell."""

    held: Held
    event: Event | None

    def key(self, kind: str) -> str | None:
        """Return what is kept in order: the device (the account for events without one), the account, or nothing."""
        return _KEYS[kind](self.event) if self.event else None

    def body(self, event: Event) -> bytes:
        """Return the body of a delivery."""
        return structured(event, sequence(self.held.offset))


def packed(held: Held) -> Parcel:
    """Return the parcel of a record."""
    try:
        return Parcel(held, read(held.headers, held.value))
    except Rejected:
        return Parcel(held, None)
