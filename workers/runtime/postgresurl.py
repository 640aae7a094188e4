"""What can be told of a `postgresql://` URL before anybody connects: asyncpg tells it late, or takes it for something else."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "sslnegotiation": ("postgres", "direct"),
    "target_session_attrs": ("any", "primary", "standby", "read-write", "read-only", "prefer-standby"),
    "gsslib": ("gssapi", "sspi"),
}
FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
OTHERS: Final = (
    *("host", "port", "dbname", "database", "user", "password", "passfile", "service"),
    *("sslpassword", "ssl_min_protocol_version", "ssl_max_protocol_version", "krbsrvname"),
)
SETTINGS: Final = ("options", "role", "search_path")  # asyncpg hands what it does not know to the server; these make sense there
PARAMETERS: Final = (*CHOICES, *FILES, *OTHERS, *SETTINGS)
UNESCAPED: Final = (
    "a sign in the store's URL (in its password, most likely) must be written as %..: @ is %40, : is %3A, / is %2F, ? is %3F, "
    "# is %23, % is %25, [ is %5B, a space is %20"
)
_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|[\s#]")


def problems(url: str) -> Iterator[str]:
    """Yield in words, which show nothing of the URL, all that is wrong with it besides its port."""
    body = url.partition("://")[2]
    if _unescaped(body):
        yield UNESCAPED  # and nothing else: where its parts begin and end cannot be told
        return
    parts = urlsplit(url)
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    pieces = [piece.partition("=") for piece in parts.query.split("&") if parts.query]
    if not all(equals for _, equals, _ in pieces) or len(given) < len(pieces):
        yield "a parameter of the store's URL has no = or comes twice"
    if any(equals and not value for _, equals, value in pieces):
        yield "a parameter of the store's URL is empty"
    yield from _missing(parts.netloc.rpartition("@")[2], parts.path.strip("/"), given)
    yield from _unfit(given)


def _unescaped(body: str) -> bool:
    authority = re.split(r"[/?]", body, maxsplit=1)[0]
    credentials = authority.rpartition("@")[0]
    beyond = body[len(authority) :]
    return bool(_PERCENT.search(body)) or "@" in credentials + beyond or "[" in credentials or credentials.count(":") > 1


def _missing(host: str, database: str, given: Mapping[str, str]) -> Iterator[str]:
    if given.get("service"):
        return  # its file may hold them
    if not (host.partition(":")[0] or given.get("host")):
        yield "the store's URL names no host: postgresql://user:password@host/database (for a socket ?host=/run/postgresql)"
    if not (database or given.get("dbname") or given.get("database")):
        yield "the store's URL names no database: postgresql://user:password@host/database is meant"


def _unfit(given: Mapping[str, str]) -> Iterator[str]:
    if set(given) - set(PARAMETERS):  # not quoted: a password may hold a question mark
        yield f"the store's URL has a parameter that is not known; known are {', '.join(PARAMETERS)}"
    for name, allowed in CHOICES.items():
        if given.get(name) and given[name] not in allowed:
            yield f"{name} in the store's URL is one of {', '.join(allowed)}"
    for name in FILES:
        if given.get(name) and not Path(given[name]).is_file():
            yield f"the file that {name} in the store's URL names is not there"
