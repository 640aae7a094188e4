"""What each part of ringhook is told by named values; a role reads only the parts it runs."""

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

from deploy.settings import values
from deploy.settings.source import Reader
from deploy.settings.values import listen, secret
from ingress.settings import Limits
from ingress.settings import Settings as IngressSettings
from ingress.settings import SignIn as SignInSettings
from schemas.records import App
from schemas.ring import app as ring_app
from workers.bus.kafka.url import parse as kafka_address
from workers.deliver.destinations import SESSION_S
from workers.dispatch.parked import Bounds
from workers.runtime.sealing import CodeOpener, CodeSealer, Keyring
from workers.runtime.secrets import Secret

T = TypeVar("T")
_NOWHERE: Final = Secret("")
HMAC_KEY: Final = "RINGHOOK_RING_HMAC_KEY"
DRAIN_S: Final = 5.0  # seconds in which a load balancer notices that a process is not ready
NEXT: Final = "_NEXT"  # suffix of the variables of a second app, while users move over to it


class Common(msgspec.Struct, frozen=True, kw_only=True):
    """What every role needs to know."""

    namespace: str
    bus_url: str
    store_url: str
    internal_listen: tuple[str, int]
    internal_url: str | None  # as the partner's services and the commands call the internal port
    internal_hosts: tuple[str, ...]  # more names by which it may be called
    metrics_open: bool
    single_broker: bool  # the promise then reads "held by one broker"
    log_level: str

    @property
    def session_s(self) -> float:
        """Seconds after which the bus takes a silent member's lanes away."""
        return kafka_address(self.bus_url).session_timeout if self.bus_url.startswith("kafka") else SESSION_S


def read_common(reader: Reader) -> Common:
    """Read what every role needs; every name has a default that suits one machine."""
    return Common(
        namespace=reader.default("RINGHOOK_NAMESPACE", values.namespace, "ringhook"),
        bus_url=reader.default("RINGHOOK_BUS_URL", values.bus_url, "sqlite:///var/bus.db"),
        store_url=reader.default("RINGHOOK_STORE_URL", values.store_url, "sqlite:///var/store.db"),
        internal_listen=reader.default("RINGHOOK_INTERNAL_LISTEN", listen, ("127.0.0.1", 8081)),
        internal_url=reader.optional("RINGHOOK_INTERNAL_URL", values.inner_url),
        internal_hosts=reader.default("RINGHOOK_INTERNAL_HOSTS", values.hosts, ()),
        metrics_open=reader.default("RINGHOOK_METRICS_OPEN", values.yes_or_no, default=True),
        single_broker=reader.default("RINGHOOK_SINGLE_BROKER", values.yes_or_no, default=False),
        log_level=reader.default("RINGHOOK_LOG_LEVEL", values.level, "INFO"),
    )


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """The public listener: where it listens, what it checks, and the public key it seals codes with."""

    listen: tuple[str, int]
    settings: IngressSettings
    sealer: CodeSealer
    cookies: Keyring
    drain_s: float  # after SIGTERM, served on while readiness says no, so that a load balancer can look away


def read_edge(reader: Reader, signin: SignInSettings, *, alone: bool) -> Edge:
    """Read what the ingress role needs, beside how users prove who they are; `alone`: there is no other copy to look to."""
    return Edge(
        listen=reader.default("RINGHOOK_PUBLIC_LISTEN", listen, ("0.0.0.0", 8080)),  # noqa: S104 -- it is the public door
        settings=IngressSettings(
            public_url=read_public_url(reader),
            hmac_keys=read_hmac_keys(reader),
            signin=signin,
            exchange_secrets=_by_app(reader, "RINGHOOK_EXCHANGE_SECRET", values.path_secret),
            homepage_url=reader.optional("RINGHOOK_HOMEPAGE_URL", values.web_address),
            trusted_proxies=reader.default("RINGHOOK_TRUSTED_PROXIES", values.networks, ()),
            namespace=reader.default("RINGHOOK_NAMESPACE", values.namespace, "ringhook"),
            limits=Limits(deadline_s=reader.default("RINGHOOK_INGRESS_DEADLINE_S", values.deadline, Limits().deadline_s)),
        ),
        sealer=_needed(reader, "RINGHOOK_CODE_PUBLIC_KEY", CodeSealer),
        cookies=read_cookies(reader),
        drain_s=reader.default("RINGHOOK_INGRESS_DRAIN_S", values.drain, 0.0 if alone else DRAIN_S),
    )


