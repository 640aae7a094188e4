from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
from sqlalchemy import BigInteger, Column, Integer, MetaData, Row, Table, Text, select

from workers.bus.contract import Held, Lane, Record, Revoked, Start
from workers.runtime.database import Database, connect
from workers.runtime.lane import Session, lanes, note, noted

own = MetaData()
waiting = Table(
    "waiting",
    own,
    Column("word", Text, primary_key=True),
    Column("grp", Text),
    Column("lane", Integer),
    Column("n", BigInteger),
    Column("release_n", BigInteger),
)


class Told(Lane):
    """A lane that says what the bus holds."""

    def __init__(self, held: bytes) -> None:
        self.index, self._note = 0, held

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
        async with database.begin() as connection:
            await connection.run_sync(own.create_all)
        yield database


async def opened(database: Database, held: bytes = b"", group: str = "g", index: int = 0) -> Session:
    session = Session(database, group, index, (waiting,))
    await session.open(Told(held), lambda act: act())
    return session


async def put(session: Session, word: str, release_n: int | None = None) -> None:
    """Take one step that writes a row, and have the bus hold it."""
    async with session.step() as step:
        values = {"word": word, "grp": step.group, "lane": step.index, "n": step.n, "release_n": release_n}
        await step.connection.execute(waiting.insert().values(**values))
    session.n += 1


async def rows(database: Database) -> dict[str, Row[tuple[str, str, int, int, int]]]:
    async with database.read() as connection:
        return {row.word: row for row in await connection.execute(select(waiting))}


def test_the_note_counts_and_the_copy_only_where_it_is_wiped() -> None:
    assert noted(note(7)) == 7
    assert noted(b"") is None


async def test_an_opening_undoes_what_never_became_true_of_its_own_lane_alone(database: Database) -> None:
    for group, index in (("g", 0), ("g", 1), ("other", 0)):
        session = await opened(database, group=group, index=index)
        for number in (1, 2, 3):
            await put(session, f"{group}{index}.{number}")
    await opened(database, note(2))
    assert {*await rows(database)} == {"g0.1", "g0.2", "g1.1", "g1.2", "g1.3", "other0.1", "other0.2", "other0.3"}


async def test_releases_that_became_true_are_deleted_and_others_wait_on(database: Database) -> None:
    session = await opened(database)
    for word, release_n in (("kept", None), ("released", 4), ("marked", 5), ("last", None), ("undone", None)):
        await put(session, word, release_n)
    await opened(database, note(4))
    left = await rows(database)
    assert {word: row.release_n for word, row in left.items()} == {"kept": None, "marked": None, "last": None}


async def test_a_later_session_takes_the_lane_and_the_former_one_writes_nothing_more(database: Database) -> None:
    former = await opened(database)
    await put(former, "a")
    later = await opened(database, note(1))
    for act in (put(former, "b"), former.undo(), former.settle()):
        with pytest.raises(Revoked):
            await act
    await put(later, "c")
    assert {*await rows(database)} == {"a", "c"}


async def test_the_lanes_row_knows_the_last_step_once_the_session_has_settled(database: Database) -> None:
    session = await opened(database)
    await put(session, "a")
    await put(session, "b")
    await session.settle()
    async with database.read() as connection:
        assert [row.n for row in await connection.execute(select(lanes))] == [2]
    again = await opened(database, b"")  # an operator has wiped the note
    assert again.n == 2
    assert {*await rows(database)} == {"a", "b"}
