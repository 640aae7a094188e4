import asyncio
import gc
import random
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from workers.runtime import database
from workers.runtime.database import Database

CREATE = text("create table thing (id integer primary key, what text)")
INSERT = text("insert into thing (what) values ('x') returning id")


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nothing is given back by the collector's grace."""
    gc.disable()
    yield
    gc.enable()


async def write(store: Database) -> None:
    async with store.begin() as connection:
        (await connection.execute(INSERT)).all()
        await connection.execute(text("select count(*) from thing"))


@pytest.mark.usefixtures("uncollected")
async def test_a_writer_that_is_cancelled_anywhere_keeps_nobody_else_from_writing(sqlite_url: str) -> None:
    async with database.connect(sqlite_url) as store:
        async with store.begin() as connection:
            await connection.execute(CREATE)
        for _ in range(150):
            writers = [asyncio.create_task(write(store)) for _ in range(4)]
            await asyncio.sleep(random.uniform(0, 0.006))  # noqa: S311 - where it is cut is nobody's secret
            for writer in writers:
                writer.cancel()
            await asyncio.gather(*writers, return_exceptions=True)
            async with asyncio.timeout(10):
                await write(store)
