"""A lane that finds the bus more than a step ahead of its row writes down that the store was set back, and works on."""

from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection
from structlog.testing import capture_logs

from workers.bus.contract import Held, Lane, Record, Start
from workers.runtime import setback
from workers.runtime.database import Database, connect
from workers.runtime.lane import Distrust, Session, note


class Told(Lane):
    """A lane that says what the bus holds."""

    def __init__(self, n: int) -> None:
        self.index, self._note = 0, note(n)

    async def open(self) -> Start:
        return Start(next={}, note=self._note, gaps={})

    async def fetch(self, limit: int, wait: float) -> Sequence[Held]:
        raise NotImplementedError

    async def commit(self, next: Mapping[str, int], note: bytes, outputs: Sequence[Record] = ()) -> None:  # noqa: A002 - the seam
        raise NotImplementedError


@pytest.fixture
async def database(store_url: str) -> AsyncIterator[Database]:
    async with connect(store_url) as database:
        await database.create_all()
        yield database


async def opened(database: Database, n: int, distrust: Distrust | None = None) -> Session:
    session = Session(database, "g", 0, (), distrust=distrust)
    await session.open(Told(n), lambda act: act())
    return session


async def mark(database: Database) -> str | None:
    async with database.begin() as connection:
        return await setback.mark(connection)


async def test_steps_leave_no_mark_whether_or_not_the_last_was_committed(database: Database) -> None:
    session = await opened(database, 0)
    for n in (1, 2, 3):
        async with session.step():
            pass
        session.n = n
    await opened(database, 2)  # the third was never committed
    await opened(database, 3)  # it was, and its answer was lost
    assert await mark(database) is None


async def test_a_store_that_was_set_back_is_marked_told_once_and_goes_on(database: Database) -> None:
    await opened(database, 1)
    with capture_logs() as lines:
        session = await opened(database, 9)
        await opened(database, 9)
    assert [(line["event"], line["lane"], line["lost_steps"]) for line in lines] == [("store.set_back", 0, 8)]
    assert (session.n, await mark(database)) == (9, setback.FOUND)


async def test_a_copy_that_says_so_is_distrusted_where_the_bus_is_but_one_step_ahead(database: Database) -> None:
    doubted = list[int]()

    async def distrust(_connection: AsyncConnection, lane: int) -> None:
        doubted.append(lane)

    await opened(database, 1)
    await opened(database, 2, distrust)  # that step was committed, and its answer lost
    assert doubted == []
    await setback.restored(database)
    await opened(database, 2, distrust)
    assert (doubted, await mark(database)) == ([], setback.COPIED)
    with capture_logs() as lines:
        await opened(database, 3, distrust)
    assert (doubted, await mark(database), lines) == ([0], setback.COPIED, [])
    async with database.begin() as connection:
        await setback.advance(connection, setback.COPIED, "grants:")
    await opened(database, 4, distrust)
    assert (doubted, await mark(database)) == ([0, 0], setback.FOUND)


async def test_a_lane_found_later_lets_the_mending_begin_anew(database: Database) -> None:
    await setback.found(database, "g", 1, 9, 1)
    async with database.begin() as connection:
        assert await setback.advance(connection, setback.FOUND, "accounts:")
    await setback.found(database, "g", 2, 9, 1)
    async with database.begin() as connection:
        assert not await setback.advance(connection, "accounts:", None)
        assert await setback.advance(connection, setback.FOUND, None)
    assert await mark(database) is None
