"""One real PostgreSQL server: a folder and a loopback port of its own, kept over restarts, never run as root."""

import os
import pwd
import secrets
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from deploy.local import packages, ports
from deploy.local.process import Process, StartFailed

OWNER = "ringhook"
START_S = 60
USERS = """
    select distinct refobjid::regrole::text as name from pg_shdepend
    where dbid = (select oid from pg_database where datname = $1) and deptype = 'a' and refobjid <> current_user::regrole
"""


class Postgres:
    """A server that survives everything but `remove`: started, stopped, killed, frozen, restarted on the same port."""

    def __init__(self, *, settings: Mapping[str, str] | None = None) -> None:
        (self.port,) = ports.free()
        self._password = secrets.token_urlsafe(18)
        self._process = Process("postgres", user=ordinary_user(), orphaned=signal.SIGQUIT)
        self._initialised = False
        self._settings = {"max_connections": "300", **(settings or {})}

    @property
    def url(self) -> str:
        """The maintenance database's, as asyncpg takes it; for work take one of `create_database`."""
        return f"postgresql://{OWNER}:{self._password}@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int | None:
        """The server's process id while it lives."""
        return self._process.pid

    async def start(self) -> None:
        """Return once the server answers a query; StartFailed with the end of its log after 60 s."""
        if not self._initialised:
            self._initialise()
        folder = self._process.folder
        places = ["-k", str(folder), "-h", "127.0.0.1", "-p", str(self.port)]
        places += [f"--{name}={value}" for name, value in self._settings.items()]
        self._process.launch([str(_bin() / "postgres"), "-D", str(folder / "data"), *places])
        await self._process.ready(self._answers, within=START_S)

    async def stop(self) -> None:
        """End the server in peace, without waiting for clients (SIGINT: fast shutdown)."""
        await self._process.stop(signal.SIGINT)

    async def kill(self) -> None:
        """End the server and its backends by -9."""
        await self._process.kill()

    async def freeze(self) -> None:
        """Stop the server and its backends in mid-air; clients see connections that are silent."""
        await self._process.freeze()

    async def thaw(self) -> None:
        """Let a frozen server go on."""
        await self._process.thaw()

    async def restart(self) -> None:
        """Stop and start again on the same port with the same data."""
        await self.stop()
        await self.start()

    async def create_database(self, name: str) -> str:
        """Create an empty database and return its URL."""
        return await create_database(self.url, name)

    def remove(self) -> None:
        """Forget the data."""
        self._process.remove()

    async def _answers(self) -> bool:
        try:
            await command(self.url, "select 1")
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            return False
        return True

    def _initialise(self) -> None:
        folder, password = self._process.folder, self._process.folder / "password"
        password.touch(mode=0o600)
        password.write_text(self._password)
        if self._process.user is not None:
            os.chown(password, pwd.getpwnam(self._process.user).pw_uid, -1)
        form = ["--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", f"--username={OWNER}", f"--pwfile={password}"]
        self._process.run([str(_bin() / "initdb"), *form, "-D", str(folder / "data")])
        password.unlink()
        self._initialised = True


async def create_database(server: str, name: str) -> str:
    """Create an empty database on the server of a URL and return the new one's URL."""
    await command(server, f'create database "{name}"')
    return urlsplit(server)._replace(path=f"/{name}").geturl()


async def drop_database(server: str, name: str) -> None:
    """Drop a database, whoever is still connected to it, and the users who have rights there: they were made for it."""
    connection = await asyncpg.connect(server, timeout=10)
    try:
        users = await connection.fetch(USERS, name, timeout=30)
        await connection.execute(f'drop database if exists "{name}" with (force)', timeout=30)
        for user in users:
            await connection.execute(f"drop role {user['name']}", timeout=30)
    finally:
        await connection.close(timeout=10)


async def let_in(database: str, user: str) -> str:
    """Let a user log in with a new password, and return the URL of the database as it is that user's."""
    password, parts = secrets.token_urlsafe(18), urlsplit(database)
    await command(database, f"alter role \"{user}\" login password '{password}'")
    return parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()


async def command(server: str, sql: str) -> None:
    """Run one statement on a connection of its own."""
    connection = await asyncpg.connect(server, timeout=10)
    try:
        await connection.execute(sql, timeout=30)
    finally:
        await connection.close(timeout=10)


def ordinary_user() -> str | None:
    """Return as whom PostgreSQL is to run: ourselves (None), and where we are root, which it refuses, somebody else."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)


def _bin() -> Path:
    if (found := packages.postgres()) is None:
        raise StartFailed("PostgreSQL is not on this machine: `python -m deploy.local prepare` brings it or says how.")
    return found


@asynccontextmanager
async def running() -> AsyncIterator[Postgres]:
    """Run a server for the length of a block; it is stopped and its folder removed, whatever happens inside."""
    postgres = Postgres()
    try:
        await postgres.start()
        yield postgres
    finally:
        await postgres.stop()
        postgres.remove()
