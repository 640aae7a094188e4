import asyncio
import errno
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from sqlalchemy import Column, Double, Integer, MetaData, Table, Text, bindparam, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.errors import Misconfigured, Rejected
from workers.runtime import database as database_module
from workers.runtime import lease, rows
from workers.runtime.database import Database, OutcomeUnknown, StoreBroken, StoreUnavailable, connect
from workers.runtime.storefault import translated

thing = Table(
    "thing",
    MetaData(),
    Column("id", Text, primary_key=True),
    Column("value", Integer),
    Column("lease_owner", Text),
    Column("lease_until", Double),
)


@pytest.fixture
async def database(store_url: str) -> AsyncIterator[Database]:
    async with connect(store_url) as database:
        async with database.begin() as connection:
            await connection.run_sync(thing.create)
            await rows.insert_ignore(connection, thing, [{"id": "a", "value": 1}, {"id": "b", "value": 2}])
        yield database


async def values(database: Database) -> dict[str, int]:
    async with database.read() as connection:
        return {row.id: row.value for row in await connection.execute(select(thing))}


async def test_what_a_block_wrote_stands_once_it_ends(database: Database) -> None:
    assert await values(database) == {"a": 1, "b": 2}


async def test_a_block_that_raises_leaves_no_trace(database: Database) -> None:
    async def write() -> None:
        async with database.begin() as connection:
            await rows.upsert(connection, thing, [{"id": "a", "value": 9}])
            raise Rejected

    with pytest.raises(Rejected):
        await write()
    assert await values(database) == {"a": 1, "b": 2}


async def test_a_cancelled_block_leaves_no_trace_and_the_next_one_works(database: Database) -> None:
    inside = asyncio.Event()

    async def write() -> None:
        async with database.begin() as connection:
            await rows.upsert(connection, thing, [{"id": "a", "value": 9}])
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await inside.wait()
    task.cancel()
    await asyncio.wait([task])
    async with database.begin() as connection:
        await rows.upsert(connection, thing, [{"id": "b", "value": 3}])
    assert await values(database) == {"a": 1, "b": 3}


async def test_readers_do_not_wait_for_a_writer_and_do_not_see_what_it_has_not_committed(database: Database) -> None:
    async with asyncio.timeout(4.5), database.begin() as connection:
        await rows.upsert(connection, thing, [{"id": "a", "value": 9}])
        assert (await values(database))["a"] == 1


async def test_forty_writers_all_get_their_turn(database: Database) -> None:
    async def add() -> None:
        async with database.begin() as connection:
            await connection.execute(thing.update().where(thing.c.id == "a").values(value=thing.c.value + 1))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(40):
            tasks.create_task(add())
    assert (await values(database))["a"] == 41


async def test_inserting_what_is_there_changes_nothing(database: Database) -> None:
    async with database.begin() as connection:
        await rows.insert_ignore(connection, thing, [{"id": "a", "value": 7}, {"id": "c", "value": 3}])
        assert not await rows.insert_once(connection, thing, {"id": "c", "value": 4})
        assert await rows.insert_once(connection, thing, {"id": "d", "value": 4})
    assert await values(database) == {"a": 1, "b": 2, "c": 3, "d": 4}


async def test_only_the_first_of_two_swaps_from_the_same_state_happens(database: Database) -> None:
    async with database.begin() as connection:
        assert await rows.compare_and_swap(connection, thing, {"id": "a", "value": 1, "lease_owner": None}, {"value": 5})
        assert not await rows.compare_and_swap(connection, thing, {"id": "a", "value": 1}, {"value": 6})
    assert (await values(database))["a"] == 5


async def test_any_number_of_values_can_be_asked_for_at_once(database: Database) -> None:
    async with database.read() as connection:
        for wanted in ([], ["a"], ["a", "b", "it's", '"quoted"', "é"]):
            statement = select(thing.c.id).where(rows.among(connection.dialect.name, thing.c.id, "wanted"))
            found = await connection.scalars(statement, rows.lists(connection, wanted=wanted))
            assert {*found} == {"a", "b"} & {*wanted}


async def test_a_list_of_texts_is_a_table_of_the_same_texts(database: Database) -> None:
    odd = ["x", "it's", '"q" \\ [1]', "é\u2028"]
    async with database.read() as connection:
        table = select(rows.listed(connection.dialect.name, "left", "right"))
        found = await connection.execute(table, rows.lists(connection, left=odd, right=odd[::-1]))
        assert [tuple(row) for row in found] == [*zip(odd, odd[::-1], strict=True)]


