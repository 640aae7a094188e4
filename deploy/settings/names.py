"""The names that mean something in `.env`: whoever misspells one must hear of it."""

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Final

from deploy.settings.problems import Problems
from deploy.settings.text import Value
from deploy.settings.toml import Document, entries

PREFIX: Final = "RINGHOOK_"
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
)
KNOWN: Final = frozenset(
    PREFIX + name for name in (*_OF_AN_APP, *(f"{name}_NEXT" for name in _OF_AN_APP), *_OTHERS)
)  # each also as …_FILE


def unknown(values: Mapping[str, Value], document: Document, problems: Problems) -> None:
    """Note names of `.env` that begin like ours and mean nothing; the environment may hold what others put there."""
    known = KNOWN | set(_mentioned(document))
    for name, value in values.items():
        bare = name.removesuffix("_FILE")
        if name.startswith(PREFIX) and value.where != "environment" and bare not in known:
            problems.add(value.where, f"{name} is not known{_nearest(bare, known)}")


def _mentioned(document: Document) -> Iterator[str]:
    """Yield the variables that the file names."""
    for table in ("signin", "destination"):
        found = document.data.get(table)
        for data in [found] if isinstance(found, Mapping) else [entry.data for entry in entries(document, table)]:
            if isinstance(data, Mapping):
                yield from (str(value) for key, value in data.items() if "_env" in key)


def _nearest(name: str, known: Collection[str]) -> str:
    found = get_close_matches(name, sorted(known), n=1, cutoff=0.75)
    return f"; {found[0]} is meant, perhaps" if found else ""
