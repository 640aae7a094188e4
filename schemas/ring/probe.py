"""The webhook by which `ringhook doctor` tries the way from the public URL onto the bus; Ring sends none of this type."""

from datetime import datetime
from typing import Final

import orjson

TYPE: Final = "ringhook_probe"


def body(request_id: str, at: datetime) -> bytes:
    """Return the body of a probe: of no account and no device, so that nobody's event can be taken for it."""
    meta = {"version": "1.1", "time": at.isoformat(), "request_id": request_id}
    return orjson.dumps({"meta": meta, "data": {"id": request_id, "type": TYPE, "attributes": {}}})
