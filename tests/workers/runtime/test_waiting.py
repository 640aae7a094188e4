"""What waits is found by its place on both engines: no statement looks through all of it."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from workers.runtime import waiting
from workers.runtime.database import Database, connect
from workers.runtime.lines import TOTAL
from workers.runtime.rows import lists

VALUES = {"my_grp": "'dispatch'", "my_lane": "0", "most": "9", "before": "1.0"}
VALUES |= {"my_key": "'A'", "my_n": "9", "my_first": "1", "my_last": "5"}
PLACES = {  # statement → the index by which it must come to its rows
    "_reading": "waiting_line_pk",
    "_ready": "ix_waiting_line_ready",
    "_longest": "ix_waiting_line_grp_lane_rows",
    "_oldest": "ix_waiting_row_grp_lane_since",
    "_leaving": "waiting_row_pk",
    "_MARK": "waiting_row_pk",
    "_REPLACE": "waiting_line_pk",
}
OF_KEYS = {"postgresql": {"waiting_row_pk": "pk_waiting_row", "waiting_line_pk": "pk_waiting_line"}}
OF_KEYS["sqlite"] = {f"{table}_pk": f"sqlite_autoindex_{table}_1" for table in ("waiting_row", "waiting_line")}


@pytest.fixture
async def database(store_url: str) -> AsyncIterator[Database]:
    async with connect(store_url) as database:
        await database.create_all()
        yield database


async def fill(connection: AsyncConnection) -> None:
    """Let 5,000 wait, five of each key, and let the engine know."""
    mine = {"grp": "dispatch", "lane": 0, "release_n": None}
    rows = [
        {**mine, "key": f"{at // 5}", "sequence": 1 + at % 5, "record": b"", "since": float(at), "n": 1 + at // 50}
        for at in range(5_000)
    ]
    await connection.execute(waiting.waiting.insert(), rows)
    ends = [
        {**mine, "key": f"{at}", "first": 1, "last": 5, "rows": 5, "ready": at % 99 == 0, "n": 1 + at // 10}
        for at in range(1_000)
    ]
    await connection.execute(waiting.lines.insert(), ends)
    await connection.exec_driver_sql("analyze")


def spelt(connection: AsyncConnection, statement: Any) -> str:  # noqa: ANN401 - each kind of statement has a type of its own
    """Return a statement with its values in it, as EXPLAIN wants it."""
    dialect = (postgresql if connection.dialect.name == "postgresql" else sqlite).dialect(paramstyle="named")
    made = statement.compile(dialect=dialect)
    own = {name: value for name, value in made.params.items() if value is not None}
    listed = lists(connection, name=["A", TOTAL]) | lists(connection, key=["A"], first=["1"], last=["5"])
    values = {**VALUES, **{name: literal(value) for name, value in (own | listed).items()}}
    return re.sub(r"(?<!:):(\w+)", lambda found: values[found[1]], str(made))


def literal(value: object) -> str:
    return f"array{value}::text[]" if isinstance(value, list) else f"'{value}'"


async def test_every_statement_comes_to_its_rows_by_an_index_of_its_own(database: Database) -> None:
    async with database.begin() as connection:
        await fill(connection)
        for name, place in PLACES.items():
            made = getattr(waiting, name)
            text = spelt(connection, made(connection) if callable(made) else made)
            rows = await connection.exec_driver_sql(f"EXPLAIN {'QUERY PLAN ' * (database.dialect == 'sqlite')}{text}")
            found = "\n".join(str(row[-1]) for row in rows)
            assert OF_KEYS[database.dialect].get(place, place) in found, f"{name}: {found}"
