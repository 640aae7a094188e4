"""Dead letters as operators see them: where each lies, why, and what it is about. Pure."""

import base64
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ingress.errors import NotFound
from schemas.errors import UNREADABLE
from schemas.ring.peek import peek
from schemas.topics import WEBHOOK_RECEIVED
from workers.bus.contract import Held

DEAD: Final = "dead_"  # begins the headers that were added when it was put aside
HISTORY: Final = "dead_history"
DIGITS: Final = 18  # of an offset


class Address(msgspec.Struct, frozen=True):
    """Where a dead letter lies: `webhook.received.dead:3:17`."""

    topic: str
    index: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}:{self.index}:{self.offset}"


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """What a list tells of a dead letter; None where its record does not say."""

    address: str
    at: str
    reason: str | None
    attempts: int | None
    id: str | None  # of the event, or Ring's request_id
    type: str | None
    account: str | None
    status: str | None  # what the last attempt to deliver came to
    origin: str | None  # where it was: topic:partition:offset


def address(text: str) -> Address:
    """Return the address that a text is, or raise NotFound in words."""
    topic, _, place = text.partition(":")
    index, _, offset = place.partition(":")
    if not topic or not all(part.isascii() and part.isdigit() and len(part) <= DIGITS for part in (index, offset)):
        raise NotFound("This is no dead letter's address: they look like webhook.received.dead:3:17.", reason="address")
    return Address(topic, int(index), int(offset))


def summary(held: Held) -> Letter:
    """Return what a list tells of a letter."""
    said = texts(held)
    places = [said.get(name) for name in ("dead_topic", "dead_partition", "dead_offset")]
    attempts = said.get("dead_attempts", "")
    return Letter(
        address=str(Address(held.topic, held.index, held.offset)),
        at=said.get("dead_at") or held.time.isoformat(),
        reason=said.get("dead_reason"),
        attempts=int(attempts) if attempts.isascii() and attempts.isdigit() else None,
        id=said.get("ce_id") or said.get("request_id"),
        type=said.get("ce_type") or said.get("type"),
        account=_account(held, said),
        status=said.get("dead_status"),
        origin=":".join(part for part in places if part is not None) if all(places) else None,
    )


def whole(held: Held, *, body: bool) -> dict[str, Any]:
    """Return everything that is known of a letter; its body only where that may be shown."""
    said = texts(held)
    shown: dict[str, Any] = msgspec.to_builtins(summary(held))
    shown |= {"key": _text(held.key), "bytes": len(held.value), "omitted": said.get("dead_body") == "omitted"}
    shown["headers"] = [[name, _text(value)] for name, value in held.headers if name != HISTORY]
    shown["history"] = _history(said.get(HISTORY, ""))
    return shown | ({"body": _text(held.value)} if body else {})


def texts(held: Held) -> dict[str, str]:
    """Return the headers as text; what was added when the letter was put aside is what stands last under its name."""
    return {name: _text(value) for name, value in held.headers}


def _account(held: Held, said: Mapping[str, str]) -> str | None:
    if said.get("dead_topic") == WEBHOOK_RECEIVED.name:
        return peek(held.value).account
    return said.get("ce_accountid")


def _history(text: str) -> object:
    try:
        return msgspec.json.decode(text) if text else []
    except UNREADABLE:
        return []


def _text(value: bytes) -> str:
    """Return bytes as text; what is none as `base64:…`."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(value).decode()}"