full = lease.taking(thing, thing.c.value > 0, order=thing.c.value.desc())
one = lease.taking(thing, thing.c.id == bindparam("wanted"))


async def test_a_lease_is_given_to_one_owner_at_a_time_and_ends(database: Database) -> None:
    async with database.begin() as connection:
        mine = await lease.take(connection, full, {}, owner="me", length=60, limit=9)
        assert [row.id for row in mine.rows] in (["b", "a"], ["a", "b"])
        assert not (await lease.take(connection, full, {}, owner="you", length=60)).rows
        assert await lease.reclaim(connection, thing) == len(mine.rows)
        assert (await lease.take(connection, one, {"wanted": "a"}, owner="you", length=-1)).rows[0].id == "a"
        assert (await lease.take(connection, one, {"wanted": "a"}, owner="me", length=60)).rows[0].id == "a"


def test_a_lease_covers_only_acts_that_end_within_it() -> None:
    held = lease.Lease("me", 100.0, ())
    assert held.covers(9.9, 90.0)
    assert not held.covers(10.0, 90.0)


async def test_two_workers_never_lease_the_same_row(database: Database) -> None:
    async def take(owner: str) -> list[str]:
        async with database.begin() as connection:
            return [row.id for row in (await lease.take(connection, full, {}, owner=owner, length=60)).rows]

    taken = await asyncio.gather(*(take(str(number)) for number in range(4)))
    assert sorted(taken) == [[], [], ["a"], ["b"]]


async def test_the_stores_clock_is_ours_on_one_machine(database: Database) -> None:
    async with database.read() as connection:
        now = await connection.scalar(select(lease.store_time()))
    assert isinstance(now, float)
    assert 1_700_000_000 < now < 5_000_000_000


async def test_a_bug_is_not_taken_for_trouble_of_the_store(database: Database) -> None:
    with pytest.raises(IntegrityError):
        async with database.begin() as connection:
            await connection.execute(thing.insert().values(id="a"))
    with pytest.raises(DBAPIError):
        async with database.begin() as connection:
            await connection.execute(text("select nonsense from nowhere"))


async def test_what_fails_never_prints_its_parameters(database: Database) -> None:
    with pytest.raises(IntegrityError) as caught:
        async with database.begin() as connection:
            await connection.execute(thing.insert(), [{"id": "canary-7", "value": 1}, {"id": "a", "value": 1}])
    assert "canary-7" not in str(caught.value)


async def test_sqlite_commits_are_on_the_disk_in_a_file_of_our_own(tmp_path: Path) -> None:
    async with connect(f"sqlite:///{tmp_path}/deep/store.db") as database, database.begin() as connection:
        asked = {
            name: await connection.scalar(text(f"pragma {name}")) for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert asked == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}
    assert stat.S_IMODE((tmp_path / "deep/store.db").stat().st_mode) == 0o600


@pytest.mark.postgres
async def test_postgresql_commits_are_on_its_disk_before_they_are_answered(postgres_url: str) -> None:
    async with connect(postgres_url) as database, database.begin() as connection:
        assert await connection.scalar(text("show synchronous_commit")) == "on"


async def test_a_damaged_file_is_the_end_of_the_process(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"not a database" * 1000)
    async with connect(f"sqlite:///{tmp_path}/store.db") as database:
        with pytest.raises(StoreBroken):
            await database.create_all()


async def test_a_file_that_is_gone_is_the_end_of_the_process(tmp_path: Path) -> None:
    async def write() -> None:
        async with database.begin() as connection:
            await connection.execute(text("create table if not exists t (a)"))

    async with connect(f"sqlite:///{tmp_path}/store.db") as database:
        await write()
        await asyncio.to_thread((tmp_path / "store.db").unlink)
        with pytest.raises(StoreBroken, match=r"store\.db was removed or replaced while it was in use"):
            await write()


async def test_a_file_that_another_process_writes_to_is_unavailable_not_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "PATIENCE", 0.3)
    url = f"sqlite:///{tmp_path}/store.db"
    async with connect(url) as database:
        await database.create_all()
    holder = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    try:
        holder.execute("begin immediate")
        async with connect(url) as database:
            with pytest.raises(StoreUnavailable):
                async with database.begin():
                    raise AssertionError
            holder.execute("commit")
            async with database.begin() as connection:
                assert await connection.scalar(select(1)) == 1
    finally:
        holder.close()


