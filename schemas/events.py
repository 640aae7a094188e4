"""A normalised event: what partners receive, from Kafka and over HTTP. Attributes are CloudEvents 1.0 and its extensions."""

from datetime import datetime
from hashlib import sha256
from typing import Final

import msgspec

from schemas.ring.envelope import Subscription

SOURCE: Final = "https://api.amazonvision.com"
PREFIX: Final = "com.ring."


class EventData(msgspec.Struct, frozen=True, kw_only=True):
    """What happened. `payload` is the JSON Ring sent, byte for byte."""

    received_at: datetime
    motion: str | None = None  # motion, human, vehicle, other_motion, animal, package; newer words pass
    component_ids: tuple[str, ...] = ()
    subscription: Subscription | None = None
    recognised: bool = True  # False: an older shape of Ring's, read as well as could be
    payload: msgspec.Raw = msgspec.Raw(b"null")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One event of one account. Names are CloudEvents': extensions have lower-case letters and digits only."""

    id: str  # Ring's request_id: stable over every copy, except where `suffixed`
    type: str  # com.ring.motion_detected
    source: str = SOURCE
    subject: str | None = None  # device id
    time: datetime
    accountid: str
    partneruserid: str | None = None  # the partner's own user
    linked: bool
    recovered: bool = False  # found in Event History after it had not come by itself
    data: EventData


def event_type(word: str) -> str:
    """Return our type for Ring's word."""
    return PREFIX + word


def digest(account: str | None, kind: str, data_id: str | None, *more: str) -> str:
    """Return what tells copies of one event from another event under the same id: 32 hex digits, the same on every machine."""
    parts = [(part or "").encode() for part in (account, kind, data_id, *more)]
    return sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).hexdigest()[:32]


def suffixed(request_id: str, digest: str) -> str:
    """Return the id of an event whose request id another event has taken: forwarded and counted, never dropped."""
    return f"{request_id}~{digest[:16]}"
