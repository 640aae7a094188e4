"""`[signin]` of ringhook.toml: how the partner's users prove who they are."""

from collections.abc import Callable, Iterator
from ipaddress import ip_network
from typing import Final, Literal
from urllib.parse import parse_qs

import msgspec
from yarl import URL

from deploy.settings import values
from deploy.settings.document import Document
from deploy.settings.lists import named
from deploy.settings.source import Reader
from deploy.settings.toml import Kind, table
from ingress.link.signin.handoff import usable
from ingress.settings import Dev, Handoff, Oidc
from ingress.settings import SignIn as SignInSettings
from schemas.hosts import web_parts
from workers.runtime.guard import leads_inside, misspelt, no_network
from workers.runtime.secrets import Secret

_NOWHERE: Final = Secret("")
_LONGEST_ISSUER: Final = 200  # characters; with a subject it names a user


class SignIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[signin]` of ringhook.toml: how the partner's users prove who they are."""

    kind: Literal["handoff", "oidc", "dev"]
    login_url: str | None = None
    issuer: str | None = None
    client_id: str | None = None
    client_secret_env: str | None = None
    scopes: tuple[str, ...] = ("openid", "email")
    allow_networks: tuple[str, ...] = ()
    passcode_env: str | None = None
    partner_user: str = "dev-user"


def read_signin(reader: Reader, document: Document) -> SignInSettings:
    """Read how users prove who they are (ingress)."""
    given, entry = table(document, "signin", SIGNIN, reader.problems)
    if "signin" not in document.data and document.whole:
        words = '[signin] is missing: kind = "dev" for a first day, "oidc" or "handoff" for your own users'
        reader.problems.add(document.name, words)
    for key in ("login_url", "issuer"):  # whatever `kind` is
        for words in _judge(key, values.page, entry.text(key) or ""):
            reader.problems.add(entry.where(key), words)
    passcode = named(reader, entry, "passcode_env", None, values.secret)
    secret = named(reader, entry, "client_secret_env", None, values.secret)
    return _meant(entry.text("kind"), given or SignIn(kind="dev"), passcode or _NOWHERE, secret)


def _meant(kind: str | None, given: SignIn, passcode: Secret, secret: Secret | None) -> SignInSettings:
    """Return what `kind` asks for; after a problem it is never used."""
    if kind == "handoff":
        return Handoff(given.login_url or "")
    if kind == "oidc":
        return Oidc(
            issuer=given.issuer or "",
            client_id=given.client_id or "",
            client_secret=secret,
            scopes=given.scopes,
            allow_networks=given.allow_networks,
        )
    return Dev(passcode, given.partner_user)


def _judge_signin(given: SignIn) -> Iterator[str]:
    if given.kind == "dev" and not given.passcode_env:
        yield "passcode_env: is missing: name the variable that holds the passcode"
    if given.kind == "handoff" and not given.login_url:
        yield "login_url: is missing: the page of yours that signs users in"
    page = web_parts(given.login_url or "")
    if page and "attempt" in parse_qs(page.query):
        yield "login_url: has an attempt= of its own: that is what ringhook adds"
    if given.kind == "oidc":
        yield from _judge_oidc(given)
    if not usable(given.partner_user):
        yield "partner_user: must be 1 to 256 printable characters"


def _judge_oidc(given: SignIn) -> Iterator[str]:
    if not given.issuer:
        yield "issuer: is missing: your identity provider, as it calls itself (https://login.example.com)"
    if not given.client_id:
        yield "client_id: is missing: the name by which the issuer knows ringhook"
    if "openid" not in given.scopes:
        yield 'scopes: must hold "openid", for without it no issuer says who signed in'
    if any(not usable(scope) or " " in scope for scope in given.scopes):
        yield "scopes: each must be one word"
    yield from _judge_place(given)


def _judge_place(given: SignIn) -> Iterator[str]:
    unread = [(number, words) for number, text in enumerate(given.allow_networks, start=1) if (words := no_network(text))]
    yield from (f"allow_networks: item {number} {words}" for number, words in unread)
    issuer = given.issuer or ""
    if "?" in issuer or "#" in issuer or len(issuer) > _LONGEST_ISSUER:
        yield f"issuer: must have no ? and no #, and at most {_LONGEST_ISSUER} characters"
    host = _host(issuer)
    if misspelt(host):
        yield "issuer: holds an address that is not written as four numbers (127.0.0.1): write it so, or use a name"
    elif not unread and leads_inside(host, [ip_network(text) for text in given.allow_networks]):
        yield "issuer, allow_networks: leads into a network or this machine: closed, unless allow_networks names it (127.0.0.0/8)"


def _host(url: str) -> str:
    """Return the host as the client will take it; empty where the address is none, which is told by itself."""
    try:
        return URL(url).host or ""
    except ValueError:
        return ""


def _judge(key: str, parse: Callable[[str], object], text: str) -> Iterator[str]:
    try:
        parse(text) if text else None
    except ValueError as error:
        yield f"{key}: {error}"


SIGNIN: Final = Kind(SignIn, _judge_signin)
