"""What is wrong only together: two values that are sound by themselves and cannot both be meant."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from deploy.settings.parts import HMAC_KEY, NEXT, Common, Edge, Vault
from deploy.settings.source import Reader
from schemas.errors import Rejected
from workers.bus.sqlite.place import parse as sqlite_place
from workers.runtime.database import address

EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 -- compared, not bound
CREDENTIALS: Final = ("RINGHOOK_RING_CLIENT_ID", "RINGHOOK_RING_CLIENT_SECRET", "RINGHOOK_RING_HMAC_KEY")
EXCHANGE_SECRET: Final = "RINGHOOK_EXCHANGE_SECRET"  # noqa: S105 - a variable's name
MANY: Final = frozenset({"ingress", "linker", "dispatch", "deliver", "admin"})  # each a process of its own
BUS_URL: Final = "RINGHOOK_BUS_URL"
STORE_URL: Final = "RINGHOOK_STORE_URL"
RING_RATE: Final = 100  # requests a second that Ring allows each client id
ONE_OWNER: Final = (
    "a bus in a file belongs to one process: run `ringhook up`, "
    "or give the roles a Kafka (kafka://host:9092) and a PostgreSQL that all of them share"
)
NOT_BESIDE_KAFKA: Final = (
    "beside a Kafka (RINGHOOK_BUS_URL) the store must be a PostgreSQL (postgresql://user:password@host/db), not a file: whoever "
    "else reads that Kafka would not know what was done here, and events would come twice. Or leave RINGHOOK_BUS_URL out: "
    "`ringhook up` then needs two files and no Kafka"
)
Finding = tuple[tuple[str, ...], str]  # the names that must be sound, of which the first one set gives the place; and the words


def check(reader: Reader, role: str, common: Common, edge: Edge | None, vault: Vault | None) -> None:
    """Note every contradiction between values that are sound."""
    findings = [*_one_file(common), *_one_app(reader)]
    if edge is not None:
        findings += [*_one_address(common, edge), *_one_path(reader), *_no_app(reader)]
    if vault is not None:
        findings += [*_half_an_app(reader), *_too_fast(vault)]
    for names, words in findings:
        if reader.sound(*names):
            reader.problems.add(reader.place(*names), words)
    if edge is not None and vault is not None:
        _key_pair(reader, edge, vault)
    _unshared(reader, role)


def _one_file(common: Common) -> Iterator[Finding]:
    if common.bus_url.startswith("sqlite") and common.store_url.startswith("sqlite"):
        bus, store = sqlite_place(common.bus_url).path, Path(address(common.store_url).database or "")
        if bus.resolve() == store.resolve():
            names = ("RINGHOOK_STORE_URL", "RINGHOOK_BUS_URL")
            yield names, f"{' and '.join(names)} name one file: each needs its own"


def _unshared(reader: Reader, role: str) -> None:
    """Note what several processes would need, and one owns; a URL's beginning says what is meant, whatever is wrong behind it."""
    bus, store = _scheme(reader, BUS_URL), _scheme(reader, STORE_URL)
    if bus == "sqlite" and role in MANY:
        reader.problems.add(reader.place(BUS_URL), f"{BUS_URL}: {ONE_OWNER}")
    elif store == "sqlite" and role != "topics" and (bus == "kafka" or (bus and role in MANY)):  # topics looks at no store
        reader.problems.add(reader.place(STORE_URL, BUS_URL), f"{STORE_URL}: {NOT_BESIDE_KAFKA}")


def _scheme(reader: Reader, name: str) -> str:
    """Return how a URL begins, by default as a file's does; nothing where the value cannot be read, which is told already."""
    if not reader.has(name):
        return "" if reader.hidden(name) else "sqlite"
    value = reader.raw(name)
    return value.text.partition(":")[0] if value else ""


def _one_address(common: Common, edge: Edge) -> Iterator[Finding]:
    (host, port), (other, other_port) = edge.listen, common.internal_listen
    if port and port == other_port and (host == other or {host, other} & set(EVERYWHERE)):
        names = ("RINGHOOK_PUBLIC_LISTEN", "RINGHOOK_INTERNAL_LISTEN")
        yield names, f"{' and '.join(names)} are one address: the internal port needs its own"


def _one_app(reader: Reader) -> Iterator[Finding]:
    """Find one key said twice: an app is known by its key, so the second app would be the first."""
    names = (HMAC_KEY + NEXT, HMAC_KEY)
    if _alike(reader, names):
        yield names, f"{' and '.join(names)} are the same: a second app has a key of its own, by which its webhooks are known"


def _no_app(reader: Reader) -> Iterator[Finding]:
    """Find a path for codes of an app that has no key here."""
    name, key = EXCHANGE_SECRET + NEXT, HMAC_KEY + NEXT
    if reader.has(name) and not (reader.has(key) or reader.hidden(key)):
        yield (name,), f"{name} without {key}: the second app is known by its key"


def _alike(reader: Reader, names: tuple[str, ...]) -> bool:
    values = [value.text for name in names if reader.has(name) and (value := reader.raw(name))]
    return len(set(values)) < len(values)


def _one_path(reader: Reader) -> Iterator[Finding]:
    names = (EXCHANGE_SECRET + NEXT, EXCHANGE_SECRET)
    if _alike(reader, names):
        yield names, f"{' and '.join(names)} are the same: the path says for which app a code came"


def _half_an_app(reader: Reader) -> Iterator[Finding]:
    """Of the second app (the first one's are required): all of its credentials or none."""
    names = [name + NEXT for name in CREDENTIALS]
    given = [name for name in names if reader.has(name)]
    for name in names if given else ():
        if not (reader.has(name) or reader.hidden(name)):
            yield (*given,), f"{' and '.join(given)} without {name}: a second app needs all three"


def _too_fast(vault: Vault) -> Iterator[Finding]:
    """Hold to Ring's limit; plain http leads to this machine alone, where a simulated Ring may allow any."""
    if vault.rate > RING_RATE and (vault.api_url.startswith("https") or vault.oauth_url.startswith("https")):
        yield ("RINGHOOK_RING_RATE",), f"RINGHOOK_RING_RATE: must be at most {RING_RATE} requests a second, Ring's own limit"


def _key_pair(reader: Reader, edge: Edge, vault: Vault) -> None:
    names = ("RINGHOOK_CODE_PUBLIC_KEY", "RINGHOOK_CODE_PRIVATE_KEYS")
    if not reader.sound(*names):
        return
    try:
        vault.opener.open(edge.sealer.seal(b""))
    except Rejected:
        reader.problems.add(reader.place(*names), f"{names[1]} cannot open what {names[0]} seals: they are no pair")
