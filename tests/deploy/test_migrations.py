import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

from deploy import engines, migrations, settings
from deploy.migrations import scripts
from deploy.migrations.tables import metadata
from linker.rows import ASIDE
from schemas.errors import Misconfigured
from workers.dispatch import apps
from workers.runtime import waiting
from workers.runtime.database import connect
from workers.runtime.jobs import Step
from workers.runtime.lines import Doubt
from workers.runtime.sealing import Keyring, generate_key


def differences(connection: Connection) -> object:
    return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)


def tables(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


async def test_a_migrated_store_has_the_tables_as_they_are_declared(store_url: str) -> None:
    assert await migrations.behind(store_url)
    await migrations.upgrade(store_url)
    assert not await migrations.behind(store_url)
    async with connect(store_url) as database, database.begin() as connection:
        assert await connection.run_sync(differences) == []
        assert await connection.run_sync(tables) == {*metadata.tables, "alembic_version"}


async def test_migrating_again_and_by_several_at_once_changes_nothing(store_url: str) -> None:
    await asyncio.gather(*(migrations.upgrade(store_url) for _ in range(3)))
    await migrations.upgrade(store_url)
    async with connect(store_url) as database, database.begin() as connection:
        assert await connection.run_sync(differences) == []


async def test_every_migration_follows_the_one_before_it() -> None:
    assert scripts.script().get_heads() == [migrations.HEAD]


async def test_a_store_of_a_newer_version_is_a_sentence_for_up_for_roles_and_for_migrate(store_url: str, tmp_path: Path) -> None:
    (tmp_path / "ringhook.toml").touch()
    common = settings.read("migrate", {"RINGHOOK_STORE_URL": store_url}, tmp_path).common
    await engines.migrate(common)
    async with connect(store_url) as database, database.begin() as connection:
        await connection.execute(text("update alembic_version set version_num = '9001'"))
    for look in (engines.migrate, engines.migrated):
        with pytest.raises(Misconfigured, match=r"^the store belongs to another \(newer\) version of ringhook: .* '9001'"):
            await look(common)


@pytest.mark.parametrize(
    "deed",
    ["delete from alembic_version", "drop table alembic_version", "insert into alembic_version (version_num) values ('0001')"],
)
async def test_a_store_whose_version_was_altered_is_a_sentence(store_url: str, tmp_path: Path, deed: str) -> None:
    (tmp_path / "ringhook.toml").touch()
    common = settings.read("migrate", {"RINGHOOK_STORE_URL": store_url}, tmp_path).common
    await engines.migrate(common)
    async with connect(store_url) as database, database.begin() as connection:
        await connection.execute(text(deed))
    for look in (engines.migrate, engines.migrated):
        with pytest.raises(Misconfigured, match=r"alembic_version.* was altered: .* backup$"):
            await look(common)


async def test_the_versions_that_are_known_are_those_that_have_migrations() -> None:
    there = {script.revision for script in scripts.script().walk_revisions()}
    assert not any(migrations.unknown(revision) for revision in there)
    assert all(migrations.unknown(revision) for revision in ("", "0000", f"{int(migrations.HEAD) + 1:04}", "1", "deadbeef"))
    assert len(there) == int(migrations.HEAD)


def test_a_role_whose_store_is_there_does_without_alembic() -> None:
    script = "import sys, deploy.roles; sys.exit('alembic' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


async def test_rows_from_before_learn_which_key_sealed_them(store_url: str) -> None:
    async with connect(store_url) as database:
        async with database.begin() as connection:
            await connection.run_sync(lambda sync: command.upgrade(scripts.config(sync), "0001"))
        async with database.begin() as connection:
            for name, access in (("1", Keyring.parse(generate_key("2026-01")).seal(b"token", ())), ("2", None)):
                await connection.execute(text(OLD_ROW), {"code_hash": name, "access": access})
        await migrations.upgrade(store_url)
        async with database.read() as connection:
            found = await connection.execute(text("select sealed_with from linker_grants order by code_hash"))
            assert [*found.scalars()] == ["2026-01", None]


async def test_links_from_before_are_renewed_from_now_on_as_their_access_tokens_end(store_url: str) -> None:
    async with connect(store_url) as database:
        async with database.begin() as connection:
            await connection.run_sync(lambda sync: command.upgrade(scripts.config(sync), "0001"))
        async with database.begin() as connection:
            sealed = Keyring.parse(generate_key("k1")).seal(b"token", ())
            for name, access in (("1", sealed), ("2", None)):
                await connection.execute(text(OLD_ROW), {"code_hash": name, "access": access})
            await connection.execute(text("update linker_grants set expires_at = 20000, due_at = null"))
        await migrations.upgrade(store_url)
        async with database.read() as connection:
            due = text("select code_hash, tokens_at, due_at, queue from linker_grants where due_at is not null")
            assert [tuple(row) for row in await connection.execute(due)] == [("1", 5_600.0, 20_000.0, ASIDE)]


async def test_what_an_account_and_a_device_were_known_by_stays_so(store_url: str) -> None:
    known = [("A", "x", "y,z", 200.5), ("B", "", "y", 200.5), ("C", "x", "", 0)]
    async with connect(store_url) as database:
        async with database.begin() as connection:
            await connection.run_sync(lambda sync: command.upgrade(scripts.config(sync), "0008"))
        async with database.begin() as connection:
            for account, now, former, since in known:
                await connection.execute(
                    text(OLD_VIEW), {"account": account, "apps": now, "former_apps": former, "apps_since": since}
                )
            await connection.execute(text(OLD_DEVICE))
        await migrations.upgrade(store_url)
        async with database.begin() as connection:
            assert await connection.run_sync(differences) == []
            found = await connection.execute(text("select apps, former_apps from account_view order by account"))
            views = [(row.apps, row.former_apps, at) for row in found for at in (200, 201)]
            held = [[app for app in "xyz" if not apps.foreign(now, former, app, at)] for now, former, at in views]
            assert held == [[*"xyz"], ["x"], [*"xyz"], [*"xyz"], ["x"], ["x"]]
            device = await connection.execute(text("select device, account, app, n, held from device_view"))
            assert [tuple(row) for row in device] == [("D", "A", "", 1, True)]


OLD_VIEW = """
    insert into account_view (account, version, state, linked, partner_since, apps, former_apps, apps_since, grp, lane, n)
    values (:account, 1, 'completed', true, 0, :apps, :former_apps, :apps_since, 'dispatch', 0, 1)
"""
OLD_DEVICE = "insert into device_view (device, account, n, held, at, grp, lane) values ('D', 'A', 1, true, 1, 'dispatch', 0)"
OLD_ROW = """
    insert into linker_grants (code_hash, app, stranger, received_at, generation, state, stage, renewed, queue, begun, tries,
      posts, patched, writes, marks, counter, access)
    values (:code_hash, 'first', false, 1, 1, 'completed', 'rest', false, 0, 0, 0, 0, false, 1, '[]', 0, :access)
"""


OLD_LINE = """
    insert into waiting_line (grp, lane, key, first, last, rows, ready, doubted, doubted_at, doubted_app, sure, n)
    values ('dispatch', 1, :key, 1, 4, 4, false, :doubted, :doubted_at, 'old', :doubted, 7)
"""


async def test_what_a_line_remembers_of_a_removal_stays(store_url: str) -> None:
    async with connect(store_url) as database:
        async with database.begin() as connection:
            await connection.run_sync(lambda sync: command.upgrade(scripts.config(sync), "0015"))
        async with database.begin() as connection:
            for key, doubted, at in (("A", 3, 20.5), ("B", 0, 0.0)):
                await connection.execute(text(OLD_LINE), {"key": key, "doubted": doubted, "doubted_at": at})
        await migrations.upgrade(store_url)
        async with database.begin() as connection:
            found = await waiting.read(Step(connection, "dispatch", 1, 8), ["A", "B"])
    told = {line.key: (line.sure, line.doubts) for line in found}
    assert told == {"A": (3, (Doubt("old", 20.5, 3),)), "B": (0, ())}
