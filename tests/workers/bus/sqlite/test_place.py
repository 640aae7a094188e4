import asyncio
import os
import re
import sqlite3
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, closing
from pathlib import Path

import pytest

from schemas.errors import Misconfigured
from schemas.topics import Topic
from workers.bus.contract import BusBroken, Record
from workers.bus.sqlite import SqliteBus, connect
from workers.bus.sqlite.place import GIB, parse

Open = Callable[..., AbstractAsyncContextManager[SqliteBus]]

NOTES = b"somebody's notes " * 1_000
OWNER = """
import asyncio, sys
from workers.bus.contract import BusBroken
from workers.bus.sqlite import connect

async def main():
    async with connect(sys.argv[1], namespace="test", topics=()):
        print("open", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("url", "path", "most"),
    [
        ("sqlite:///var/bus.db", "var/bus.db", 8 * GIB),
        ("sqlite:////var/lib/bus.db", "/var/lib/bus.db", 8 * GIB),
        ("sqlite:///with%20space.db?bytes=1000", "with space.db", 1_000),
    ],
)
def test_a_url_names_a_file_and_its_cap(url: str, path: str, most: int) -> None:
    place = parse(url)
    assert (place.path, place.most) == (Path(path), most)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("sqlite://", "names no file"),
        ("sqlite://host/bus.db", "names no file"),
        ("kafka://host:9092", "names no file"),
        ("sqlite:///bus.db?bytes=lots", "not a number"),
        ("sqlite:///bus.db?sync=off", "option that is not known"),
    ],
)
def test_a_url_that_cannot_work_says_what_to_change(url: str, says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        parse(url)


async def test_a_second_process_is_refused_with_the_pid_of_the_first_and_a_remedy(opened: Open, path: Path) -> None:
    owner = await create_subprocess_exec(sys.executable, "-c", OWNER, f"sqlite:///{path}", stdout=PIPE)
    try:
        assert owner.stdout is not None
        assert await owner.stdout.readline() == b"open\n"
        with pytest.raises(Misconfigured, match=rf"in use by process {owner.pid}: .*RINGHOOK_BUS_URL"):
            await opened().__aenter__()
    finally:
        owner.kill()
        await owner.wait()
    async with opened() as bus:  # its death frees the file
        assert bus.available()


async def test_a_second_bus_in_the_same_process_is_refused_too(opened: Open) -> None:
    async with opened():
        with pytest.raises(Misconfigured, match=re.escape(f"process {os.getpid()}:")):
            await opened().__aenter__()


async def test_a_file_in_use_is_named_by_its_full_path_whatever_the_url_says(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    async with connect("sqlite:///var/bus.db", namespace="test", topics=()):
        words = f"{path.parent}/var/bus.db is in use by process {os.getpid()}: stop that one (kill {os.getpid()})"
        with pytest.raises(Misconfigured, match=f"^{re.escape(words)}"):
            await connect("sqlite:///var/bus.db", namespace="test", topics=()).__aenter__()


@pytest.mark.parametrize("instead", [None, b"another"])
async def test_nothing_is_acknowledged_once_the_path_leads_to_no_file_or_to_another(
    opened: Open, path: Path, instead: bytes | None
) -> None:
    with pytest.raises(BusBroken, match="was removed or replaced"):
        await _published_after(opened, lambda: _replace(path, instead))


async def _published_after(opened: Open, deed: Callable[[], None]) -> None:
    record = Record(topic="alpha", key=b"k", value=b"v")
    async with opened() as bus:
        await bus.publish([record])
        deed()
        with pytest.raises(BusBroken):
            await bus.publish([record])
        await asyncio.Event().wait()


def _replace(path: Path, instead: bytes | None) -> None:
    path.unlink()
    if instead is not None:
        path.write_bytes(instead)


async def test_a_file_that_another_program_holds_is_told_in_words(opened: Open, path: Path) -> None:
    async with opened():
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin exclusive")
        with pytest.raises(
            BusBroken, match=r"database is locked; another program holds it \(a backup, the sqlite3 shell\): end that"
        ):
            await opened().__aenter__()


async def test_an_owner_that_has_not_written_its_id_yet_is_not_to_be_killed_by_that(opened: Open, path: Path) -> None:
    async with opened():
        path.with_name("bus.db.lock").write_text("")
        with pytest.raises(Misconfigured, match="in use by process unknown: stop that one, or"):
            await opened().__aenter__()


async def test_only_its_owner_may_read_the_files(opened: Open, path: Path) -> None:
    async with opened():
        files = list(path.parent.glob("bus.db*"))
        assert {file.name for file in files} >= {"bus.db", "bus.db-wal", "bus.db.lock", "bus.db.ballast"}
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


async def test_missing_folders_are_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    async with connect("sqlite:///var/deep/bus.db", namespace="test", topics=()):
        assert (path.parent / "var/deep/bus.db").exists()


async def test_a_file_that_is_something_else_is_left_alone(opened: Open, notes: Path) -> None:
    with pytest.raises(BusBroken, match="cannot be opened: file is not a database"):
        await opened().__aenter__()
    assert content(notes) == NOTES


@pytest.fixture
def notes(path: Path) -> Path:
    path.write_bytes(NOTES)
    return path


def content(path: Path) -> bytes:
    return path.read_bytes()


async def test_a_folder_that_cannot_be_made_is_a_matter_of_configuration(notes: Path) -> None:
    with pytest.raises(Misconfigured, match=f"^RINGHOOK_BUS_URL: {notes}/bus.db cannot be made or opened: File exists$"):
        await connect(f"sqlite:///{notes}/bus.db", namespace="test", topics=()).__aenter__()


async def test_another_namespace_is_refused(opened: Open) -> None:
    async with opened():
        pass
    with pytest.raises(Misconfigured, match="namespace 'test', not 'staging'"):
        await opened(namespace="staging").__aenter__()


async def test_another_partition_count_is_refused(opened: Open) -> None:
    async with opened():
        pass
    grown = Topic(name="alpha", key="test", retention=None, writers=(), readers=(), partitions=3)
    with pytest.raises(Misconfigured, match="alpha has 2 partitions, not 3"):
        await opened(topics=(grown,)).__aenter__()


async def test_what_the_block_raises_leaves_as_it_is(opened: Open) -> None:
    with pytest.raises(ZeroDivisionError):
        async with opened():
            raise ZeroDivisionError
