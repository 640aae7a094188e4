"""What an OIDC issuer says of itself, and the two requests that are made of it. Pure.

Sources: openid.net/specs/openid-connect-discovery-1_0.html and openid-connect-core-1_0.html (3.1), RFC 6749, RFC 7636.
"""

from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Final
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit, urlunsplit

import msgspec

from ingress.settings import Oidc
from schemas.errors import UNREADABLE, Misconfigured
from schemas.hosts import web_parts

WELL_KNOWN: Final = "/.well-known/openid-configuration"


class Discovered(msgspec.Struct, frozen=True):
    """The issuer's metadata, as far as it matters here."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class TokenRequest(msgspec.Struct, frozen=True):
    """A form, and the headers beside it, to be posted to the token endpoint; never logged."""

    form: Mapping[str, str]
    headers: Mapping[str, str]


def well_known(issuer: str) -> str:
    """Return where an issuer's metadata is."""
    return issuer.rstrip("/") + WELL_KNOWN


def discovered(body: bytes, issuer: str) -> Discovered:
    """Return the metadata, or raise Misconfigured: it is none, it is another issuer's, or its addresses cannot be used."""
    try:
        found = msgspec.json.decode(body, type=Discovered)
    except UNREADABLE as error:
        raise Misconfigured(f"{well_known(issuer)} gives no metadata of an OIDC issuer") from error
    if found.issuer != issuer:
        raise Misconfigured(f"the issuer calls itself {found.issuer[:200]!a}: write it so in [signin]")
    for url in (found.authorization_endpoint, found.token_endpoint, found.jwks_uri):
        if not _usable(url, issuer):
            raise Misconfigured(f"the issuer names an address that cannot be used: {url[:200]!a}")
    return found


def _usable(url: str, issuer: str) -> bool:
    """Say whether an address is https; http only where the issuer itself is (config check allows that on this machine alone)."""
    parts = web_parts(url)
    plain = issuer.startswith("http:")
    return parts is not None and (parts.scheme == "https" or plain) and parts.username is None and not parts.fragment


def authorization_url(found: Discovered, settings: Oidc, *, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
    """Return where the browser goes to sign in: anew, whatever session it has there."""
    parts = urlsplit(found.authorization_endpoint)
    asked = {
        "response_type": "code",
        "client_id": settings.client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(settings.scopes),
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge(verifier),
        "code_challenge_method": "S256",
        "max_age": "0",
        "prompt": "login",  # some issuers know this one better
    }
    return urlunsplit(parts._replace(query=urlencode([*parse_qsl(parts.query, keep_blank_values=True), *asked.items()])))


def challenge(verifier: str) -> str:
    """Return the S256 challenge of a PKCE verifier."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def token_request(found: Discovered, settings: Oidc, *, code: str, redirect_uri: str, verifier: str) -> TokenRequest:
    """Return the request that redeems a code, the client named in the way that the issuer knows. Raises Misconfigured."""
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
    methods, secret = found.token_endpoint_auth_methods_supported, settings.client_secret
    if secret is None:
        return TokenRequest({**form, "client_id": settings.client_id}, {})
    if "client_secret_basic" in methods:
        pair = f"{quote_plus(settings.client_id)}:{quote_plus(secret.reveal())}"  # RFC 6749, 2.3.1
        return TokenRequest(form, {"Authorization": "Basic " + b64encode(pair.encode()).decode()})
    if "client_secret_post" in methods:
        return TokenRequest({**form, "client_id": settings.client_id, "client_secret": secret.reveal()}, {})
    raise Misconfigured("the issuer takes a client secret neither as client_secret_basic nor as client_secret_post")
