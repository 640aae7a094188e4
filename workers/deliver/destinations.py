"""`[[destination]]` of ringhook.toml: what may stand there, and everything wrong with one in plain words. Pure."""

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final, Literal
from urllib.parse import SplitResult, urlsplit

import msgspec

from workers.deliver.guard import Network, misspelt, permitted

MARGIN_S: Final = 5.0  # a request and this much more end before a silent member is put out of its group
SESSION_S: Final = 20.0  # the bus's session and rebalance timeouts, as it has them by default
CONCURRENCY_LIMIT: Final = 1_000
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


class Destination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One HTTP service of the partner. Secrets are named here, never written: `secret_env` a variable, `secret_file` a file."""

    name: str
    url: str
    secret_env: str | None = None
    secret_file: str | None = None
    secret_env_next: str | None = None  # while rotating: deliveries carry both signatures
    secret_file_next: str | None = None
    key: Literal["device", "account", "none"] = "device"  # what is kept in order
    concurrency: int = 32  # requests in flight, per process
    timeout_s: float = 10.0  # of one attempt, from connecting to the last byte of the answer
    allow_http: bool = False
    allow_networks: tuple[str, ...] = ()  # exceptions from the guard: "10.0.0.0/8"
    deliver_unlinked: bool = False
    filter: dict[str, Any] | None = None

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks that the guard lets pass."""
        return tuple(ip_network(text) for text in self.allow_networks)


def problems(destination: Destination, *, session_s: float = SESSION_S) -> Sequence[str]:
    """Return everything that is wrong with a destination, each as `key: words` or `key, key: words`.

    `session_s` is the bus's session timeout.
    """
    return [*_names(destination), *_url(destination), *_networks(destination), *_numbers(destination, session_s)]


def _names(destination: Destination) -> Iterator[str]:
    if not _NAME.fullmatch(destination.name):
        yield "name: 1 to 40 lower-case letters, digits and hyphens, not a hyphen first (topics are named after it)"
    if destination.secret_env and destination.secret_file:
        yield "secret_env, secret_file: say one of them"
    if not (destination.secret_env or destination.secret_file):
        yield "secret_env, secret_file: name the variable that holds the signing secret (or secret_file its file)"
    if destination.secret_env_next and destination.secret_file_next:
        yield "secret_env_next, secret_file_next: say one of them"
    if destination.filter is not None:
        yield "filter: is not supported yet; take it out, and all events are delivered"


def _url(destination: Destination) -> Iterator[str]:
    url = _split(destination.url)
    schemes = ("https", "http") if destination.allow_http else ("https",)
    if url is None or url.hostname is None:
        yield "url: is not an address like https://service.example.com/ring"
        return
    if url.scheme not in schemes:
        yield "url: must begin with https:// (allow_http = true permits http inside your own network)"
    if url.username is not None or url.password is not None:
        yield "url: holds a user or password; deliveries are signed instead"
    if url.fragment:
        yield "url: has a #fragment, which is never sent"
    if misspelt(url.hostname):
        yield "url: holds an address that is not written as four numbers (127.0.0.1): write it so, or use a name"
    elif not _permitted(url.hostname, destination):
        yield "url: is an address inside a network; allow_networks names those that may be reached"


def _split(url: str) -> SplitResult | None:
    """Return the parts of a URL, or None where it is none."""
    try:
        parts = urlsplit(url)
        sound = parts.hostname and parts.port != 0 and url.isprintable() and " " not in url
    except ValueError:
        return None
    return parts if sound else None


def _permitted(host: str, destination: Destination) -> bool:
    """Say whether a literal host may be reached; names are judged when they are resolved."""
    try:
        ip_address(host.partition("%")[0])
        return permitted(host, destination.networks)
    except ValueError:
        return True


def _networks(destination: Destination) -> Iterator[str]:
    for text in destination.allow_networks:
        try:
            ip_network(text)
        except ValueError as error:
            yield f"allow_networks: {error}"


def _numbers(destination: Destination, session_s: float) -> Iterator[str]:
    if not 1 <= destination.concurrency <= CONCURRENCY_LIMIT:
        yield f"concurrency: between 1 and {CONCURRENCY_LIMIT}"
    if not 0.1 <= destination.timeout_s < session_s - MARGIN_S:  # noqa: PLR2004 -- below, nothing ever answers
        yield f"timeout_s: at least 0.1 and less than {session_s - MARGIN_S:g}, so that a request ends before its lane moves away"
