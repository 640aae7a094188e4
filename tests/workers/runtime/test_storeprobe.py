import asyncio
import time
from datetime import UTC, datetime

import pytest

from deploy.local.postgres import Postgres
from workers.runtime.database import connect
from workers.runtime.storeprobe import DEADLINE_S, StoreProbe

NOW = datetime(2026, 2, 13, tzinfo=UTC)


async def test_the_probe_tells_from_memory_what_the_store_said_last(store_url: str) -> None:
    async with connect(store_url) as database:
        probe = StoreProbe(database)
        assert probe.away() == "the store has not been asked yet"
        await probe(NOW)
        assert probe.away() is None


@pytest.mark.postgres
async def test_a_store_that_is_away_or_says_nothing_is_told_in_time_and_so_is_its_return(
    postgres_server: Postgres, postgres_url: str
) -> None:
    async with connect(postgres_url) as database:
        probe = StoreProbe(database)
        await probe(NOW)
        await postgres_server.freeze()
        begun = time.monotonic()
        async with asyncio.timeout(60):
            await probe(NOW)
        assert time.monotonic() - begun < DEADLINE_S + 5
        assert probe.away() == "the store does not answer"
        await postgres_server.thaw()
        await probe(NOW)
        assert probe.away() is None
        await postgres_server.kill()
        await probe(NOW)
        assert str(probe.away()).startswith("the store ")
        await postgres_server.start()
        await probe(NOW)
        assert probe.away() is None
