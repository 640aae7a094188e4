"""What each part of ringhook is told, read from named values and the file; a role reads only the parts it runs."""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Final, Literal, TypeVar

import msgspec

from deploy.settings import values
from deploy.settings.source import Problems, Reader
from deploy.settings.toml import Document, table, tables
from deploy.settings.values import listen, secret
from ingress.settings import Dev, Handoff, Limits, Token
from ingress.settings import Settings as IngressSettings
from ingress.settings import SignIn as SignInSettings
from schemas.records import App
from workers.deliver.destinations import Destination, problems
from workers.runtime.sealing import CodeOpener, CodeSealer, Keyring
from workers.runtime.secrets import Secret

T = TypeVar("T")
_NOWHERE: Final = Secret("")
APPS: Final[Mapping[App, str]] = {"first": "", "next": "_NEXT"}  # suffix of each app's variables


class Common(msgspec.Struct, frozen=True, kw_only=True):
    """What every role needs to know."""

    namespace: str
    bus_url: str
    store_url: str
    internal_listen: tuple[str, int]
    metrics_open: bool
    single_broker: bool  # the promise then reads "held by one broker"
    log_level: str


def read_common(reader: Reader) -> Common:
    """Read what every role needs; every name has a default that suits one machine."""
    return Common(
        namespace=reader.default("RINGHOOK_NAMESPACE", values.namespace, "ringhook"),
        bus_url=reader.default("RINGHOOK_BUS_URL", values.url("sqlite", "kafka"), "sqlite:///var/bus.db"),
        store_url=reader.default("RINGHOOK_STORE_URL", values.url("sqlite", "postgresql"), "sqlite:///var/store.db"),
        internal_listen=reader.default("RINGHOOK_INTERNAL_LISTEN", listen, ("127.0.0.1", 8081)),
        metrics_open=reader.default("RINGHOOK_METRICS_OPEN", values.yes_or_no, default=True),
        single_broker=reader.default("RINGHOOK_SINGLE_BROKER", values.yes_or_no, default=False),
        log_level=reader.default("RINGHOOK_LOG_LEVEL", values.level, "INFO"),
    )


class SignIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[signin]` of ringhook.toml: how the partner's users prove who they are."""

    kind: Literal["handoff", "dev"]
    login_url: str | None = None
    passcode_env: str | None = None
    partner_user: str = "dev-user"


class Edge(msgspec.Struct, frozen=True, kw_only=True):
    """The public listener: where it listens, what it checks, and the public key it seals codes with."""

    listen: tuple[str, int]
    settings: IngressSettings
    sealer: CodeSealer
    cookies: Keyring


def read_edge(reader: Reader, document: Document) -> Edge:
    """Read what the ingress role needs."""
    signin = _signin(reader, document)
    return Edge(
        listen=reader.default("RINGHOOK_PUBLIC_LISTEN", listen, ("0.0.0.0", 8080)),  # noqa: S104 -- it is the public door
        settings=IngressSettings(
            public_url=read_public_url(reader),
            hmac_keys=read_hmac_keys(reader),
            signin=signin,
            exchange_secrets=_by_app(reader, "RINGHOOK_EXCHANGE_SECRET", secret),
            homepage_url=reader.optional("RINGHOOK_HOMEPAGE_URL", values.url("https", "http")),
            trusted_proxies=reader.default("RINGHOOK_TRUSTED_PROXIES", values.items, ()),
            namespace=reader.default("RINGHOOK_NAMESPACE", values.namespace, "ringhook"),
            limits=Limits(deadline_s=reader.default("RINGHOOK_INGRESS_DEADLINE_S", values.deadline, Limits().deadline_s)),
        ),
        sealer=_needed(reader, "RINGHOOK_CODE_PUBLIC_KEY", CodeSealer),
        cookies=read_cookies(reader),
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
    reader.required("RINGHOOK_RING_HMAC_KEY", secret, _NOWHERE, hint=hint)
    return _by_app(reader, "RINGHOOK_RING_HMAC_KEY", secret)


def _by_app(reader: Reader, name: str, parse: Callable[[str], T]) -> Mapping[App, T]:
    """Return the value of each app that has one."""
    found = {app: reader.optional(name + suffix, parse) for app, suffix in APPS.items() if reader.raw(name + suffix)}
    return {app: value for app, value in found.items() if value is not None}


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
    reader.required("RINGHOOK_RING_CLIENT_ID", str, "", hint="the client id from Ring's portal")
    reader.required("RINGHOOK_RING_CLIENT_SECRET", secret, _NOWHERE, hint="the client secret from Ring's portal")
    return Vault(
        hmac_keys=read_hmac_keys(reader),
        client_ids=_by_app(reader, "RINGHOOK_RING_CLIENT_ID", str),
        client_secrets=_by_app(reader, "RINGHOOK_RING_CLIENT_SECRET", secret),
        keys=_needed(reader, "RINGHOOK_VAULT_KEYS", Keyring.parse),
        opener=_needed(reader, "RINGHOOK_CODE_PRIVATE_KEYS", CodeOpener),
        rate=reader.default("RINGHOOK_RING_RATE", values.rate, 100.0),
        api_url=reader.default("RINGHOOK_RING_API_URL", values.base_url, "https://api.amazonvision.com"),
        oauth_url=reader.default("RINGHOOK_RING_OAUTH_URL", values.base_url, "https://oauth.ring.com"),
    )


class Service(msgspec.Struct, frozen=True):
    """A destination with the one or two secrets that sign what it gets."""

    destination: Destination
    secrets: tuple[Secret, ...]


def read_services(reader: Reader, document: Document) -> tuple[Service, ...]:
    """Read every destination and its secrets (deliver)."""
    found = _destinations(document, reader.problems)
    return tuple(Service(destination, _secrets(reader, destination, where)) for destination, where in found)


def destination_names(document: Document) -> tuple[str, ...]:
    """Return the names only, for the roles that need no more than the topics named after them."""
    return tuple(destination.name for destination, _ in _destinations(document, Problems()))


def _destinations(document: Document, found: Problems) -> list[tuple[Destination, str]]:
    given = tables(document, "destination", Destination, found)
    names: set[str] = set()
    for destination, where in given:
        for problem in problems(destination):
            found.add(where, problem)
        if destination.name in names:
            found.add(where, f"a second destination is called {destination.name}")
        names.add(destination.name)
    return given


def _secrets(reader: Reader, destination: Destination, where: str) -> tuple[Secret, ...]:
    named = [(destination.secret_env, destination.secret_file), (destination.secret_env_next, destination.secret_file_next)]
    found = [reader.secret_from(variable, file, where) for variable, file in named if variable or file]
    return tuple(value for value in found if value)


def read_tokens(document: Document, found: Problems) -> tuple[Token, ...]:
    """Read who may call `/v1` (admin)."""
    given = tables(document, "token", Token, found)
    for token, where in given:
        if len(token.sha256) != sha256().digest_size * 2 or set(token.sha256.lower()) - set("0123456789abcdef"):
            found.add(where, 'sha256 is not the SHA-256 of a token in hex: printf %s "$TOKEN" | sha256sum')
    return tuple(token for token, _ in given)


def _signin(reader: Reader, document: Document) -> SignInSettings:
    found = reader.problems
    given = table(document, "signin", SignIn, found)
    where = document.where("signin")
    if given is None:
        if "signin" not in document.data:
            found.add(where, '[signin] is missing: kind = "dev" for a first day, "handoff" for your own login page')
        return Dev(_NOWHERE)
    if given.kind == "handoff":
        if not given.login_url:
            found.add(where, "login_url: the page of yours that signs users in")
        return Handoff(given.login_url or "")
    if not given.passcode_env:
        found.add(where, "passcode_env: name the variable that holds the passcode")
    return Dev(reader.secret_from(given.passcode_env, None, where) or _NOWHERE, given.partner_user)


def _needed(reader: Reader, name: str, parse: Callable[[str], T]) -> T:
    """Return the parsed value of a name that `ringhook init` makes; a missing one is a problem, told by `end`."""
    return reader.required(name, parse, None, hint="made by `ringhook init`")  # type: ignore[return-value] # never used then
