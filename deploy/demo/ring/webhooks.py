"""The bodies Ring sends, field by field as real deliveries have them. Pure: accounts, devices and time come in, bytes go out.

Sources: developer.amazon.com/docs/ring/notifications.html and the pages per type; recorded deliveries where they disagree.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any, Literal

import orjson

from deploy.demo.ring.state import Account, Device, doorbell

Place = Literal["data.subType", "data.sub_type", "attributes.subType", "attributes.sub_type"]
PLACES: Sequence[Place] = ("data.subType", "data.sub_type", "attributes.subType", "attributes.sub_type")
MOTIONS = ("motion", "human", "vehicle", "other_motion", "animal", "package")
DEVICE_TYPES = ("device_added", "device_removed", "device_online", "device_offline")
INTEGRATION_TYPES = ("app_integration_added", "app_integration_removed")
SUBSCRIPTION_TYPES = ("subscription_activated", "subscription_deactivated")
SENSOR_TYPES = (
    *(f"{what}_{how}" for what in ("flood", "freeze", "tamper") for how in ("detected", "cleared")),
    *(f"contact_sensor_{how}" for how in ("faulted", "cleared")),
    *(f"{what}_{how}" for what in ("temperature", "humidity", "pm25", "co") for how in ("exceeded", "cleared")),
)
TYPES = ("motion_detected", "button_press", *DEVICE_TYPES, *INTEGRATION_TYPES, *SUBSCRIPTION_TYPES, *SENSOR_TYPES)
COMPONENTS: Sequence[dict[str, Any]] = (
    {"component_ids": ["1", "2"]},
    {"component_ids": [1, 2]},
    {"component_ids": None},
    {},
)
REQUEST_ID = 64  # characters, after which Ring cuts its own


@dataclass(frozen=True)
class Webhook:
    """One notification; sent again, it is the same bytes and the same request id."""

    request_id: str
    type: str
    account: str
    body: bytes
    key: str | None = None  # of another app than the first, by which it is signed


def motion(account: Account, device: Device, now_ns: int, *, what: str = "human", place: Place = "data.subType") -> Webhook:
    """Say that something moved; what it was stands in one of the four places in which it has been seen."""
    ms = now_ns // 1_000_000
    data = _of_device("motion_detected", f"{device.id}_{what}_{ms}", device, ms)
    section, name = place.split(".")
    (data if section == "data" else data["attributes"])[name] = what
    return _webhook(account, data, now_ns)


def button_press(account: Account, device: Device, now_ns: int) -> Webhook:
    """Say that somebody rang; the id says `ding`, as nothing else does."""
    ms = now_ns // 1_000_000
    return _webhook(account, _of_device("button_press", f"{device.id}_ding_{ms}", device, ms), now_ns)


def device_event(account: Account, device: Device, now_ns: int, *, type: str, **attributes: Any) -> Webhook:  # noqa: A002, ANN401  # Ring's word
    """Make any other event of a device, of a type that is known or not."""
    ms = now_ns // 1_000_000
    data = _of_device(type, f"{device.id}_{type}_{ms}", device, ms)
    data["attributes"].update(attributes)
    return _webhook(account, data, now_ns)


def sensor(account: Account, device: Device, now_ns: int, *, type: str, **attributes: Any) -> Webhook:  # noqa: A002, ANN401  # Ring's word
    """Make a sensor's event: the request id is no UUID, has another word for floods, and is cut in mid-word."""
    request_id = f"{uuid.uuid4()}-{now_ns // 1_000_000}-{type.replace('flood', 'water')}"[:REQUEST_ID]
    plain = device_event(account, device, now_ns, type=type, **attributes)
    return _renamed(plain, request_id)


def integration(account: Account, now_ns: int, *, type: str, client_id: str) -> Webhook:  # noqa: A002  # Ring's word
    """Say that the app was added or removed: the account is the source, and there are no relationships."""
    ms = now_ns // 1_000_000
    verb = "created" if type == "app_integration_added" else "deleted"
    attributes = {"source": account.id, "source_type": "users", "timestamp": ms}
    data = {"id": f"ava1.ring.client.{client_id}_client_{verb}_{ms}", "type": type, "attributes": attributes}
    return _webhook(account, data, now_ns)


