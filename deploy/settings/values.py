"""One text into one value, or a ValueError (Misconfigured) that says in words what is wrong and never quotes the text."""

import re
from datetime import timedelta
from ipaddress import ip_address
from math import inf
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from yarl import URL

from ingress.proxies import Proxies
from ingress.settings import Limits
from schemas.errors import Misconfigured
from schemas.hosts import is_host, web_parts
from workers.bus.kafka.url import parse as kafka_address
from workers.bus.sqlite.place import parse as sqlite_place
from workers.deliver.dress import usable
from workers.deliver.sign import SCHEMES, signing
from workers.runtime import postgresurl
from workers.runtime.database import address
from workers.runtime.secrets import Secret

DAY: Final = 86_400
LONGEST_DRAIN_S: Final = 600
LEAST_BUS: Final = 64 * 2**20  # bytes; a smaller bus refuses what comes in minutes
_NAME: Final = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?")
_PATH_PART: Final = re.compile(r"[A-Za-z0-9_.~-]{16,200}")


def token(text: str) -> Secret:
    """Return what is shown as a bearer token."""
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("must be letters, digits and signs without spaces, as it goes into a header")
    return Secret(text)


def plain(text: str) -> str:
    """Return a pasted text; white space around it is refused, since it never belongs to it."""
    if text != text.strip():
        raise ValueError("has white space or a line end around it: paste the value alone")
    if not text.isprintable():
        raise ValueError("holds a tab, a line end or another sign that nobody sees: paste the value alone")
    return text


def word(text: str) -> str:
    """Return a pasted name without any white space."""
    if " " in plain(text):
        raise ValueError("holds a space: paste the value alone")
    return text


def secret(text: str) -> Secret:
    """Return a pasted text as a Secret."""
    return Secret(plain(text))


def signing_secret(text: str, scheme: str) -> Secret:
    """Return the secret of a destination, as Standard Webhooks writes it for a scheme; of one that is none nothing is known."""
    found = secret(text)
    for known in SCHEMES:
        if known == scheme:
            signing(found, known)
    return found


def header(text: str) -> Secret:
    """Return the value of a header."""
    if not usable(text):
        raise ValueError("must be 1 to 4,096 printable ASCII characters, no space at its ends (it becomes a header)")
    return Secret(text)


def path_secret(text: str) -> Secret:
    """Return the last part of the Token Exchange URL."""
    if not _PATH_PART.fullmatch(text):
        raise ValueError("must be at least 16 letters, digits, - _ . ~ (it is a part of a URL's path)")
    return Secret(text)


def listen(text: str) -> tuple[str, int]:
    """Return host and port of `host:port`, `[::1]:port` or `:port`."""
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:  # noqa: PLR2004 -- the highest port
        raise ValueError("is not host:port")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("is not host:port; an IPv6 address stands in brackets: [::1]:8080")
    if host and not is_host(host):
        raise ValueError("is not host:port: that is no name of a host")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 -- `:port` means every address, as everywhere


def bus_url(text: str) -> str:
    """Return where the bus is: `sqlite:///path` or `kafka://host:9092`, with all that its engine can tell beforehand."""
    if text.startswith("sqlite:"):
        if (place := sqlite_place(text)).most < LEAST_BUS:
            raise ValueError(f"bytes must be at least {LEAST_BUS}, which is {LEAST_BUS // 2**20} MiB")
        _file(place.path)
    elif text.startswith("kafka:"):
        kafka_address(text).options()
    else:
        raise ValueError("must begin with sqlite:// or kafka://")
    return text


def store_url(text: str) -> str:
    """Return where the store is: `sqlite:///path` or `postgresql://…`, with all that can be told before connecting."""
    wrong = list(postgresurl.problems(text)) if text.startswith(("postgresql://", "postgres://")) else []
    if postgresurl.UNESCAPED in wrong:
        raise ValueError(postgresurl.UNESCAPED)
    try:
        found = address(text)
    except Misconfigured as error:
        raise ValueError("; ".join([str(error), *wrong])) from None
    if wrong:
        raise ValueError("; ".join(wrong))
    if found.drivername == "sqlite":
        _file(Path(found.database or ""))
    return text