async def test_a_store_that_is_not_there_is_unavailable(unused_tcp_port: int) -> None:
    async with connect(f"postgresql://u:canary@127.0.0.1:{unused_tcp_port}/x") as database:
        with pytest.raises(StoreUnavailable) as caught:
            async with database.begin():
                raise AssertionError
        assert "canary" not in f"{caught.value!r} {database!r}"


async def kill(database: Database, connection: AsyncConnection) -> None:
    victim = await connection.scalar(select(func.pg_backend_pid()))
    async with database.begin() as other:
        await other.execute(select(func.pg_terminate_backend(victim)))


@pytest.mark.parametrize(("door", "fault"), [(Database.begin, StoreUnavailable), (Database.once, OutcomeUnknown)])
async def test_a_connection_that_postgres_ends_is_told_as_what_it_is_and_the_next_one_works(
    postgres_url: str, door: Callable[[Database], AbstractAsyncContextManager[AsyncConnection]], fault: type[Exception]
) -> None:
    """A single statement without an answer may stand, since it commits by itself."""
    async with connect(postgres_url, connections=2) as database:

        async def struck() -> None:
            async with door(database) as connection:
                await kill(database, connection)
                await connection.execute(select(1))

        with pytest.raises(fault):
            await struck()
        async with door(database) as connection:
            assert await connection.scalar(select(1)) == 1


async def test_a_connection_that_ends_at_the_commit_leaves_the_outcome_unknown(postgres_url: str) -> None:
    async with connect(postgres_url, connections=2) as database:
        with pytest.raises(OutcomeUnknown):
            async with database.begin() as connection:
                await kill(database, connection)


async def test_a_single_statement_stands_by_itself(database: Database) -> None:
    async with database.once() as connection:
        await rows.upsert(connection, thing, [{"id": "a", "value": 9}])
    assert await values(database) == {"a": 9, "b": 2}


@pytest.mark.postgres
async def test_a_single_statement_is_on_postgresqls_disk_before_it_is_answered(postgres_url: str) -> None:
    async with connect(postgres_url) as database, database.once() as connection:
        assert await connection.scalar(text("show synchronous_commit")) == "on"


async def test_a_single_statement_for_which_no_connection_was_had_was_not_written(unused_tcp_port: int) -> None:
    async with connect(f"postgresql://u:canary@127.0.0.1:{unused_tcp_port}/x") as database:
        with pytest.raises(StoreUnavailable) as caught:
            async with database.once():
                raise AssertionError
        assert not isinstance(caught.value, OutcomeUnknown)


async def test_two_that_wait_for_each_other_are_told_to_try_again(postgres_url: str) -> None:
    async with connect(postgres_url) as database:
        async with database.begin() as connection:
            await connection.run_sync(thing.create)
            await rows.insert_ignore(connection, thing, [{"id": "a", "value": 1}, {"id": "b", "value": 2}])
        both = asyncio.Barrier(2)

        async def cross(first: str, second: str) -> None:
            async with database.begin() as connection:
                await connection.execute(thing.update().where(thing.c.id == first).values(value=5))
                await both.wait()
                await connection.execute(thing.update().where(thing.c.id == second).values(value=6))

        ends = await asyncio.gather(cross("a", "b"), cross("b", "a"), return_exceptions=True)
        assert sorted(type(end) for end in ends if end) == [StoreUnavailable]


@pytest.mark.parametrize("url", ["mysql://u:canary@h/db", "sqlite://", "canary", "postgresql+psycopg://u:canary@h/d"])
async def test_another_kind_of_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        async with connect(url):
            raise AssertionError
    assert "canary" not in str(caught.value)


def test_trouble_on_the_way_is_unavailable_and_ours_stays_ours() -> None:
    assert isinstance(translated(OSError(errno.ECONNREFUSED, "refused")), StoreUnavailable)
    assert isinstance(translated(TimeoutError()), StoreUnavailable)
    assert translated(Rejected()) is None
    assert translated(ValueError()) is None


async def test_a_store_in_a_folder_that_cannot_be_made_is_a_matter_of_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    words = f"^RINGHOOK_STORE_URL: {tmp_path}/file/store.db cannot be made or opened: File exists$"
    with pytest.raises(Misconfigured, match=words):
        await connect(f"sqlite:///{tmp_path}/file/store.db").__aenter__()
