"""A record of `event.recorded` as deliver holds it: the event, and the key by which this destination keeps order. Pure."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

import msgspec

from schemas.cloudevents import read, sequence, structured
from schemas.errors import Rejected
from schemas.events import Event
from schemas.topics import EVENT_RECORDED
from workers.bus.contract import Held
from workers.deliver.dress import Dress, Dressed, batched
from workers.deliver.window import Item

REPLAY: Final = "replay"  # header of a record that is no live traffic: by which replay it comes
NAMED: Final = "named"  # header of one that an operator asked for by its name: it is sent whatever the destination's filter
ORIGIN: Final = "origin_offset"  # and its offset on event.recorded
DIGITS: Final = 20  # more than an offset has
REPLAYED: Final = "webhook-replay"  # header of its delivery
_KEYS: Final[Mapping[str, Callable[[Event], str | None]]] = {
    "device": lambda event: event.subject or event.accountid,
    "account": lambda event: event.accountid,
    "none": lambda _: None,
}


class Parcel(msgspec.Struct, frozen=True, gc=False):
    """A record and the event in it; None where it holds none of ours, which only a dead letter can tell."""

    held: Held
    event: Event | None

    @property
    def replay(self) -> str | None:
        """By which replay it comes, if by one."""
        return text(self.held, REPLAY)

    @property
    def named(self) -> bool:
        """Say whether an operator asked for this very event."""
        return text(self.held, NAMED) is not None

    @property
    def offset(self) -> int:
        """Its offset on `event.recorded`."""
        origin = text(self.held, ORIGIN)
        return int(origin) if origin and origin.isdecimal() and len(origin) < DIGITS else self.held.offset

    def key(self, kind: str) -> str | None:
        """Return what is kept in order: the device (the account for events without one), the account, or nothing."""
        return _KEYS[kind](self.event) if self.event else None

    def item(self, kind: str, now: datetime, *, line: str | None = None) -> Item["Parcel"]:
        """Return what a window holds of it; `line` is where it waits, if it comes from a row."""
        held = self.held
        return Item(held.offset, self.key(kind), self, now, size=len(held.value), since=held.time.timestamp(), line=line)

    def joins(self, other: "Parcel") -> bool:
        """Say whether another may be in one request with it."""
        return self.event is not None and other.event is not None and self.replay == other.replay

    def dressed(self, event: Event, dress: Dress) -> Dressed:
        """Return the headers and the body of a delivery; Rejected where there can be none."""
        told, body = dress(event, sequence(self.offset))
        return ({**told, REPLAYED: self.replay} if self.replay else told), body


def together(parcels: Sequence[Parcel]) -> tuple[str, Dressed]:
    """Return the id, the headers and the body of a delivery of several events."""
    events = [(parcel.event, parcel.offset) for parcel in parcels if parcel.event]
    told, body = batched([structured(event, sequence(offset)) for event, offset in events])
    name = f"batch-{sha256(chr(10).join(event.id for event, _ in events).encode(errors='surrogatepass')).hexdigest()[:32]}"
    replay = parcels[0].replay
    return name, ({**told, REPLAYED: replay} if replay else told, body)


def text(held: Held, name: str) -> str | None:
    """Return a header of ours as text; live records have none, and their headers need no search."""
    value = None if held.topic == EVENT_RECORDED.name else held.header(name)
    return value.decode("ascii", "replace") if value is not None else None


GONE: Final = Parcel(Held(topic="", key=b"", value=b"", index=0, offset=0, time=datetime.fromtimestamp(0, UTC)), None)


def packed(held: Held) -> Parcel:
    """Return the parcel of a record."""
    try:
        return Parcel(held, read(held.headers, held.value))
    except Rejected:
        return Parcel(held, None)