def _file(path: Path) -> None:
    if path.name in {"", ":memory:"}:
        raise ValueError("names no file: sqlite:///var/name.db (relative) or sqlite:////var/lib/ringhook/name.db (absolute)")


def web_address(text: str) -> str:
    """Return an address for browsers, as it stands in a header: letters beyond ASCII are encoded."""
    _web(text)
    return str(URL(text))


def page(text: str) -> str:
    """Return the address of a page that nobody on the way may read or change: https, or this machine."""
    parts = _web(text)
    if parts.scheme == "http" and not _loopback(parts.hostname or ""):
        raise ValueError("must begin with https:// (http:// only on this machine: localhost, 127.0.0.1, [::1])")
    return text


def base_url(text: str) -> str:
    """Return scheme and host of such an address, with nothing at its end, so that paths can be joined to it."""
    return _bare(page(text))


def inner_url(text: str) -> str:
    """Return scheme and host of an address inside the partner's own network, where http is common."""
    return _bare(web_address(text))


def _bare(text: str) -> str:
    parts = urlsplit(text)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("must be scheme and host alone, without a path")
    return f"{parts.scheme}://{parts.netloc}"


def _web(text: str) -> SplitResult:
    parts = web_parts(text)
    if parts is None:
        raise ValueError("is not an address like https://host.example.com")
    if parts.username is not None or parts.password is not None:
        raise ValueError("holds a user or password, which everybody would see")
    return parts


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def namespace(text: str) -> str:
    """Return a namespace: letters, digits, - and _."""
    if not (0 < len(text) <= 40 and text.replace("-", "").replace("_", "").isalnum() and text.isascii()):  # noqa: PLR2004
        raise ValueError("must be 1 to 40 letters, digits, - and _")
    return text


def yes_or_no(text: str) -> bool:
    """Return a truth value."""
    if text.lower() not in ("yes", "no", "true", "false", "1", "0"):
        raise ValueError("must be yes or no")
    return text.lower() in ("yes", "true", "1")


def level(text: str) -> str:
    """Return the name of a log level."""
    if text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("must be debug, info, warning or error")
    return text.upper()


def networks(text: str) -> tuple[str, ...]:
    """Return the networks of a comma-separated list."""
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    try:
        Proxies(found)
    except Misconfigured:
        raise ValueError("must be a network like 10.0.0.0/8, or several with commas between them") from None
    return found


def hosts(text: str) -> tuple[str, ...]:
    """Return the names of a comma-separated list, in lower case."""
    found = tuple(part.strip().lower() for part in text.split(",") if part.strip())
    if not all(_NAME.fullmatch(name) for name in found):
        raise ValueError("must be a name like ringhook-admin.example.com, or several with commas between them, without ports")
    return found


def rate(text: str) -> float:
    """Return requests a second."""
    if not 0 < (rate := number(text)) < inf:
        raise ValueError("must be a number of requests a second above 0")
    return rate


def deadline(text: str) -> float:
    """Return the ingress deadline in seconds."""
    if number(text) < 0.1:  # noqa: PLR2004 -- nothing is held sooner than that, and all would be refused
        raise ValueError("must be at least 0.1 seconds")
    return Limits(deadline_s=number(text)).deadline_s


def drain(text: str) -> float:
    """Return for how many seconds a process that is leaving serves on."""
    if not 0 <= (seconds := number(text)) <= LONGEST_DRAIN_S:
        raise ValueError(f"must be between 0 (the port closes at once) and {LONGEST_DRAIN_S} seconds")
    return seconds


def wait(text: str) -> timedelta:
    """Return how long an event waits for its account's link."""
    if not 0 <= (seconds := number(text)) <= 10 * DAY:
        raise ValueError(f"must be between 0 (no event waits) and {10 * DAY} seconds, ten days: copies are known for sixteen")
    return timedelta(seconds=seconds)


def count(text: str) -> int:
    """Return how many there may be."""
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= 10**9):
        raise ValueError("must be a whole number above 0")
    return int(text)


def number(text: str) -> float:
    """Return a number."""
    try:
        return float(text)
    except ValueError:
        raise ValueError("is not a number") from None


def path(text: str) -> str:
    """Return the text: any path will do."""
    return text
