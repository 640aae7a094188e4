"""The names that mean something in `.env` and the environment: whoever misspells one must hear of it."""

import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Final

from deploy.settings.document import Document
from deploy.settings.problems import Problems
from deploy.settings.source import ENVIRONMENT, Given, Reader
from deploy.settings.toml import entries

PREFIX: Final = "RINGHOOK_"
OF_TESTS: Final = ("RINGHOOK_TEST_", "RINGHOOK_CHAOS_")  # ours too, but of `make test`: exported in a shell they concern no role
_OF_AN_APP: Final = ("RING_CLIENT_ID", "RING_CLIENT_SECRET", "RING_HMAC_KEY", "EXCHANGE_SECRET")
_OTHERS: Final = (
    "BUS_URL",
    "CODE_PRIVATE_KEYS",
    "CODE_PUBLIC_KEY",
    "CONFIG",
    "COOKIE_KEYS",
    "DEV_PASSCODE",
    "HOMEPAGE_URL",
    "INGRESS_DEADLINE_S",
    "INGRESS_DRAIN_S",
    "INTERNAL_HOSTS",
    "INTERNAL_LISTEN",
    "INTERNAL_URL",
    "LOG_LEVEL",
    "METRICS_OPEN",
    "NAMESPACE",
    "PUBLIC_LISTEN",
    "PUBLIC_URL",
    "RING_API_URL",
    "RING_OAUTH_URL",
    "RING_RATE",
    "SINGLE_BROKER",
    "STORE_URL",
    "TOKEN",
    "TRUSTED_PROXIES",
    "VAULT_KEYS",
    "WAITING_PER_ACCOUNT",
    "WAITING_S",
    "WAITING_TOTAL",
)
KNOWN: Final = frozenset(
    PREFIX + name for name in (*_OF_AN_APP, *(f"{name}_NEXT" for name in _OF_AN_APP), *_OTHERS)
)  # each also as …_FILE
_LINK: Final = re.compile(r"(_SERVICE_HOST|_SERVICE_PORT(_[A-Z0-9_]+)?|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$")
_LINK_URL: Final = re.compile(r"(tcp|udp|sctp)://")


def unknown(given: Given, document: Document, problems: Problems) -> None:
    """Note names that begin like ours and mean nothing, in `.env` and in the environment."""
    known = KNOWN | set(_mentioned(document))
    places = {**given.empty, **{name: value.where for name, value in given.values.items()}}
    for name, where in places.items():
        bare = name.removesuffix("_FILE")
        meant = bool({name, bare} & known) or document.may_mention(bare)
        if name.startswith(PREFIX) and not meant and not (where == ENVIRONMENT and _linked(name, given)):
            problems.add(where, f"{name} is not a name that ringhook knows{_nearest(name, bare, known)}")


def mounted(reader: Reader, given: Given, document: Document, *, whole: bool) -> None:
    """Note what is wrong with `…_FILE` of names that this role has not read; only with the `whole` house are all files here."""
    for name in sorted(KNOWN | set(_mentioned(document))):
        if f"{name}_FILE" in given.values and (whole or name in given.values):
            reader.raw(name)


def _linked(name: str, given: Given) -> bool:
    """Say whether Kubernetes set this for a service called ringhook or ringhook-…: nobody here chose it, nobody can mend it.

    Source: kubernetes.io/docs/concepts/services-networking/service, "Environment variables".
    """
    value = given.values.get(name)
    url = name.endswith("_PORT") and value is not None and _LINK_URL.match(value.text)
    return bool(url or _LINK.search(name))


def _mentioned(document: Document) -> Iterator[str]:
    """Yield the variables that the file names."""
    for table in ("signin", "destination"):
        found = document.data.get(table)
        for data in [found] if isinstance(found, Mapping) else [entry.data for entry in entries(document, table)]:
            if isinstance(data, Mapping):
                yield from (str(value) for key, value in data.items() if "_env" in key)


def _nearest(name: str, bare: str, known: Collection[str]) -> str:
    """Return a question about the known name most like this one; what all have in common makes none alike."""
    rest = {each.removeprefix(PREFIX): each for each in sorted(known)}
    found = get_close_matches(bare.removeprefix(PREFIX), rest, n=1, cutoff=0.65)
    return f"; did you mean {rest[found[0]]}{name.removeprefix(bare)}?" if found else ""
