"""Standard Webhooks by hand, as a partner without a library would write it; the README shows a shorter one."""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping

TOLERANCE_S = 300


def verified(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Say whether a delivery was signed with this `whsec_…` secret within the last five minutes."""
    identity, sent = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not sent.isascii() or not sent.isdigit() or abs(time.time() - int(sent)) > TOLERANCE_S:
        return False
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{identity}.{sent}.".encode() + body, hashlib.sha256).digest()
    expected = b"v1," + base64.b64encode(digest)
    given = headers.get("webhook-signature", "").encode(errors="surrogateescape").split()
    return any(hmac.compare_digest(expected, one) for one in given)
