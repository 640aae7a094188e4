"""`ringhook grants`: prints the SQL that gives each role a PostgreSQL user of its own, with the rights its work takes."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

import click

from deploy import roles
from deploy.command.directory import DIRECTORY
from deploy.migrations.tables import metadata
from deploy.rights import RIGHTS, VERSION, Right, user
from schemas.errors import Misconfigured

HEAD: Final = """\
-- Who may do what in ringhook's store. Run it as the owner of the tables, as whom `ringhook migrate` runs, who may create roles:
--   ringhook grants | psql -v ON_ERROR_STOP=1 "$OWNERS_URL"
-- Run it again after each `ringhook migrate`: afterwards the rights are these and no others, whatever they were.
-- No role can log in until you let it, with a password of your making: ALTER ROLE {example} LOGIN; and \\password in psql.
BEGIN;"""
PLACE: Final = """\
DO $$
DECLARE
  place regnamespace := (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('installation'));
  owner regrole := (SELECT relowner FROM pg_class WHERE oid = to_regclass('installation'));
BEGIN
  IF place IS NULL THEN
    RAISE EXCEPTION 'ringhook has no tables in this database yet: run `ringhook migrate`, then this again';
  END IF;
  EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC, {users}', current_database());
  EXECUTE format('GRANT CONNECT ON DATABASE %I TO {users}, %s', current_database(), owner);
  EXECUTE format('REVOKE ALL ON SCHEMA %s FROM {users}', place);
  EXECUTE format('REVOKE CREATE ON SCHEMA %s FROM PUBLIC', place);
  EXECUTE format('GRANT USAGE ON SCHEMA %s TO {users}', place);
  EXECUTE format('GRANT USAGE, CREATE ON SCHEMA %s TO %s', place, owner);
END $$;"""


@click.command()
@DIRECTORY
def grants(directory: Path) -> None:
    """Print the SQL that lets each role do its work in PostgreSQL, and nothing else; nothing is carried out."""
    common = roles.configured("grants", directory).common
    if not common.store_url.startswith("postgres"):
        raise Misconfigured(
            "RINGHOOK_STORE_URL is a file on this machine, which knows no users: this command is for postgresql://…"
        )
    click.echo(script(common.namespace))


def script(namespace: str) -> str:
    """Return the SQL; run twice, it changes nothing more."""
    users = {role: quoted(user(namespace, role)) for role in RIGHTS}
    return "\n".join([*_users(namespace, users), *_nothing(users.values()), *_rights(users), "COMMIT;"])


def _users(namespace: str, users: dict[str, str]) -> Iterator[str]:
    yield HEAD.format(example=users["linker"])
    yield "DO $$ BEGIN"
    for role, name in users.items():
        known = f"SELECT FROM pg_roles WHERE rolname = '{user(namespace, role)}'"
        yield f"  IF NOT EXISTS ({known}) THEN CREATE ROLE {name}; END IF;"
    yield "END $$;"


def _nothing(users: Collection[str]) -> Iterator[str]:
    """Take every right away, from everybody but the owner; all of this is one transaction, so that nobody is ever without."""
    tables = ", ".join(quoted(name) for name in (VERSION, *sorted(metadata.tables)))
    yield PLACE.format(users=", ".join(users))
    yield f"REVOKE ALL ON TABLE {tables} FROM PUBLIC, {', '.join(users)};"


def _rights(users: dict[str, str]) -> Iterator[str]:
    for role, name in users.items():
        yield f"\n-- {role}"
        yield from (f"GRANT {_of(right)} TO {name};" for right in RIGHTS[role])


def _of(right: Right) -> str:
    columns = f" ({', '.join(map(quoted, right.columns))})" if right.columns else ""
    return f"{', '.join(verb + columns for verb in right.verbs)} ON TABLE {quoted(right.table)}"


def quoted(name: str) -> str:
    """Return a name as SQL takes it to the letter."""
    return '"' + name.replace('"', '""') + '"'
