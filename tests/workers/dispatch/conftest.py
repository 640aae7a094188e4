"""The house of tests/workers/dispatch/house.py on SQLite, and on Kafka with PostgreSQL."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import cast

import pytest

from schemas.topics import routed
from tests.workers.dispatch.house import USED, House
from workers.bus import kafka, sqlite
from workers.bus.contract import Bus
from workers.runtime.database import connect


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.postgres])])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    if request.param == "kafka":
        return request.getfixturevalue("kafka_url"), request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path}/bus.db", f"sqlite:///{tmp_path}/store.db"


@pytest.fixture
async def house(urls: tuple[str, str], namespace: str) -> AsyncIterator[House]:
    bus_url, store_url = urls
    used = (*USED, routed(f"{namespace}-motion"))  # a route's topic has the name that it is given
    if bus_url.startswith("kafka"):
        await kafka.apply(bus_url, namespace=namespace, topics=used, single_broker=True)
    engine = kafka.connect if bus_url.startswith("kafka") else sqlite.connect
    async with connect(store_url) as database:
        await database.create_all()
        yield House(lambda: cast("AbstractAsyncContextManager[Bus]", engine(bus_url, namespace=namespace, topics=used)), database)
