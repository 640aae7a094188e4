"""Bus and store by URL: one machine needs two files, many need Kafka and PostgreSQL."""

import asyncio
from collections.abc import Collection, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy import migrations, rights
from deploy.settings import Settings
from deploy.settings.parts import Common
from linker import reseal
from linker.sealed import Sealed
from linker.vault import Vault
from schemas.errors import Misconfigured, Unavailable
from schemas.topics import Topic
from workers.bus import kafka, sqlite
from workers.bus.contract import Bus, Stop
from workers.runtime import database, namespace
from workers.runtime.backoff import Backoff
from workers.runtime.database import Database, address
from workers.runtime.delay import Delay
from workers.runtime.sealing import Keyring
from workers.runtime.storefault import StoreRefused
from workers.runtime.supervise import wait_or_stop


def open_store(common: Common) -> AbstractAsyncContextManager[Database]:
    """Open the store."""
    return database.connect(common.store_url)


def own_store(common: Common) -> AbstractContextManager[None]:
    """Own the store's file until the end of the block, as the bus's is owned: Misconfigured names the process that does."""
    return sqlite.owned(Path(str(address(common.store_url).database)), "RINGHOOK_STORE_URL")


def open_beside(common: Common) -> AbstractAsyncContextManager[Database]:
    """Open one connection to the store that waits behind nobody else of this process."""
    return database.connect(common.store_url, connections=1)


def open_bus(common: Common, declared: Collection[Topic]) -> AbstractAsyncContextManager[Bus]:
    """Open the bus with these topics."""
    connect = kafka.connect if common.bus_url.startswith("kafka") else sqlite.connect
    return connect(common.bus_url, namespace=common.namespace, topics=declared)


def unshared(common: Common) -> bool:
    """Say whether this process is the only one: it holds the bus file's lock, and the store is a file beside it."""
    return common.bus_url.startswith("sqlite") and common.store_url.startswith("sqlite")


async def prepare(chosen: Settings) -> None:
    """Raise Misconfigured for a store or topics that do not fit, naming the command that mends them; `up` migrates by itself.

    Unavailable: store or bus did not answer, so that nothing can be said yet.
    """
    common = chosen.common
    with refusals():
        if chosen.role == "up":
            await migrate(common)
        else:
            await migrated(common)
            await _check_rights(chosen)
        if chosen.vault is not None:
            await _check_keys(common, chosen.vault.keys)
    await check_topics(chosen)


async def migrate(common: Common) -> None:
    """Bring the store's tables to this version; Misconfigured, with nothing changed, where they are not ours to change."""
    if (found := await migrations.version(common.store_url)) is not None:
        _check_known(found)
        await _check_namespace(common)
    await migrations.upgrade(common.store_url)
    await _check_namespace(common)


@contextmanager
def refusals() -> Iterator[None]:
    """Let a store that refuses us leave the block as Misconfigured: at the start waiting would not help."""
    try:
        yield
    except StoreRefused as error:
        raise Misconfigured(str(error)) from error


async def migrated(common: Common) -> None:
    """Raise Misconfigured, naming the command that mends it, where the store is not at this version, or of another namespace."""
    found = await migrations.version(common.store_url)
    if found is None:
        raise Misconfigured(
            f"{missing(common)} yet: run `ringhook migrate` (and on a new Kafka `ringhook topics apply`), then start again"
        )
    _check_known(found)
    if found != migrations.HEAD:
        raise Misconfigured("the store's tables are not those of this version: run `ringhook migrate`, then start again")
    await _check_namespace(common)


def missing(common: Common) -> str:
    """Return in words what a store lacks that stands at no migration: its tables, or itself."""
    place = database.absent(common.store_url)
    return f"there is no store at {place} (RINGHOOK_STORE_URL)" if place else "the store has no tables"


def _check_known(found: str) -> None:
    if not found or " " in found:
        raise Misconfigured(
            "the store's note of its version (the table alembic_version) was altered: it must hold one version; "
            "restore the store from a backup"
        )
    if migrations.unknown(found):
        raise Misconfigured(
            f"the store belongs to another (newer) version of ringhook: its tables are at {found!r}, "
            f"this version knows them up to {migrations.HEAD!r}; run that version, or one that is newer still"
        )


async def _check_rights(chosen: Settings) -> None:
    async with open_store(chosen.common) as store:
        await rights.check(store, chosen.common.namespace, chosen.role)


async def _check_keys(common: Common, keyring: Keyring) -> None:
    async with open_store(common) as store:
        await reseal.check(Sealed(store), Vault(keyring, common.namespace))


async def _check_namespace(common: Common) -> None:
    async with open_store(common) as store:
        await namespace.check(store, common.namespace)


@dataclass(frozen=True)
class Preparing:
    """A worker that prepares once, as soon as store and bus answer; Misconfigured then ends the process.

    `first` is a try that is under way.
    """

    chosen: Settings
    first: asyncio.Task[None] | None = None
    name: str = "preparing"

    async def run(self, stop: Stop) -> None:
        """Try until it can be said, or until `stop`."""
        backoff, delay, trying = Backoff(first=0.5, longest=10.0), Delay(), self.first
        while not stop.is_set():
            try:
                await (trying or prepare(self.chosen))
            except Unavailable as error:
                trying = None
                delay.waits("start.delayed", str(error))
                await wait_or_stop(stop, backoff.next())
            else:
                delay.goes_on("start.checked")
                await stop.wait()


async def check_topics(chosen: Settings) -> None:
    """Raise Misconfigured for topics of this role (its user may look at no others) that do not fit; on SQLite all do."""
    common = chosen.common
    if not common.bus_url.startswith("kafka"):
        return
    mine = [topic for topic in chosen.topics if chosen.role in ("up", *topic.writers, *topic.readers)]
    differences = await kafka.check(common.bus_url, namespace=common.namespace, topics=mine, single_broker=common.single_broker)
    if differences:
        lines = "\n".join(f"  {difference}" for difference in differences)
        raise Misconfigured(f"topics are missing or differ; `ringhook topics apply` mends what does not say otherwise:\n{lines}")
