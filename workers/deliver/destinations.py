"""`[[destination]]` of ringhook.toml: what may stand there, and everything wrong with one in plain words. Pure."""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from ipaddress import ip_network
from typing import Any, Final, Literal

import msgspec
from yarl import URL

from schemas.filters import Takes
from schemas.hosts import web_parts
from workers.deliver.birth import begins
from workers.deliver.dress import Form, misheaded
from workers.deliver.pace import RATE_LIMIT
from workers.deliver.shape import compiled
from workers.deliver.sign import DEFAULT, Scheme
from workers.deliver.tls import KEYS as TLS_KEYS
from workers.runtime.guard import Network, leads_inside, misspelt, no_network

MARGIN_S: Final = 5.0  # a request and this much more end before a silent member is put out of its group, or a group is dealt anew
ENDED_S: Final = 1.0  # more than a request may take
TOLD_S: Final = 1.0  # for the commit of what became of it
SESSION_S: Final = 20.0  # the bus's session and rebalance timeouts, as it has them by default
CONCURRENCY_LIMIT: Final = 1_000
BATCH: Final = 100  # events in one request, where a destination takes several
BATCH_LIMIT: Final = 500
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")


class Destination(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One HTTP service of the partner. Secrets are named here, never written: `secret_env` a variable, `secret_file` a file."""

    name: str
    url: str
    secret_env: str | None = None
    secret_file: str | None = None
    secret_env_next: str | None = None  # while rotating: deliveries carry both signatures
    secret_file_next: str | None = None
    sign: Scheme = DEFAULT  # a secret that both sides hold; "v1a": a key of ringhook's, and a public one of the service's
    key: Literal["device", "account", "none"] = "device"  # what is kept in order
    concurrency: int = 32  # requests in flight, per process
    rate: float | None = None  # requests that start in any second at most, per process; None: no limit
    timeout_s: float = 10.0  # of one attempt, from connecting to the last byte of the answer
    allow_http: bool = False
    allow_networks: tuple[str, ...] = ()  # exceptions from the guard: "10.0.0.0/8"
    ca_file: str | None = None  # authorities to believe instead of the system's
    cert_file: str | None = None  # the certificate by which it knows us
    key_file: str | None = None  # and its key, where that stands in a file of its own
    deliver_unlinked: bool = False
    since: str | None = msgspec.field(default=None, name="from")  # "first" or a time; else from when it is first seen
    body: Form = "structured"
    batch: int | None = None  # events in one request at most, with body = "batched"
    shape: str | None = None  # JMESPath: the body is what it makes of the structured event
    headers: dict[str, str] = {}  # sent with each delivery
    headers_env: dict[str, str] = {}  # the same, each naming the variable that holds its value
    filter: dict[str, Any] | None = None  # as schemas/filters.py reads it; without one it wants every event

    @property
    def most(self) -> int:
        """How many events one request may hold."""
        return (self.batch or BATCH) if self.body == "batched" else 1

    @property
    def ends_s(self) -> float:
        """Seconds after which each request that was begun has ended."""
        return self.timeout_s + ENDED_S

    @property
    def grace_s(self) -> float:
        """Seconds in which a lane ends: what was begun, and the commit of what became of it; before the group is dealt anew."""
        return self.ends_s + TOLD_S

    @property
    def networks(self) -> tuple[Network, ...]:
        """The networks that the guard lets pass."""
        return tuple(ip_network(text) for text in self.allow_networks)


def takes(destination: Destination) -> Takes:
    """Return which events are for this destination."""
    return Takes(filter=destination.filter, unlinked=destination.deliver_unlinked)


def problems(destination: Destination, *, session_s: float = SESSION_S, now: datetime | None = None) -> Sequence[str]:
    """Return everything that is wrong with a destination, each as `key: words` or `key, key: words`.

    `session_s` is the bus's session timeout; what lies after `now` is the future.
    """
    found = [*_names(destination), *_beginning(destination, now), *_filter(destination), *_url(destination)]
    found += [*misheaded(destination.headers, destination.headers_env), *_shape(destination), *_tls(destination)]
    return [*found, *_networks(destination), *_batch(destination), *_numbers(destination, session_s)]


def _names(destination: Destination) -> Iterator[str]:
    if not _NAME.fullmatch(destination.name):
        yield "name: must be 1 to 40 lower-case letters, digits and hyphens, not a hyphen first (topics are named after it)"
    if destination.secret_env and destination.secret_file:
        yield "secret_env, secret_file: say one of them"
    if not (destination.secret_env or destination.secret_file):
        yield "secret_env, secret_file: one is missing: name the variable that holds the signing secret (or secret_file its file)"
    if destination.secret_env_next and destination.secret_file_next:
        yield "secret_env_next, secret_file_next: say one of them"


def _beginning(destination: Destination, now: datetime | None) -> Iterator[str]:
    try:
        begin = begins(destination.since)
    except ValueError:
        yield 'from: must be "first" or a time in quotes, with its offset: "2026-02-13T00:00:00Z"'
        return
    if now is not None and isinstance(begin, datetime) and begin > now:
        yield "from: lies in the future; without it the destination gets what comes from its first start on"


def _filter(destination: Destination) -> Iterator[str]:
    try:
        takes(destination).wants(named=False)
    except ValueError as error:
        yield f"filter: {error}"


def _shape(destination: Destination) -> Iterator[str]:
    if destination.shape is None:
        return
    if destination.body != "structured":
        yield "shape, body: a shape is made of the structured event, and is the whole body: leave one of them out"
    try:
        compiled(destination.shape)
    except ValueError as error:
        yield f"shape: {error}"


def _url(destination: Destination) -> Iterator[str]:
    url, host = web_parts(destination.url), _host(destination.url)
    if url is None or host is None:
        yield "url: is not an address like https://service.example.com/ring"
        return
    if url.scheme == "http" and not destination.allow_http:
        yield "url, allow_http: must begin with https:// (allow_http = true permits http inside your own network)"
    if url.username is not None or url.password is not None:
        yield "url: holds a user or password; deliveries are signed instead"
    if url.fragment:
        yield "url: has a #fragment, which is never sent"
    if misspelt(host):
        yield "url: holds an address that is not written as four numbers (127.0.0.1): write it so, or use a name"
    elif not _permitted(host, destination):
        yield "url, allow_networks: leads into a network or this machine: closed, unless allow_networks names it, as 127.0.0.0/8"


def _tls(destination: Destination) -> Iterator[str]:
    given = [key for key in TLS_KEYS if getattr(destination, key)]
    if given and destination.url.startswith("http:"):
        yield f"{', '.join(given)}, url: of no use where url begins with http://: nothing is encrypted there"
    if destination.key_file and not destination.cert_file:
        yield "key_file, cert_file: the key is of use only with the certificate that it belongs to: name its file as cert_file"


def _host(url: str) -> str | None:
    """Return the host as the client will take it: digits and dots of other scripts are plain ones then."""
    try:
        return URL(url).host
    except ValueError:
        return None


def _permitted(host: str, destination: Destination) -> bool:
    try:
        return not leads_inside(host, destination.networks)
    except ValueError:  # of a network, which is told by itself
        return True


def _networks(destination: Destination) -> Iterator[str]:
    for number, text in enumerate(destination.allow_networks, start=1):
        if words := no_network(text):
            yield f"allow_networks: item {number} {words}"


def _batch(destination: Destination) -> Iterator[str]:
    if destination.batch is None:
        return
    if destination.body != "batched":
        yield 'batch, body: several events in one request need body = "batched"'
    if not 2 <= destination.batch <= BATCH_LIMIT:  # noqa: PLR2004 - of one event there is another form
        yield f"batch: must be between 2 and {BATCH_LIMIT}"


def _numbers(destination: Destination, session_s: float) -> Iterator[str]:
    if not 1 <= destination.concurrency <= CONCURRENCY_LIMIT:
        yield f"concurrency: must be between 1 and {CONCURRENCY_LIMIT}"
    if destination.rate is not None and not 0 < destination.rate <= RATE_LIMIT:
        yield f"rate: must be above 0 and at most {RATE_LIMIT:,.0f} requests a second; leave it out for no limit"
    longest = session_s - MARGIN_S
    if not 0.1 <= destination.timeout_s < longest:  # noqa: PLR2004 -- below, nothing ever answers
        bound = f"less than {longest:g}, so that a request ends before its lane moves away"
        yield f"timeout_s: must be at least 0.1 and {bound}"
