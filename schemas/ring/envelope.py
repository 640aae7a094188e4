"""Every variant of what Ring posts to the Webhook URL, read into one struct.

Source: developer.amazon.com/docs/ring/notifications.html, and recorded deliveries where they differ from it.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import msgspec
import orjson

from schemas.errors import Rejected
from schemas.ring import fields
from schemas.ring.fields import Json

MAX_AGE: Final = timedelta(days=13)  # Ring signs no time: what is older may be a replay, and claims are kept 16 days
MAX_DEPTH: Final = 100  # Ring's are 6 deep; from about 1,000 on, common parsers give up on what orjson still reads
ADDED: Final = "app_integration_added"
REMOVED: Final = "app_integration_removed"
DEVICE_REMOVED: Final = "device_removed"
_SENSORS: Final = ("flood", "freeze", "tamper")
_LEVELS: Final = ("temperature", "humidity", "pm25", "co")
TYPES: Final = frozenset(
    (
        "motion_detected",
        "button_press",
        "device_added",
        DEVICE_REMOVED,
        "device_online",
        "device_offline",
        ADDED,
        REMOVED,
        "subscription_activated",
        "subscription_deactivated",
        "contact_sensor_faulted",
        "contact_sensor_cleared",
        *(f"{sensor}_{end}" for sensor in _SENSORS for end in ("detected", "cleared")),
        *(f"{level}_{end}" for level in _LEVELS for end in ("exceeded", "cleared")),
    )
)

Quarantine = Literal["not_json", "not_an_envelope", "too_deep", "stale"]


class Subscription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a `subscription_…` event says; `kind` is Ring's `sub_type` (paid, trial), `expires_at` its text."""

    id: str | None = None
    kind: str | None = None
    plan: str | None = None
    expires_at: str | None = None
    devices: tuple[str, ...] = ()


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """One webhook, understood. None stands for what this variant does not say."""

    request_id: str  # Ring's, or `sha256:<hex>` of the raw body
    type: str  # Ring's word; unknown words pass
    recognised: bool  # False: an older, flat shape
    account: str | None = None
    device: str | None = None
    data_id: str | None = None  # opaque, never to be parsed
    time: datetime | None = None  # UTC, nanoseconds trimmed
    time_text: str | None = None  # as Ring wrote it
    occurred_ms: int | None = None  # attributes.timestamp
    motion: str | None = None  # motion, human, vehicle, other_motion, animal, package, or a newer word
    component_ids: tuple[str, ...] = ()
    subscription: Subscription | None = None
    version: str | None = None


class Stale(Rejected):
    """A signed event that is older than what copies are known of."""

    def __init__(self, envelope: Envelope) -> None:
        super().__init__(f"signed, but its time is {envelope.time:%Y-%m-%d}: older than {MAX_AGE.days} days", reason="stale")
        self.type = envelope.type


def parse(body: bytes, received_at: datetime) -> Envelope:
    """Return the envelope, or raise Rejected with a Quarantine reason; nothing else, whatever the bytes are.

    `received_at` (aware) is when ingress read the body: its age is judged by then, not by when dispatch came to it.
    """
    envelope = _read(body, _root(body))
    if envelope.time and received_at - envelope.time > MAX_AGE:
        raise Stale(envelope)
    return envelope


def label(kind: str | None) -> str:
    """Return the type where it is a documented one, else `other`: a metric's label."""
    return kind if kind in TYPES else "other"


def _root(body: bytes) -> Json:
    try:
        root: Any = orjson.loads(body)
    except ValueError as error:
        raise Rejected("signed, but not JSON", reason="not_json") from error
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _deeper(root, MAX_DEPTH):
        raise Rejected(f"signed JSON, but nested deeper than {MAX_DEPTH}", reason="too_deep")
    if not isinstance(root, dict):
        raise Rejected("signed JSON, but not an object", reason="not_an_envelope")
    return root


def _deeper(root: object, levels: int) -> bool:
    """Say whether containers are nested in more than `levels` levels; level by level, for recursion is what it guards."""
    level = [root]
    for _ in range(levels):
        level = [inner for value in level for inner in _inside(value) if isinstance(inner, dict | list)]
    return bool(level)


def _inside(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _read(body: bytes, root: Json) -> Envelope:
    meta, data = fields.mapping(root, "meta"), fields.mapping(root, "data")
    attributes = fields.mapping(data, "attributes")
    kind = fields.event_type(root, data, attributes)
    if not kind:
        raise Rejected("a signed object that does not say what happened", reason="not_an_envelope")
    time, occurred = meta.get("time"), _whole(attributes.get("timestamp"))
    return Envelope(
        request_id=fields.request_id(body, meta),
        type=kind,
        recognised=bool(meta) and kind == data.get("type"),
        account=fields.account_id(meta, attributes),
        device=fields.device_id(root, data, attributes),
        data_id=fields.text(data.get("id")),
        time=moment(time) or moment(attributes.get("timestamp")),
        time_text=fields.text(time),
        occurred_ms=occurred,
        motion=None if _subscribes(kind, attributes) else _motion(data, attributes),
        component_ids=_components(root, data, attributes),
        subscription=_subscription(data, attributes) if _subscribes(kind, attributes) else None,
        version=fields.text(meta.get("version")),
    )


def moment(value: object) -> datetime | None:
    """Return a time as Ring writes it (ISO 8601 with up to nanoseconds, or epoch milliseconds) in UTC, or None."""
    try:
        if isinstance(value, str):
            said = datetime.fromisoformat(value)
            return said.astimezone(UTC) if said.tzinfo else said.replace(tzinfo=UTC)
        milliseconds = _whole(value)
        return None if milliseconds is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    except (ValueError, OverflowError):
        return None


def _motion(data: Json, attributes: Json) -> str | None:
    """Return the motion class: the documentation says `data.subType`, deliveries have had all four."""
    said = (data.get("subType"), attributes.get("sub_type"), attributes.get("subType"), data.get("sub_type"))
    return next((word for value in said if (word := fields.text(value))), None)


def _components(*places: Json) -> tuple[str, ...]:
    listed = next((found for place in places if isinstance(found := place.get("component_ids"), list)), [])
    return tuple(name for value in listed if (name := fields.text(str(value) if _whole(value) is not None else value)))


def _subscribes(kind: str, attributes: Json) -> bool:
    return kind.startswith("subscription_") or attributes.get("source") == "subscriptions"


def _subscription(data: Json, attributes: Json) -> Subscription:
    return Subscription(
        id=fields.text(attributes.get("source_id")),
        kind=fields.text(attributes.get("sub_type")),
        plan=fields.text(attributes.get("plan_id")),
        expires_at=_text_of(attributes.get("expires_at")),
        devices=fields.device_ids(data),
    )


def _text_of(value: object) -> str | None:
    return fields.text(str(value) if _whole(value) is not None else value)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
