"""Rights in PostgreSQL: the printed SQL lets each role do what is declared for it, and nobody anything else."""

import asyncio
import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from click.testing import CliRunner
from sqlalchemy import text

from deploy import migrations, rights
from deploy.command import ringhook
from deploy.command.grants import script
from deploy.local import postgres
from deploy.local.postgres import command, create_database, drop_database, let_in
from deploy.rights import RIGHTS, apart, user
from schemas.errors import Misconfigured
from tests.deploy.test_rights import SEALED, columns_of
from workers.runtime.database import connect
from workers.runtime.storefault import StoreRefused

NAMESPACE = "Ring-hook_2"  # to be quoted, as any namespace may be
VERBS = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
BY_COLUMN = ("SELECT", "INSERT", "UPDATE", "REFERENCES")

BY_TABLE = """
    select u, v, c.relname, '' from unnest($1::text[]) u, unnest($2::text[]) v, pg_class c
    where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and has_table_privilege(u, c.oid, v)
"""
EACH_COLUMN = """
    select u, v, c.relname, a.attname from unnest($1::text[]) u, unnest($2::text[]) v, pg_class c, pg_attribute a
    where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attrelid = c.oid and a.attnum > 0
      and not a.attisdropped and has_column_privilege(u, c.oid, a.attnum, v)
"""
AROUND = """
    select u, v, 'the schema', '' from unnest($1::text[]) u, unnest(array['USAGE', 'CREATE']) v
    where has_schema_privilege(u, 'public', v)
    union all
    select u, v, 'the database', '' from unnest($1::text[]) u, unnest(array['CONNECT', 'CREATE', 'TEMPORARY']) v
    where has_database_privilege(u, current_database(), v)
"""

Single = tuple[str, str, str, str]  # role, verb, table, column ("" for the whole table)


@pytest.fixture
async def owners(postgres_base: str) -> AsyncIterator[str]:
    """The store as its owner has it: an ordinary user with a database, who may create roles, and has migrated."""
    name = f"t_{secrets.token_hex(6)}"
    await command(postgres_base, f'create role "{name}" createrole')
    try:
        url = await let_in(await create_database(postgres_base, name), name)
        await command(postgres_base, f'alter database "{name}" owner to "{name}"')
        await migrations.upgrade(url)
        yield url
    finally:
        await drop_database(postgres_base, name)
        await command(postgres_base, f'drop role if exists "{name}"')


@pytest.fixture
async def namespace() -> str:
    """Users are of a whole server, where another run of this may be at work."""
    return f"{NAMESPACE}{secrets.token_hex(4)}"


@pytest.fixture
async def granted(owners: str, namespace: str) -> str:
    """The same, after the printed SQL was carried out."""
    await command(owners, script(namespace))
    return owners


def declared(names: dict[str, str]) -> set[Single]:
    around = {(name, "USAGE", "the schema", "") for name in names.values()} | {
        (name, "CONNECT", "the database", "") for name in names.values()
    }
    return around | {
        (names[role], verb, right.table, column)
        for role, mine in RIGHTS.items()
        for right in apart(mine)
        for verb in right.verbs
        for column in (right.columns or (columns_of(right.table) if verb in BY_COLUMN else [""]))
    }


async def found(url: str, users: Iterable[str]) -> set[Single]:
    """Return all that PostgreSQL lets these users do with the tables and around them, on whichever way."""
    connection = await asyncpg.connect(url)
    try:
        by_table = await connection.fetch(BY_TABLE, [*users], [verb for verb in VERBS if verb not in BY_COLUMN])
        by_column = await connection.fetch(EACH_COLUMN, [*users], [*BY_COLUMN])
        return {tuple(row) for row in (*by_table, *by_column, *await connection.fetch(AROUND, [*users]))}
    finally:
        await connection.close()


async def refused(url: str, statement: str) -> bool:
    try:
        await command(url, statement)
    except asyncpg.InsufficientPrivilegeError:
        return True
    return False


@pytest.mark.postgres
async def test_postgresql_lets_each_user_do_what_is_declared_and_nothing_else_whatever_it_was_before(
    owners: str, namespace: str
) -> None:
    names = {role: user(namespace, role) for role in RIGHTS}
    await command(owners, script(namespace))
    dispatch = names["dispatch"]
    for stray in (
        'grant all on table linker_grants to "{}"',
        'grant select (refresh) on table linker_grants to "{}"',
        'grant create on schema public to "{}", public',
        "grant all on table claim, linker_grants to public",
        'revoke select on table claim from "{}"',
        "revoke usage on schema public from public",
    ):
        await command(owners, stray.format(dispatch))
    assert await found(owners, names.values()) != declared(names)
    for _ in range(2):
        await command(owners, script(namespace))
        assert await found(owners, names.values()) == declared(names)
    anybody = f"{namespace}_stranger"
    await command(owners, f'create role "{anybody}"')
    try:
        assert await found(owners, [anybody]) == set()
        assert await refused(await let_in(owners, anybody), "select 1")  # it may not even come in
    finally:
        await command(owners, f'drop role "{anybody}"')


