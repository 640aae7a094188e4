"""What the tables of `ringhook.toml` mean: tokens, destinations, and the secrets that they name."""

import ssl
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from hashlib import sha256
from typing import Final

import msgspec

from deploy.settings import values
from deploy.settings.certificates import read_tls
from deploy.settings.document import Document
from deploy.settings.problems import Problems
from deploy.settings.source import Reader
from deploy.settings.toml import Kind, Table, entries, tables, unlike
from ingress.settings import Token
from workers.deliver.destinations import Destination, problems
from workers.deliver.sign import DEFAULT
from workers.dispatch.route import Route
from workers.dispatch.route import problems as route_problems
from workers.runtime.clock import utc_now
from workers.runtime.secrets import Secret

_HEX: Final = frozenset("0123456789abcdef")


class Service(msgspec.Struct, frozen=True):
    """A destination with the one or two secrets that sign what it gets, the headers that only the environment knows, and TLS."""

    destination: Destination
    secrets: tuple[Secret, ...]
    headers: Mapping[str, Secret]
    tls: ssl.SSLContext | None  # None: as the system has it

    @property
    def name(self) -> str:
        """What the destination is called."""
        return self.destination.name

    @property
    def made_of(self) -> object:
        """What equals another's where nothing has changed; what certificate files hold counts as changed each time it is read."""
        headers = {name: value.reveal() for name, value in self.headers.items()}
        return self.destination, [secret.reveal() for secret in self.secrets], headers, self.tls


def read_destinations(document: Document, found: Problems, session_s: float) -> list[tuple[Destination, Table]]:
    """Read every destination; roles that deliver nothing still need the topics named after them.

    `session_s` is the bus's session timeout: a request must end before it.
    """
    kind = Kind(
        Destination, partial(problems, session_s=session_s, now=utc_now()), {"name": "x", "url": "https://x.example.com/"}
    )
    unlike(document, "destination", "name", found)
    return tables(document, "destination", kind, found)


def read_services(reader: Reader, document: Document, session_s: float) -> tuple[Service, ...]:
    """Read every destination and its secrets (deliver)."""
    given = entries(document, "destination")
    secrets = {entry.index: _secrets(reader, entry) for entry in given}
    headers = {entry.index: _headers(reader, entry) for entry in given}
    contexts = {entry.index: read_tls(reader, entry) for entry in given}
    whole = read_destinations(document, reader.problems, session_s)
    return tuple(
        Service(destination, secrets[entry.index], headers[entry.index], contexts[entry.index]) for destination, entry in whole
    )


def read_routes(document: Document, found: Problems, ours: Collection[str]) -> tuple[Route, ...]:
    """Read every route; `ours` are the broker's names of our own topics."""
    unlike(document, "route", "topic", found)
    whole = tables(document, "route", ROUTE, found)
    for route, entry in whole:
        if route.topic in ours:
            found.add(entry.where("topic"), "topic: is one of ringhook's own")
    return tuple(route for route, _ in whole)


def read_tokens(document: Document, found: Problems) -> tuple[Token, ...]:
    """Read who may call `/v1` (admin)."""
    unlike(document, "token", "name", found)
    unlike(document, "token", "sha256", found)
    return tuple(token for token, _ in tables(document, "token", TOKEN, found))


def _secrets(reader: Reader, entry: Table) -> tuple[Secret, ...]:
    scheme = entry.text("sign") or DEFAULT

    def parse(text: str) -> Secret:
        try:
            return values.signing_secret(text, scheme)
        except Exception as error:
            raise ValueError(f"destination {entry.text('name') or entry.index + 1}: {error}") from error

    found = [named(reader, entry, f"secret_env{which}", f"secret_file{which}", parse) for which in ("", "_next")]
    return tuple(value for value in found if value)


def _headers(reader: Reader, entry: Table) -> dict[str, Secret]:
    """Return the headers whose values stand in variables; a missing one is a problem."""
    given = entry.data.get("headers_env") if isinstance(entry.data, Mapping) else None
    named = given.items() if isinstance(given, Mapping) else ()
    found = {name: _valued(reader, entry, name, variable) for name, variable in named if isinstance(variable, str)}
    return {name: value for name, value in found.items() if value}


def _valued(reader: Reader, entry: Table, name: str, variable: str) -> Secret | None:
    where = entry.where("headers_env")
    absent = (where, f"headers_env: the variable named for {name} is neither in the environment nor in .env")
    reader.need(variable, absent, f"headers_env in {where} names it")
    return reader.optional(variable, values.header)


def named(reader: Reader, entry: Table, variable_key: str, file_key: str | None, parse: Callable[[str], Secret]) -> Secret | None:
    """Return the secret that a table names by variable or by path; a missing one is a problem.

    What the table says is not quoted: it may be the secret itself, pasted into the wrong place.
    """
    if file_key is not None and (path := entry.text(file_key)):
        try:
            return parse(reader.content(path))
        except ValueError as error:
            reader.problems.add(entry.where(file_key), f"{file_key}: {error}")
            return None
    if not (variable := entry.text(variable_key)):
        return None
    where = entry.where(variable_key)
    absent = (where, f"{variable_key}: the variable named here is neither in the environment nor in .env")
    reader.need(variable, absent, f"{variable_key} in {where} names it")
    return reader.optional(variable, parse)


def _judge_token(token: Token) -> Iterator[str]:
    if not token.name:
        yield "name: say whose token it is, for the log"
    if len(token.sha256) != sha256().digest_size * 2 or set(token.sha256.lower()) - _HEX:
        yield 'sha256: is not the SHA-256 of a token in hex: printf %s "$TOKEN" | sha256sum'
    if token.sha256.lower() == sha256().hexdigest():
        yield "sha256: is that of nothing: the variable with the token was empty when this was made"
    if not token.scopes:
        yield "scopes: name at least one; without any the token is good for nothing"


ROUTE: Final = Kind(Route, route_problems, {"topic": "x"})
TOKEN: Final = Kind(Token, _judge_token, {"name": "x", "sha256": "0" * 64, "scopes": ["read"]})
