"""A whole installation of ringhook in a folder of its own: its processes, addresses and logs, for the demo and the tests."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp

from deploy.local import ports, postgres
from deploy.local.process import Process
from deploy.rights import RIGHTS, user

READY_S: Final = 30.0
STOPPED_S: Final = 20.0


class Role:
    """One `ringhook ROLE` as a process; it can be stopped, killed, frozen and started again on the same ports."""

    def __init__(self, role: str, directory: Path, environment: Mapping[str, str]) -> None:
        (port,) = ports.free(1)
        self.role = role
        self.internal = f"http://127.0.0.1:{port}"
        self.process = Process(role)
        self._directory = directory
        self._environment = {**environment, "RINGHOOK_INTERNAL_LISTEN": f"127.0.0.1:{port}"}

    async def start(self) -> None:
        """Start it and return once `/readyz` says 200; StartFailed with the end of its log if it does not."""
        command = (sys.executable, "-m", "deploy.command", self.role, "-C", str(self._directory))
        self.process.launch(command, self._environment)
        async with aiohttp.ClientSession() as client:
            await self.process.ready(lambda: _answers(client, f"{self.internal}/readyz"), within=READY_S)

    async def stop(self) -> None:
        """End it politely (SIGTERM)."""
        await self.process.stop(signal.SIGTERM, within=STOPPED_S)

    def log(self) -> str:
        """Return everything it wrote."""
        return self.process.log.read_text(errors="replace")


async def _answers(client: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with client.get(url, timeout=aiohttp.ClientTimeout(total=2)) as answer:
            return answer.ok
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


class Installation:
    """The processes of one installation: one configuration, one public address. `environment` holds RINGHOOK_… values."""

    def __init__(self, directory: Path, environment: Mapping[str, str], toml: str) -> None:
        (port,) = ports.free(1)
        self.directory = directory
        self.public = f"http://127.0.0.1:{port}"
        self.roles: dict[str, Role] = {}
        self._own: dict[str, dict[str, str]] = {}  # what a role alone has in its environment
        self.environment = {
            "RINGHOOK_PUBLIC_LISTEN": f"127.0.0.1:{port}",
            "RINGHOOK_PUBLIC_URL": self.public,
            "RINGHOOK_INGRESS_DRAIN_S": "0",  # no load balancer stands before it
            "RINGHOOK_BUS_URL": f"sqlite:///{directory}/bus.db",
            "RINGHOOK_STORE_URL": f"sqlite:///{directory}/store.db",
            **environment,
        }
        (directory / "ringhook.toml").write_text(toml)

    def add(self, role: str, copy: str = "") -> Role:
        """Add a role, or another copy of it, not yet started."""
        self.roles[role + copy] = Role(role, self.directory, self.environment | self._own.get(role, {}))
        return self.roles[role + copy]

    async def prepare(self) -> None:
        """Make tables and topics and, in PostgreSQL, each role's own user, as an operator would by `ringhook`'s commands."""
        await self._run("migrate")
        await self._run("topics", "apply")
        if (owners := self.environment["RINGHOOK_STORE_URL"]).startswith("postgresql"):
            await postgres.command(owners, await self._run("grants"))
            namespace = self.environment.get("RINGHOOK_NAMESPACE", "ringhook")
            for role in RIGHTS:
                self._own[role] = {"RINGHOOK_STORE_URL": await postgres.let_in(owners, user(namespace, role))}

    async def _run(self, *words: str) -> str:
        process = Process(words[0])
        try:
            command = (sys.executable, "-m", "deploy.command", *words, "-C", str(self.directory))
            return await asyncio.to_thread(process.run, command, self.environment)
        finally:
            process.remove()

    @asynccontextmanager
    async def running(self, *roles: str) -> AsyncIterator["Installation"]:
        """Run these roles for as long as the block lasts."""
        for role in roles:
            self.add(role)
        async with self.started():
            yield self

    @asynccontextmanager
    async def started(self) -> AsyncIterator[None]:
        """Start what was added; whatever was added by the end of the block is stopped then, and its log gone."""
        try:
            await asyncio.gather(*(role.start() for role in self.roles.values()))
            yield
        finally:
            await asyncio.gather(*(role.stop() for role in self.roles.values()))
            for role in self.roles.values():
                role.process.remove()

    @property
    def internal(self) -> str:
        """The internal address of `up`, or else of admin."""
        return (self.roles.get("up") or self.roles["admin"]).internal
