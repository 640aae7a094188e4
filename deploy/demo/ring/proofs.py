"""The two proofs that share one key and differ in their encoding: a webhook's signature is hex, a nonce is base64url."""

import base64
import hashlib
import hmac


def signature(key: str, body: bytes) -> str:
    """Return the value of X-Signature over exactly these bytes."""
    return "sha256=" + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


def nonce(key: str, time: str, account: str) -> str:
    """Return the nonce of a redirect: 43 characters, no padding; `time` is 13 digits of epoch milliseconds."""
    digest = hmac.new(key.encode(), f"{time}:{account}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
