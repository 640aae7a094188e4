"""Who may call `/v1`: the right host, no foreign page, a known token, and a scope for each route. Pure."""

import hmac
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from ingress.errors import Forbidden, Misdirected, Unauthorized
from ingress.settings import Scope, Token

_BEARER = "bearer "


class Gate(msgspec.Struct, frozen=True):
    """The tokens of an installation, and the names (without ports) of its internal listener, beside addresses."""

    tokens: Sequence[Token]
    hosts: Collection[str]

    def admit(self, headers: Mapping[str, str], scope: Scope) -> Token:
        """Return whose token it is, or raise Misdirected (421), Forbidden (403) or Unauthorized (401)."""
        self.demand_own_host(headers)
        token = self._known(headers.get("Authorization", ""))
        if scope not in token.scopes:
            raise Forbidden(f"The token {token.name!r} lacks the scope {scope!r}.", reason="scope")
        return token

    def demand_reader(self, headers: Mapping[str, str]) -> None:
        """Raise what `admit` raises for the scope `read`."""
        self.admit(headers, "read")

    def demand_own_host(self, headers: Mapping[str, str]) -> None:
        """Raise Misdirected for a host that is not ours (a name rebound to this address), Forbidden for another site's page."""
        host = headers.get("Host", "")
        if (name := name_of(host)) not in self.hosts and not literal(name):
            raise Misdirected(f"This listener is not called {name[:100]!r}: RINGHOOK_INTERNAL_HOSTS names it.", reason="host")
        demand_no_foreign_page(headers, host)

    def _known(self, authorization: str) -> Token:
        """Return the token that was shown; every one is compared, in constant time."""
        if authorization[: len(_BEARER)].lower() != _BEARER:
            raise Unauthorized("Authorization: Bearer <token> is needed.", reason="token_missing")
        shown = sha256(authorization[len(_BEARER) :].strip().encode(errors="surrogatepass")).hexdigest().encode()
        known = [token for token in self.tokens if hmac.compare_digest(token.sha256.lower().encode(), shown)]
        if not known:
            raise Unauthorized("This token is not known.", reason="token_unknown")
        return known[0]


def demand_no_foreign_page(headers: Mapping[str, str], host: str) -> None:
    """Raise Forbidden where a browser sends this for another site's page."""
    if headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        raise Forbidden("Pages of other sites may not call this.", reason="cross_site")
    origin = headers.get("Origin")
    if origin is not None and origin.lower() not in {f"http://{host.lower()}", f"https://{host.lower()}"}:
        raise Forbidden("Pages of other sites may not call this.", reason="cross_site")


def literal(name: str) -> bool:
    """Say whether a host is an address itself: a browser got it from nobody's DNS, so nobody can have rebound it."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def name_of(host: str) -> str:
    """Return the name in a Host header: `admin.:8081` → `admin`, `[::1]:8081` → `::1`; `` for what is no host."""
    try:
        parts = urlsplit(f"//{host}")
        whole = parts.netloc == host and "@" not in host and parts.port != 0  # `port` raises for what is none
    except ValueError:
        return ""
    return (parts.hostname or "").lower().removesuffix(".") if whole else ""  # a name may be written from the DNS's root
