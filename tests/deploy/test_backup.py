"""`ringhook backup`: one moment of the store, whole, without a secret; and what to type where PostgreSQL holds it."""

import asyncio
import base64
import os
import shlex
import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from alembic import command
from click.testing import CliRunner

from deploy import migrations
from deploy.command import ringhook
from deploy.command.backup import elsewhere, passwordless
from deploy.local import postgres
from deploy.migrations import scripts
from schemas.errors import Misconfigured
from workers.runtime import setback, storecopy
from workers.runtime.database import connect


def backup(folder: Path, target: Path) -> str:
    return typed("backup", str(target), folder=folder)


def typed(*words: str, folder: Path) -> str:
    here = Path.cwd()
    try:
        result = CliRunner().invoke(ringhook, [*words, "-C", str(folder)])
    finally:
        os.chdir(here)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def installation(folder: Path, url: str, keys: str = "canary") -> Path:
    (folder / ".env").write_text(f"RINGHOOK_STORE_URL={url}\nRINGHOOK_VAULT_KEYS={keys}\n")
    (folder / "ringhook.toml").write_text("# mine\n")
    return folder


def test_a_backup_is_a_whole_store_and_the_configuration_and_no_secret(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    asyncio.run(migrations.upgrade(url))
    target = tmp_path / "backups" / "today"
    said = backup(installation(tmp_path, url), target)
    assert {path.name for path in target.iterdir()} == {"store.db", "ringhook.toml"}
    assert asyncio.run(migrations.version(f"sqlite:///{target}/store.db")) == migrations.HEAD
    assert stat.S_IMODE((target / "store.db").stat().st_mode) == 0o600
    assert ("RINGHOOK_VAULT_KEYS" in said, "canary" in said) == (True, False)
    assert b"canary" not in b"".join(path.read_bytes() for path in target.iterdir())
    with pytest.raises(Misconfigured, match="is there already"):
        backup(tmp_path, target)


async def marked(url: str) -> str | None:
    async with connect(url) as database, database.read() as connection:
        return await setback.mark(connection)


async def upgrade(url: str, to: str) -> None:
    async with connect(url) as database, database.begin() as connection:
        await connection.run_sync(lambda sync: command.upgrade(scripts.config(sync), to))


def test_the_copy_says_that_it_is_one_also_where_the_store_is_being_mended_itself(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    asyncio.run(migrations.upgrade(url))
    folder = installation(tmp_path, url)
    backup(folder, tmp_path / "first")
    assert asyncio.run(marked(url)) is None, "the original is none"
    with closing(sqlite3.connect(tmp_path / "store.db")) as store, store:
        store.execute("insert into installation values (?, 'grants:x')", (setback.NAME,))
    backup(folder, tmp_path / "second")
    assert asyncio.run(marked(url)) == "grants:x"
    for name in ("first", "second"):
        assert asyncio.run(marked(f"sqlite:///{tmp_path}/{name}/store.db")) == setback.COPIED


def test_a_store_that_came_back_in_another_way_is_said_to_be_restored(tmp_path: Path, store_url: str) -> None:
    folder = installation(tmp_path, store_url)
    with pytest.raises(Misconfigured, match="bring the copy back first"):
        typed("restored", folder=folder)
    asyncio.run(upgrade(store_url, "0008"))  # an older version's
    for _ in range(2):
        said = typed("restored", folder=folder)
    assert asyncio.run(marked(store_url)) == setback.COPIED
    assert asyncio.run(migrations.version(store_url)) == migrations.HEAD
    assert "accounts list --at-risk" in said


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        (("restored",), ": bring the copy back first, then run `ringhook restored` again"),
        (("backup", "copy"), " yet: run `ringhook migrate`"),
        (("keys", "status"), " yet: run `ringhook migrate`"),
    ],
)
def test_where_there_is_no_store_that_is_said_and_none_is_left(tmp_path: Path, command: tuple[str, ...], remedy: str) -> None:
    store = tmp_path / "var" / "store.db"
    folder = installation(tmp_path, f"sqlite:///{store}", keys=f"k1:{base64.b64encode(bytes(32)).decode()}")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(Misconfigured) as told:
        typed(*command, folder=folder)
    assert f"there is no store at {store} (RINGHOOK_STORE_URL){remedy}" in str(told.value)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_store_without_tables_or_without_a_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "store.db").touch()
    with pytest.raises(Misconfigured, match="the store has no tables yet: run `ringhook migrate`"):
        backup(installation(tmp_path, f"sqlite:///{tmp_path}/store.db"), tmp_path / "backup")
    with pytest.raises(Misconfigured, match="cannot be copied"):
        storecopy.copy(tmp_path / "nothing.db", tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


async def test_a_copy_is_one_moment_while_others_write(tmp_path: Path) -> None:
    source = tmp_path / "store.db"
    async with connect(f"sqlite:///{source}") as database:
        async with database.begin() as connection:
            await connection.exec_driver_sql("create table pair (one integer, other integer)")
            await connection.exec_driver_sql("create table installation (name text primary key, value text)")
        copying = asyncio.gather(*(asyncio.to_thread(storecopy.copy, source, tmp_path / f"{number}.db") for number in range(5)))
        written = 0
        while not copying.done():
            async with database.begin() as connection:
                await connection.exec_driver_sql("insert into pair (one) values (?)", (written,))
                await connection.exec_driver_sql("update pair set other = one")
            written += 1
        await copying
    assert written > 0
    for number in range(5):
        with closing(sqlite3.connect(tmp_path / f"{number}.db")) as copied:
            assert copied.execute("select count(*) from pair where other is not one").fetchone() == (0,)


URL = "postgresql://ringhook:can%3Aary@db.example.com:5433/store?sslmode=require&password=canary"


def test_a_postgres_store_is_told_how_it_is_copied_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as told:
        backup(installation(tmp_path, URL.partition("&")[0]), tmp_path / "b")
    assert "pg_dump --format=custom" in str(told.value)
    assert "can" not in passwordless(URL)
    assert passwordless(URL) == "postgresql://ringhook@db.example.com:5433/store?sslmode=require"
    assert not (tmp_path / "b").exists()


@pytest.mark.postgres
def test_what_is_told_works_as_it_stands(tmp_path: Path, postgres_url: str) -> None:
    asyncio.run(migrations.upgrade(postgres_url))
    told = [line.strip() for line in elsewhere(postgres_url, tmp_path).splitlines() if line.startswith("  pg_")]
    environment = {"PGPASSWORD": urlsplit(postgres_url).password or "", "PATH": f"{postgres._bin()}:{os.defpath}"}
    for words in told:
        subprocess.run(shlex.split(words), env=environment, check=True, capture_output=True, timeout=60)
    assert asyncio.run(migrations.version(postgres_url)) == migrations.HEAD