def read_cookies(reader: Reader) -> Keyring:
    """Read the keys that seal cookies and tickets (ingress and admin)."""
    return _needed(reader, "RINGHOOK_COOKIE_KEYS", Keyring.parse)


def read_public_url(reader: Reader) -> str:
    """Read what Ring and browsers call."""
    hint = "what Ring and browsers call, for example https://ring.example.com"
    return reader.required("RINGHOOK_PUBLIC_URL", values.base_url, "https://ring.example.com", hint=hint)


def read_hmac_keys(reader: Reader) -> Mapping[App, Secret]:
    """Read Ring's one or two HMAC keys (ingress and linker)."""
    hint = "the HMAC signing key from Ring's portal, as it stands there"
    reader.required(HMAC_KEY, secret, _NOWHERE, hint=hint)
    return _by_app(reader, HMAC_KEY, secret)


def _by_app(reader: Reader, name: str, parse: Callable[[str], T]) -> Mapping[App, T]:
    """Return the value of each app that has one, by the app's id: which variables hold it may change, its key does not."""
    found = dict[App, T]()
    for suffix in ("", NEXT):
        value, key = reader.optional(name + suffix, parse), reader.raw(HMAC_KEY + suffix)
        if value is not None and key is not None:
            found[ring_app.named(key.text.encode())] = value
    return found


class Vault(msgspec.Struct, frozen=True, kw_only=True):
    """What only the linker holds: the keys that open, and the credentials that Ring knows us by."""

    hmac_keys: Mapping[App, Secret]
    client_ids: Mapping[App, str]
    client_secrets: Mapping[App, Secret]
    keys: Keyring
    opener: CodeOpener
    rate: float
    api_url: str
    oauth_url: str


def read_vault(reader: Reader) -> Vault:
    """Read what the linker role needs."""
    reader.required("RINGHOOK_RING_CLIENT_ID", values.word, "", hint="the client id from Ring's portal")
    reader.required("RINGHOOK_RING_CLIENT_SECRET", secret, _NOWHERE, hint="the client secret from Ring's portal")
    return Vault(
        hmac_keys=read_hmac_keys(reader),
        client_ids=_by_app(reader, "RINGHOOK_RING_CLIENT_ID", values.word),
        client_secrets=_by_app(reader, "RINGHOOK_RING_CLIENT_SECRET", secret),
        keys=_needed(reader, "RINGHOOK_VAULT_KEYS", Keyring.parse),
        opener=_needed(reader, "RINGHOOK_CODE_PRIVATE_KEYS", CodeOpener),
        rate=reader.default("RINGHOOK_RING_RATE", values.rate, 100.0),
        api_url=reader.default("RINGHOOK_RING_API_URL", values.base_url, "https://api.amazonvision.com"),
        oauth_url=reader.default("RINGHOOK_RING_OAUTH_URL", values.base_url, "https://oauth.ring.com"),
    )


def read_waiting(reader: Reader) -> Bounds:
    """Read what dispatch needs: how long, and how many, events wait for their account's link."""
    usual = Bounds()
    return Bounds(
        wait=reader.default("RINGHOOK_WAITING_S", values.wait, usual.wait),
        per_account=reader.default("RINGHOOK_WAITING_PER_ACCOUNT", values.count, usual.per_account),
        in_all=reader.default("RINGHOOK_WAITING_TOTAL", values.count, usual.in_all),
    )


def _needed(reader: Reader, name: str, parse: Callable[[str], T]) -> T:
    """Return the parsed value of a name that `ringhook init` makes; a missing one is a problem, told by `end`."""
    return reader.required(name, parse, None, hint="made by `ringhook init`")  # type: ignore[return-value] # never used then
