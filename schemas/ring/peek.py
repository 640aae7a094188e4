"""What the hot path needs to know of a signed body before it is held: enough to key it, name it and count it."""

from hashlib import sha256
from typing import Any

import msgspec
import orjson

from schemas.ring import fields


class Peek(msgspec.Struct, frozen=True):
    """What is known without a full parse. `request_id` is Ring's, or `sha256:<hex>` of the raw body."""

    request_id: str
    key: bytes  # of the record: keeps copies and followers in one lane; account, else device, else the body's hash
    account: str | None = None
    device: str | None = None
    type: str | None = None
    time: str | None = None  # meta.time as Ring wrote it


def peek(body: bytes) -> Peek:
    """Return what the raw body of a webhook says about itself; never raises, whatever the bytes are."""
    try:
        return _peek(body, orjson.loads(body))
    except ValueError:  # not JSON, too deep, not UTF-8
        return Peek(request_id=fields.request_id(body, {}), key=_hash(body))


def _peek(body: bytes, root: Any) -> Peek:  # noqa: ANN401 - whatever JSON holds
    meta, data = fields.mapping(root, "meta"), fields.mapping(root, "data")
    attributes = fields.mapping(data, "attributes")
    root = root if isinstance(root, dict) else {}
    account, device = fields.account_id(meta, attributes), fields.device_id(root, data, attributes)
    return Peek(
        request_id=fields.request_id(body, meta),
        key=(account or device or "").encode() or _hash(body),
        account=account,
        device=device,
        type=fields.event_type(root, data, attributes),
        time=fields.text(meta.get("time"), 64),
    )


def _hash(body: bytes) -> bytes:
    return sha256(body).hexdigest().encode()
