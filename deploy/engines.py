"""Bus and store by URL: one machine needs two files, many need Kafka and PostgreSQL."""

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from deploy import migrations
from deploy.settings import Settings
from deploy.settings.parts import Common
from schemas import topics
from schemas.errors import Misconfigured
from workers.bus import kafka, sqlite
from workers.bus.contract import Bus
from workers.runtime import database, namespace
from workers.runtime.database import Database


def open_store(common: Common) -> AbstractAsyncContextManager[Database]:
    """Open the store."""
    return database.connect(common.store_url)


def open_bus(common: Common, destinations: Collection[str]) -> AbstractAsyncContextManager[Bus]:
    """Open the bus with every topic that these destinations need."""
    engine = kafka if common.bus_url.startswith("kafka") else sqlite
    return engine.connect(common.bus_url, namespace=common.namespace, topics=topics.declared(destinations))


async def prepare(chosen: Settings) -> None:
    """Refuse to start on a store or topics that do not fit, naming the command that mends them; `up` migrates by itself."""
    common = chosen.common
    if chosen.role == "up":
        await migrations.upgrade(common.store_url)
    elif await migrations.behind(common.store_url):
        raise Misconfigured("the store's tables are not those of this version: run `ringhook migrate`, then start again")
    async with open_store(common) as store:
        await namespace.check(store, common.namespace)
    if common.bus_url.startswith("kafka"):
        await _check_topics(common, chosen.destinations)
    elif chosen.role != "up":
        raise Misconfigured(
            f"RINGHOOK_BUS_URL is {common.bus_url}, a file that one process owns: run `ringhook up`, "
            "or give the roles a Kafka (kafka://host:9092) and a PostgreSQL to share"
        )


async def _check_topics(common: Common, destinations: Collection[str]) -> None:
    declared = topics.declared(destinations)
    differences = await kafka.check(
        common.bus_url, namespace=common.namespace, topics=declared, single_broker=common.single_broker
    )
    if differences:
        lines = "\n".join(f"  {difference}" for difference in differences)
        raise Misconfigured(f"topics are missing or differ; `ringhook topics apply` mends what can be mended:\n{lines}")


def sqlite_path(url: str) -> Path:
    """Return the file that a sqlite URL names."""
    return Path(url.removeprefix("sqlite:///"))
