"""Where the four or five facts stand that both the hot path and the full parse read from Ring's JSON, whatever its age.

Everything here takes what a JSON parser gave and never raises.
"""

from hashlib import sha256
from typing import Any, Final

REQUEST_ID_LIMIT: Final = 256  # characters
ID_LIMIT: Final = 512
TYPE_LIMIT: Final = 128
_ACCOUNTS: Final = ("users", "user", "accounts", "account")
_DEVICES: Final = ("devices", "device")

Json = dict[str, Any]


def mapping(value: object, name: str) -> Json:
    """Return the object under that name, or an empty one."""
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, dict) else {}


def text(value: object, limit: int = ID_LIMIT) -> str | None:
    """Return the value where it is usable as an id: a printable str (no NUL, no surrogate) of 1 to `limit` characters."""
    return value if isinstance(value, str) and 0 < len(value) <= limit and value.isprintable() else None


def request_id(body: bytes, meta: Json) -> str:
    """Return Ring's idempotency key, or `sha256:<hex>` of the raw body where there is no usable one."""
    return text(meta.get("request_id"), REQUEST_ID_LIMIT) or "sha256:" + sha256(body).hexdigest()


def account_id(meta: Json, attributes: Json) -> str | None:
    """Return the account: `meta.account_id`, else the source of an event about an account (v1.0 names none)."""
    return text(meta.get("account_id")) or (
        text(attributes.get("source")) if attributes.get("source_type") in _ACCOUNTS else None
    )


def device_id(root: Json, data: Json, attributes: Json) -> str | None:
    """Return the one device the event is about, else None: a subscription may name several."""
    if attributes.get("source_type") in _DEVICES and (source := text(attributes.get("source"))):
        return source
    return _linked(data) or _only(device_ids(data)) or text(attributes.get("device_id")) or text(root.get("device_id"))


def device_ids(data: Json) -> tuple[str, ...]:
    """Return the devices a subscription covers: `relationships.devices.data[]`."""
    listed = mapping(mapping(data, "relationships"), "devices").get("data")
    entries = [listed] if isinstance(listed, dict) else listed if isinstance(listed, list) else []
    found = (text(entry.get("id")) for entry in entries if isinstance(entry, dict) and entry.get("type") in (*_DEVICES, None))
    return tuple(device for device in found if device)


def event_type(root: Json, data: Json, attributes: Json) -> str | None:
    """Return Ring's own word for what happened; older flat shapes say it in `event_type`."""
    said = text(data.get("type"), TYPE_LIMIT)
    if said and said != "event":
        return said
    return text(attributes.get("event_type"), TYPE_LIMIT) or text(root.get("event_type"), TYPE_LIMIT) or said


def _linked(data: Json) -> str | None:
    links = mapping(mapping(mapping(data, "relationships"), "devices"), "links")
    path = text(links.get("self"), 2 * ID_LIMIT)
    _, found, rest = path.partition("/devices/") if path else ("", "", "")
    return text(rest.split("/")[0].split("?")[0]) if found else None


def _only(devices: tuple[str, ...]) -> str | None:
    return devices[0] if len(devices) == 1 else None