@pytest.mark.postgres
@pytest.mark.parametrize("role", sorted(RIGHTS))
async def test_a_role_is_refused_what_is_not_its_own(granted: str, namespace: str, role: str) -> None:
    url = await let_in(granted, user(namespace, role))
    await command(url, "select version_num from alembic_version")
    for statement in ("create table mine (a int)", "create temporary table mine (a int)", "create schema mine"):
        assert await refused(url, statement), statement
    for statement in ("alter table claim add column mine int", "drop table lane", "truncate stop", "delete from alembic_version"):
        assert await refused(url, statement), statement
    assert await refused(url, "update installation set name = 'mine'")
    for table, column in SEALED:
        assert await refused(url, f"select {column} from {table}") is (role != "linker"), (table, column)  # noqa: S608 - names of ours
    for statement in ("select * from linker_grants", "update linker_grants set state = 'completed'", "delete from linker_grants"):
        assert await refused(url, statement) is (role != "linker"), statement
    assert await refused(url, "select request_id from claim") is (role != "dispatch")
    assert await refused(url, "select record from waiting_row") is (role not in {"dispatch", "deliver"})
    assert await refused(url, "select partner_user from ingress_attempt_claims") is (role != "admin")
    assert await refused(url, "select account, partner_user from linker_grants") is (role not in {"linker", "admin"})


@pytest.mark.postgres
async def test_a_role_that_lacks_a_right_is_told_which_and_what_gives_it(granted: str, namespace: str) -> None:
    names = {role: user(namespace, role) for role in RIGHTS}
    for role, name in names.items():
        async with connect(await let_in(granted, name)) as database:
            await rights.check(database, namespace, role)
    await command(granted, f'revoke delete on table claim from "{names["dispatch"]}"')
    async with connect(await let_in(granted, names["dispatch"])) as database:
        words = rf"what dispatch needs \(DELETE on claim\): .*`ringhook grants` prints, .* log in as {names['dispatch']}$"
        with pytest.raises(Misconfigured, match=words):
            await rights.check(database, namespace, "dispatch")
        with pytest.raises(Misconfigured, match=r"INSERT on lane|SELECT on linker_grants.* and \d+ more"):
            await rights.check(database, namespace, "linker")
        with pytest.raises(StoreRefused, match=r"`ringhook grants` prints .*\(42501\)"):  # one that runs already
            async with database.begin() as connection:
                await connection.execute(text("delete from claim"))


@pytest.mark.postgres
async def test_one_who_owns_the_tables_may_run_every_role(owners: str, namespace: str) -> None:
    async with connect(owners) as database:
        for role in (*RIGHTS, "up"):
            await rights.check(database, namespace, role)


@pytest.mark.postgres
async def test_the_owner_goes_on_making_tables_and_no_role_migrates(granted: str, namespace: str) -> None:
    await command(granted, "create table mine (a int); update alembic_version set version_num = '0001'")
    with pytest.raises(StoreRefused, match="`ringhook migrate` is for the tables' owner"):
        await migrations.upgrade(await let_in(granted, user(namespace, "linker")))


@pytest.mark.postgres
async def test_an_owner_who_came_in_as_anybody_may_stays_in_and_goes_on_making_tables(
    owners: str, postgres_base: str, namespace: str
) -> None:
    """As where an administrator made the database, and PostgreSQL is older than 15: the owner lived on the rights of PUBLIC."""
    administrators = urlsplit(postgres_base)._replace(path=urlsplit(owners).path).geturl()
    owner = urlsplit(owners).username
    await command(administrators, f'alter database "{owner}" owner to current_user')
    await command(administrators, "grant create on schema public to public")
    await command(administrators, script(namespace))
    await command(owners, "create table mine (a int)")
    await command(owners, "alter table claim add column mine int")
    assert await refused(await let_in(administrators, user(namespace, "linker")), "create table another (a int)")


@pytest.mark.postgres
async def test_without_tables_it_says_what_comes_first_and_makes_no_user(postgres_url: str, namespace: str) -> None:
    with pytest.raises(asyncpg.RaiseError, match="run `ringhook migrate`, then this again"):
        await command(postgres_url, script(namespace))
    with pytest.raises(asyncpg.UndefinedObjectError):
        await let_in(postgres_url, user(namespace, "linker"))


@pytest.mark.postgres
async def test_psql_takes_it_as_it_is_printed(owners: str, namespace: str) -> None:
    for _ in range(2):
        tool = [str(postgres._bin() / "psql"), "--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1", owners]
        done = await asyncio.to_thread(subprocess.run, tool, input=script(namespace), capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    names = {role: user(namespace, role) for role in RIGHTS}
    assert await found(owners, names.values()) == declared(names)


def printed(folder: Path, url: str) -> str:
    here = Path.cwd()
    (folder / "ringhook.toml").touch()
    environment = {"RINGHOOK_STORE_URL": url, "RINGHOOK_NAMESPACE": NAMESPACE}
    try:
        result = CliRunner().invoke(ringhook, ["grants", "-C", str(folder)], env=environment)
    finally:
        os.chdir(here)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_the_command_prints_and_asks_no_server(tmp_path: Path) -> None:
    said = printed(tmp_path, "postgresql://u:canary@127.0.0.1:9/x")
    assert said == f"{script(NAMESPACE)}\n"
    assert (f'"{NAMESPACE}_linker"' in said, "canary" in said) == (True, False)


def test_a_file_has_no_users(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"which knows no users: this command is for postgresql://…$"):
        printed(tmp_path, f"sqlite:///{tmp_path}/store.db")
