"""What ingress notes beside a webhook's raw bytes: the headers of a `webhook.received` record, written and read in one place."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from schemas.errors import Rejected
from schemas.records import App
from schemas.ring.peek import Peek

Headers = tuple[tuple[str, bytes], ...]


class Arrival(msgspec.Struct, frozen=True):
    """How a webhook came: when ingress had read it, and whose key had signed it."""

    request_id: str
    type: str | None
    received_at: datetime
    app: App


def headers(peek: Peek, received_at: datetime, app: App) -> Headers:
    """Return the headers of the record; `received_at` is aware."""
    return (
        ("request_id", peek.request_id.encode()),
        ("type", (peek.type or "").encode()),
        ("received_at", received_at.isoformat().encode()),
        ("app", app.encode()),
    )


def read(headers: Iterable[tuple[str, bytes]]) -> Arrival:
    """Return what `headers` wrote, or raise Rejected (`not_from_ingress`) for a record that did not come by our door."""
    found = dict(headers)
    try:
        received_at = datetime.fromisoformat(found["received_at"].decode())
        app, request_id = found["app"].decode("ascii"), found["request_id"].decode()
        kind = found.get("type", b"").decode()
    except (KeyError, ValueError) as error:
        raise Rejected("a webhook record lacks what ingress writes beside it", reason="not_from_ingress") from error
    if received_at.tzinfo is None:
        raise Rejected("a webhook record's time has no zone", reason="not_from_ingress")
    return Arrival(request_id=request_id, type=kind or None, received_at=received_at, app=app)
