"""What an operator reads where the store does not answer: where it should be, what the system said, what to do."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from workers.runtime.database import connect
from workers.runtime.storefault import StoreBroken, StoreRefused, StoreUnavailable, translated

AWAY = "PostgreSQL at {host} (RINGHOOK_STORE_URL) cannot be reached: {why}"


class Said(Exception):
    """What a driver raises: the server's five characters."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__("the server's own words, which may name users")
        self.sqlstate = sqlstate


async def said(url: str) -> StoreUnavailable:
    async with connect(url) as store:
        with pytest.raises(StoreUnavailable) as raised:
            async with store.read() as connection:
                await connection.execute(text("select 1"))
    assert "canary" not in str(raised.value)
    return raised.value


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("127.0.0.1:9", "the connection was refused (nothing listens there)"),
        ("no-such.example.com:5432", "there is no such name"),
    ],
)
async def test_where_the_store_should_be_and_what_the_system_said(host: str, why: str) -> None:
    assert str(await said(f"postgresql://u:canary@{host}/x")) == AWAY.format(host=host, why=why)


async def test_a_writer_is_told_the_same() -> None:
    async with connect("postgresql://u:canary@127.0.0.1:9/x") as store:
        with pytest.raises(StoreUnavailable, match=r"^PostgreSQL at 127\.0\.0\.1:9 "):
            async with store.begin():
                raise AssertionError


async def test_what_is_no_postgresql_is_unavailable_with_its_address() -> None:
    async def babble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as server:
        at = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert f"PostgreSQL at {at} (RINGHOOK_STORE_URL) cannot be reached: " in str(await said(f"postgresql://u:canary@{at}/x"))


async def test_a_parameter_of_the_url_that_cannot_be_is_refused_as_a_mistake() -> None:
    refused = await said("postgresql://u:canary@127.0.0.1:9/x?sslmode=oops")
    assert isinstance(refused, StoreRefused)
    assert "RINGHOOK_STORE_URL cannot be used: `sslmode` parameter must be one of" in str(refused)


async def test_a_file_that_is_no_store_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"no database at all" * 100)
    async with connect(f"sqlite:///{path}") as store:
        for door in (store.read, store.begin):
            with pytest.raises(StoreBroken) as raised:
                async with door() as connection:
                    await connection.execute(text("select 1"))
            assert str(raised.value) == (
                f"{path} (RINGHOOK_STORE_URL) failed: file is not a database; restore it from a backup, then start again"
            )


def test_a_disk_that_fails_is_no_reason_for_a_backup() -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    assert str(translated(error, "/var/store.db")) == (
        "/var/store.db failed: disk I/O error; see that its disk and folder can be read and written, then start again"
    )


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("57P03", "PostgreSQL is starting up, or does not let anybody in just now (57P03)"),
        ("53300", "PostgreSQL has no connection left for us: raise max_connections, or run fewer copies (53300)"),
        ("25006", "PostgreSQL is read-only, as a standby is: RINGHOOK_STORE_URL must lead to the primary (25006)"),
        ("40001", "the store asked for another try (40001)"),
    ],
)
def test_what_the_server_said_in_words_and_as_it_can_be_looked_up(state: str, words: str) -> None:
    fault = translated(DBAPIError("select 1", None, Said(state)))
    assert (type(fault), str(fault)) == (StoreUnavailable, words)
