"""What a session leaves for the lane's next owner, on both engines of the store."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from workers.deliver import untold
from workers.deliver.finished import BOUND, Known, Untold
from workers.deliver.policy import Bury, Cancel, Decision, Done
from workers.runtime.database import Database, connect

NOW = datetime(2026, 2, 13, 14, tzinfo=UTC)
TAKEN = datetime(2026, 2, 13, 13, 59, 59, 123456, tzinfo=UTC)
THERE = Known(5, 2)


@pytest.fixture
async def database(store_url: str) -> AsyncIterator[Database]:
    async with connect(store_url) as database:
        await database.create_all()
        yield database


def event(offset: int, decision: Decision = Done(), known: Known = THERE) -> Untold:  # noqa: B008 - it is frozen
    return Untold(offset, TAKEN, decision, known)


async def noted(database: Database, *events: Untold, lane: int = 0, now: datetime = NOW) -> None:
    async with database.begin() as connection:
        await untold.note(connection, "deliver.sink", lane, events, now)


async def recalled(
    database: Database, found: Known = THERE, *, lane: int = 0, now: datetime = NOW, rows: bool = True
) -> Sequence[Untold]:
    async with database.begin() as connection:
        return await untold.recall(connection, "deliver.sink", lane, found, now, rows=rows)


async def test_it_comes_back_as_it_was_and_only_to_its_lane(database: Database) -> None:
    decisions = (Done(), Cancel(), Bury("refused"), Bury("not_an_event"))
    events = [event(offset, decision) for offset, decision in enumerate(decisions)]
    await noted(database, *events, event(9, known=Known(0, None)))
    assert sorted(await recalled(database), key=lambda one: one.offset) == [*events, event(9, known=Known(0, None))]
    assert await recalled(database, lane=1) == []


async def test_what_is_noted_again_stands_once(database: Database) -> None:
    await noted(database, event(1))
    await noted(database, event(1, Cancel()))
    assert await recalled(database) == [event(1, Cancel())]


@pytest.mark.parametrize("found", [Known(4, 2), Known(6, None)])
async def test_an_operator_who_moves_the_position_wants_all_of_it_again(database: Database, found: Known) -> None:
    await noted(database, event(7), event(8, known=Known(3, 1)))
    assert await recalled(database, found) == []
    assert await recalled(database, Known(9, 3)) == []  # nor later, once that position is passed


async def test_it_is_forgotten_once_the_log_has_none_of_it_and_never_grows_without_bound(database: Database) -> None:
    await noted(database, event(1))
    await noted(database, event(2), now=NOW + timedelta(days=1))
    assert [one.offset for one in await recalled(database, now=NOW + untold.KEPT)] == [2]
    await noted(database, *map(event, range(10, 10 + BOUND)), now=NOW + timedelta(days=2))
    await noted(database, *map(event, range(10 + BOUND, 110 + BOUND)), now=NOW + timedelta(days=3))
    for _ in range(2):
        kept = [one.offset for one in await recalled(database, now=NOW + timedelta(days=3))]
        assert kept == [*range(109 + BOUND, 109, -1)]
    async with database.read() as connection:
        assert len((await connection.execute(untold.untold.select())).all()) == BOUND


async def test_what_the_bus_knows_by_now_is_forgotten_unless_it_may_wait_in_rows(database: Database) -> None:
    await noted(database, *map(event, range(5, 9)))
    for rows, left in ((True, {5, 6, 7, 8}), (False, {7, 8}), (True, {7, 8})):
        assert {one.offset for one in await recalled(database, Known(7, 3), rows=rows)} == left
