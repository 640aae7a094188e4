"""From where a destination gets its events when it has committed nothing yet."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.bus.contract import Revoked
from workers.deliver.birth import Birth, always, begins
from workers.runtime import database
from workers.runtime.database import Database, StoreUnavailable, metadata
from workers.runtime.namespace import installation

NOW = datetime(2026, 2, 13, 13, 39, 57, 123456, tzinfo=UTC)


@pytest_asyncio.fixture
async def store(store_url: str) -> AsyncIterator[Database]:
    async with database.connect(store_url) as opened:
        async with opened.begin() as connection:
            await connection.run_sync(lambda sync: metadata.create_all(sync, tables=[installation]))
        yield opened


async def test_a_destination_keeps_the_moment_at_which_the_first_process_came_up_with_it(store: Database) -> None:
    stop = asyncio.Event()
    assert await Birth(store, "alerts", NOW)(stop) == NOW
    later = NOW + timedelta(days=3)
    assert await Birth(store, "alerts", later)(stop) == NOW
    assert await Birth(store, "others", later)(stop) == later


class Returning:
    """A store that is away twice before it answers."""

    def __init__(self, store: Database) -> None:
        self._store, self.asked = store, 0

    def begin(self) -> AbstractAsyncContextManager[AsyncConnection]:
        self.asked += 1
        if self.asked < 3:
            raise StoreUnavailable("away")
        return self._store.begin()


async def test_a_store_that_is_away_is_waited_for_until_the_stop(store: Database) -> None:
    away, stop = Returning(store), asyncio.Event()
    assert await Birth(away, "alerts", NOW)(stop) == NOW  # type: ignore[arg-type]
    assert away.asked == 3
    stop.set()
    with pytest.raises(Revoked):
        await Birth(store, "alerts", NOW)(stop)


async def test_from_is_the_first_event_or_a_time_with_its_offset() -> None:
    assert begins(None) is None
    assert begins("first") == await always("first")(asyncio.Event()) == "first"
    assert begins("2026-02-13T13:39:57.123456Z") == NOW
    with pytest.raises(ValueError, match="offset"):
        begins("2026-02-13")
