"""What a support bundle holds, and what it leaves out: every value that is not known to be harmless is masked. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import unquote, urlsplit

MASKED: Final = "(set, and left out)"
SHORTEST: Final = 6  # characters of a value that is looked for everywhere; shorter ones stand in words by chance
# Values that are no secret. What is not named here is left out, a name of tomorrow too.
SHOWN: Final = frozenset(
    f"RINGHOOK_{name}"
    for name in (
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
        "TRUSTED_PROXIES",
        "WAITING_PER_ACCOUNT",
        "WAITING_S",
        "WAITING_TOTAL",
    )
)
SCHEMES: Final = frozenset({"RINGHOOK_BUS_URL", "RINGHOOK_STORE_URL"})  # of these, how they begin
# Of ringhook.toml: what tells how it works, and nothing that leads anywhere or opens anything.
KEPT: Final = frozenset(
    {
        "name",
        "kind",
        "scopes",
        "topic",
        "filter",
        "key",
        "body",
        "batch",
        "concurrency",
        "timeout_s",
        "rate",
        "sign",
        "from",
        "allow_http",
        "deliver_unlinked",
    }
)


def values(given: Mapping[str, str]) -> dict[str, str]:
    """Return named values as they may be shown."""
    return {name: _shown(name, value) for name, value in sorted(given.items())}


def _shown(name: str, value: str) -> str:
    if name in SHOWN:
        return value
    return f"{urlsplit(value).scheme}://…" if name in SCHEMES else MASKED


def lists(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return ringhook.toml as it may be shown: which tables and keys there are, and the values that say how it works."""
    return {name: _table(value) for name, value in document.items()}


def _table(value: Any) -> Any:  # noqa: ANN401 - whatever TOML holds
    if isinstance(value, list):
        return [_table(one) for one in value]
    if isinstance(value, Mapping):
        return {name: inner if name in KEPT else MASKED for name, inner in value.items()}
    return MASKED


def secrets(given: Mapping[str, str]) -> list[str]:
    """Return the values that must stand nowhere, the longest first, parts of lists of keys too."""
    parts = (part for name, value in given.items() if name not in SHOWN for part in _parts(value))
    return sorted({part for part in parts if len(part) >= SHORTEST}, key=len, reverse=True)


def _parts(value: str) -> Iterator[str]:
    """Yield a value, the keys of a list of keys (`id:base64,id:base64`), and the password of a URL, as it stands and decoded."""
    yield value
    for key in value.split(","):
        yield from (key, key.partition(":")[2])
    if password := _password(value):
        yield from (password, unquote(password))


def _password(value: str) -> str | None:
    try:
        return urlsplit(value).password
    except ValueError:
        return None


def cleaned(text: str, hidden: Iterable[str]) -> str:
    """Return a text without these values, as they are and as JSON spells them."""
    for value in hidden:
        for spelt in {value, json.dumps(value)[1:-1]}:
            text = text.replace(spelt, "(masked)")
    return text
