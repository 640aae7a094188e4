"""What ingress must be told; built from the environment and `ringhook.toml` by the composition root."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from schemas.errors import Misconfigured
from schemas.records import App
from workers.runtime.secrets import Secret

LONGEST_DEADLINE_S: Final = 4.0  # Ring waits 5 s: an answer that comes later than this makes duplicates
Network = str  # "10.0.0.0/8"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and times of the public listener."""

    deadline_s: float = 2.5  # from the headers to the answer, reading the body and publishing included
    headers_s: float = 5.0
    keep_alive_s: float = 75.0
    linger_s: float = 1.0  # how long a refused body is read on, so that its sender sees the answer
    grace_s: float = 10.0  # at the stop, for what is in flight
    connections: int = 10_000
    webhooks: int = 4_000  # signed ones that are being published
    codes: int = 200  # on the secret path
    strange_codes: int = 50  # on the plain path
    pages: int = 200
    buffered_bytes: int = 32 * 1024 * 1024  # of bodies over 8 KiB

    def __post_init__(self) -> None:
        """Refuse a deadline that would make Ring send everything twice."""
        if not 0 < self.deadline_s < LONGEST_DEADLINE_S:
            raise Misconfigured(
                f"the ingress deadline must be above 0 and under {LONGEST_DEADLINE_S:g} s, since Ring waits 5 s for the answer; "
                f"it is {self.deadline_s:g} s (2.5 is the default)"
            )


class Handoff(msgspec.Struct, frozen=True, tag="handoff"):
    """The partner's own login page signs users in, and claims the attempt for them."""

    login_url: str


class Dev(msgspec.Struct, frozen=True, tag="dev"):
    """One passcode for everybody: for a first day without a login page. `partner_user` is who it signs in."""

    passcode: Secret
    partner_user: str = "dev-user"


class Oidc(msgspec.Struct, frozen=True, tag="oidc", kw_only=True):
    """The partner's identity provider signs users in; `client_secret` is None where the issuer asks for none."""

    issuer: str
    client_id: str
    client_secret: Secret | None = None
    scopes: tuple[str, ...] = ("openid", "email")
    allow_networks: tuple[Network, ...] = ()  # exceptions from the guard, for an issuer inside a network


SignIn = Handoff | Oidc | Dev


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the public application needs to know."""

    public_url: str  # as Ring and browsers call it, without a path: https://ring.example.com
    hmac_keys: Mapping[App, Secret]  # Ring's keys as the portal shows them; the plain path's codes are the first one's
    signin: SignIn
    exchange_secrets: Mapping[App, Secret] = {}
    homepage_url: str | None = None
    trusted_proxies: tuple[Network, ...] = ()
    namespace: str = "ringhook"
    limits: Limits = Limits()

    @property
    def secure(self) -> bool:
        """Say whether browsers come by https; only a developer's loopback may do otherwise."""
        return self.public_url.startswith("https://")


Scope = Literal["claim", "broker", "read", "operate", "bodies"]


class Token(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may call `/v1`: a name for the log, the SHA-256 of the token in hex, and what it is good for."""

    name: str
    sha256: str
    scopes: tuple[Scope, ...]
