"""`kafka://[user:password@]host:port[,host:port]?security_protocol=SASL_SSL&…` as what aiokafka asks for."""

import os
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

from schemas.errors import Misconfigured
from schemas.hosts import is_host

PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
PARAMETERS: Final = (
    "security_protocol",
    "sasl_mechanism",
    "sasl_username",
    "sasl_password",
    "cafile",
    "certfile",
    "keyfile",
    "session_timeout_s",
)
DEFAULT_PORT: Final = 9092
HIGHEST_PORT: Final = 65_535
LONGEST: Final = 1_800.0  # seconds: a broker's own limit, group.max.session.timeout.ms
_HOST: Final = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.%]+\])(?::([0-9]{1,5}))?")
SESSION_TIMEOUT: Final = 20.0  # above a delivery's timeout + 5 s; a member killed without a word is missed after this long


class Address(msgspec.Struct, frozen=True):
    """Where Kafka is and how to be let in; neither repr nor str shows a password."""

    servers: tuple[str, ...]
    security_protocol: str = "PLAINTEXT"
    mechanism: str = "PLAIN"
    username: str | None = None
    password: str | None = None
    cafile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    session_timeout: float = SESSION_TIMEOUT  # seconds

    def __repr__(self) -> str:
        """Show who and where, never the password."""
        return f"kafka://{self.username + ':***@' if self.username else ''}{','.join(self.servers)}"

    __str__ = __repr__

    def options(self) -> dict[str, Any]:
        """Return the keyword arguments that every aiokafka client takes; files of certificates are read here."""
        return {
            "bootstrap_servers": list(self.servers),
            "security_protocol": self.security_protocol,
            "ssl_context": _context(self) if self.security_protocol.endswith("SSL") else None,
            "sasl_mechanism": self.mechanism,
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password,
        }


def parse(url: str) -> Address:
    """Return the address that a `kafka://` URL names; Misconfigured says all that is wrong and shows no password."""
    try:
        parts = urlsplit(url)
    except ValueError:  # its words would show the password
        raise Misconfigured("the Kafka URL cannot be read: kafka://host:9092 is meant") from None
    if parts.scheme != "kafka":
        raise Misconfigured("a Kafka URL begins with kafka://")
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    pairs, servers = parse_qsl(parts.query, keep_blank_values=True), [host for host in hosts.split(",") if host]
    given = dict(pairs)
    wrong = [
        *_wrong_hosts(servers),
        *_wrong_end(parts),
        *_wrong_parameters(pairs),
        *_wrong_user(username, password, given),
        *_wrong_files(given),
    ]
    if wrong:
        raise Misconfigured("; ".join(wrong))
    return Address(
        servers=tuple(filter(None, map(_server, servers))),
        security_protocol=_protocol(given),
        mechanism=given.get("sasl_mechanism", MECHANISMS[0]),
        username=given.get("sasl_username") or unquote(username) or None,
        password=given.get("sasl_password") or unquote(password) or None,
        cafile=given.get("cafile"),
        certfile=given.get("certfile"),
        keyfile=given.get("keyfile"),
        session_timeout=float(given.get("session_timeout_s", SESSION_TIMEOUT)),
    )


def _wrong_hosts(servers: Sequence[str]) -> Iterator[str]:
    if not servers:
        yield "the Kafka URL names no host"
    if not all(_server(host) for host in servers):
        yield "the hosts of the Kafka URL are host:port,host:port ([::1]:port for an IPv6 address)"


def _wrong_end(parts: SplitResult) -> Iterator[str]:
    if parts.path.strip("/") or parts.fragment:
        yield "the Kafka URL has something behind its hosts that means nothing: kafka://host:9092?name=value is meant"


def _wrong_parameters(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    given = dict(pairs)
    if len(pairs) > len(given):
        yield "a parameter of the Kafka URL stands there twice: keep one"
    if set(given) - set(PARAMETERS):  # not quoted: a password may hold a question mark
        yield f"the Kafka URL has a parameter that is not known; known are {', '.join(PARAMETERS)}"
    for name, allowed in (("security_protocol", PROTOCOLS), ("sasl_mechanism", MECHANISMS)):
        if given.get(name, allowed[0]) not in allowed:
            yield f"{name} in the Kafka URL is one of {', '.join(allowed)}"
    if not 0 < _seconds(given.get("session_timeout_s", SESSION_TIMEOUT)) < LONGEST:
        yield f"session_timeout_s in the Kafka URL is a number of seconds, above 0 and under {LONGEST:g}"


def _wrong_user(username: str, password: str, given: Mapping[str, str]) -> Iterator[str]:
    shown = _shown(given)
    named, secret = username or given.get("sasl_username"), password or given.get("sasl_password")
    if named and not shown:
        yield "the Kafka URL names a user, whom only security_protocol=SASL_SSL or SASL_PLAINTEXT shows to the broker"
    if (username and "sasl_username" in given) or (password and "sasl_password" in given):
        yield "the Kafka URL names its user or password twice, before the hosts and as a parameter: keep one"
    if "sasl_mechanism" in given and not shown:
        yield "sasl_mechanism in the Kafka URL is of use only with security_protocol=SASL_SSL or SASL_PLAINTEXT"
    if _protocol(given).startswith("SASL") and not (named and secret):
        yield f"security_protocol={_protocol(given)} in the Kafka URL needs a user and a password: kafka://user:password@host:9092?…"


def _wrong_files(given: Mapping[str, str]) -> Iterator[str]:
    if "keyfile" in given and "certfile" not in given:
        yield "keyfile in the Kafka URL is of use only with the certfile that it belongs to"
    for name in ("cafile", "certfile", "keyfile"):
        if name in given and not os.access(given[name], os.R_OK):
            yield f"the certificate file of {name} in the Kafka URL cannot be read"
        if name in given and _protocol(given).endswith("PLAINTEXT"):
            yield f"{name} in the Kafka URL is of use only with security_protocol=SSL or SASL_SSL"


def _protocol(given: Mapping[str, str]) -> str:
    return given.get("security_protocol", PROTOCOLS[0])


def _shown(given: Mapping[str, str]) -> bool:
    """Say whether a user is shown to the broker, or may be: what is no protocol is told of by itself."""
    return _protocol(given) not in ("PLAINTEXT", "SSL")


def _server(text: str) -> str | None:
    found = _HOST.fullmatch(text)
    if found is None or not is_host(found[1]) or not 0 < int(found[2] or DEFAULT_PORT) <= HIGHEST_PORT:
        return None
    return f"{found[1]}:{found[2] or DEFAULT_PORT}"


def _seconds(text: str | float) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _context(address: Address) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=address.cafile)
        if address.certfile:
            context.load_cert_chain(address.certfile, address.keyfile)
    except OSError as error:
        raise Misconfigured(
            f"a certificate file of the Kafka URL cannot be read: {error.strerror or type(error).__name__}"
        ) from error
    return context