def subscription(account: Account, now_ns: int, *, type: str, trial: bool = False) -> Webhook:  # noqa: A002  # Ring's word
    """Say that a plan began or ended: no timestamp, no source_type, the devices as JSON:API identifiers."""
    attributes: dict[str, Any] = {
        "source": "subscriptions",
        "source_id": str(uuid.uuid4()),
        "sub_type": "trial" if trial else "paid",
        "plan_id": None if trial else "ring.protect.plus",
    }
    if type == "subscription_activated":
        attributes["expires_at"] = _text(now_ns + int(timedelta(days=30).total_seconds()) * 10**9)
    devices = {"data": [{"type": "device", "id": device.id} for device in account.devices]}
    data = {"id": str(uuid.uuid4()), "type": type, "attributes": attributes, "relationships": {"devices": devices}}
    return _webhook(account, data, now_ns)


def without_account(webhook: Webhook) -> Webhook:
    """Return the same notification as version 1.0 had it: nobody says whose it is."""
    whole = orjson.loads(webhook.body)
    whole["meta"] = {name: value for name, value in whole["meta"].items() if name != "account_id"} | {"version": "1.0"}
    return replace(webhook, body=orjson.dumps(whole))


def older(account: Account, device: Device, now_ns: int) -> list[Webhook]:
    """Return the flat shapes of earlier days."""
    inside = {"event_type": "motion_detected", "device_id": device.id}
    data = {"id": str(uuid.uuid4()), "type": "event", "attributes": inside}
    wrapped = _webhook(account, data, now_ns)
    return [wrapped, Webhook(str(uuid.uuid4()), "motion_detected", account.id, orjson.dumps(inside))]


def of_type(type: str, account: Account, device: Device, now_ns: int, *, client_id: str) -> Webhook:  # noqa: A002  # Ring's word
    """Return a plain notification of a type, documented or invented."""
    if type == "motion_detected":
        return motion(account, device, now_ns)
    if type == "button_press":
        return button_press(account, device, now_ns)
    if type in INTEGRATION_TYPES:
        return integration(account, now_ns, type=type, client_id=client_id)
    if type in SUBSCRIPTION_TYPES:
        return subscription(account, now_ns, type=type)
    return (sensor if type in SENSOR_TYPES else device_event)(account, device, now_ns, type=type)


def every(account: Account, now_ns: int, *, client_id: str) -> Iterator[Webhook]:
    """Return each documented type once and each known oddity once; no removal ends the account or its device."""
    device, components = account.devices[0], cycle(COMPONENTS)
    for what, place in zip(MOTIONS, cycle(PLACES), strict=False):
        yield motion(account, device, now_ns, what=what, place=place)
    for kind in SENSOR_TYPES:
        yield sensor(account, device, now_ns, type=kind, **next(components))
    for kind in ("button_press", *DEVICE_TYPES, "app_integration_added", *SUBSCRIPTION_TYPES):
        about = doorbell("Old Door") if kind == "device_removed" else device
        yield of_type(kind, account, about, now_ns, client_id=client_id)
    yield subscription(account, now_ns, type="subscription_activated", trial=True)
    yield without_account(button_press(account, device, now_ns))


def _of_device(type_: str, id_: str, device: Device, ms: int) -> dict[str, Any]:
    return {
        "id": id_,
        "type": type_,
        "attributes": {"source": device.id, "source_type": "devices", "timestamp": ms},
        "relationships": {"devices": {"links": {"self": f"/v1/devices/{device.id}"}}},
    }


def _webhook(account: Account, data: dict[str, Any], now_ns: int) -> Webhook:
    request_id = str(uuid.uuid4())
    meta = {"version": "1.1", "time": _text(now_ns), "request_id": request_id, "account_id": account.id}
    return Webhook(request_id, data["type"], account.id, orjson.dumps({"meta": meta, "data": data}))


def _renamed(webhook: Webhook, request_id: str) -> Webhook:
    whole = orjson.loads(webhook.body)
    whole["meta"]["request_id"] = request_id
    return replace(webhook, request_id=request_id, body=orjson.dumps(whole))


def _text(ns: int) -> str:
    """Return a time as Ring writes it: with nine digits behind the point."""
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{ns % 10**9:09d}Z"
