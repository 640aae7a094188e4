"""Where a POST of a browser came from: only our own pages may send one."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from ingress.errors import Forbidden
from ingress.link.words import FROM_ELSEWHERE

PORTS: Final = {"http": 80, "https": 443}


def demand_same_site(request: web.Request, public_url: str) -> None:
    """Raise Forbidden for a POST that another site sent."""
    if not same_site(request.headers, public_url):
        raise Forbidden(FROM_ELSEWHERE, reason="cross_site")


def same_site(headers: Mapping[str, str], public_url: str) -> bool:
    """Say whether the headers are those of a POST from our own page.

    Our own is what browsers know us by, RINGHOOK_PUBLIC_URL; what the Host header says, the sender wrote.
    `Origin: null` is what browsers send under our own no-referrer policy, so it decides nothing; then Sec-Fetch-Site does,
    and where a browser has neither, the claim that only this browser was shown.
    """
    if headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        return False
    origin = headers.get("Origin", "null")
    return origin == "null" or _origin(origin) == _origin(public_url) is not None


def _origin(url: str) -> tuple[str, str, int] | None:
    """Return scheme, host and port, by RFC 6454; None for what is no web origin."""
    try:
        parts = urlsplit(url)
        port = parts.port or PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    return parts.scheme, parts.hostname or "", port
