"""A whole installation of ringhook in a folder of its own: its processes, addresses and logs, for the demo and the tests."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Final

import aiohttp

READY_WITHIN: Final = 30.0  # seconds
STOPPED_WITHIN: Final = 20.0


def free_port() -> int:
    """Return a loopback port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """One running `ringhook ROLE`; killed with whoever started it."""

    def __init__(self, role: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.role = role
        self.internal = f"http://127.0.0.1:{free_port()}"
        self.log = folder / f"{role}.{self.internal.rpartition(':')[2]}.log"
        self._folder = folder
        self._environment = {**environment, "RINGHOOK_INTERNAL_LISTEN": self.internal.removeprefix("http://")}
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and return once it says it is ready; RuntimeError with the log's tail if it does not."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "deploy.command", self.role),
                cwd=self._folder,
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        await self.ready()

    async def ready(self) -> None:
        """Return once `/readyz` answers 200."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_WITHIN), aiohttp.ClientSession() as client:
                while self.running:
                    if await _answers(client, f"{self.internal}/readyz"):
                        return
                    await asyncio.sleep(0.05)
        tail = self.log.read_text(errors="replace")[-3000:]
        raise RuntimeError(f"ringhook {self.role} did not become ready; its log ends:\n{tail}")

    @property
    def running(self) -> bool:
        """Say whether the process lives."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Return the process id; it must have been started."""
        if self._process is None:
            raise RuntimeError(f"{self.role} was not started")
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send a signal, for example SIGSTOP."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    async def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        self.send(signal.SIGKILL)
        await self.wait()

    async def stop(self) -> int:
        """End it politely (SIGTERM) and return its exit code; SIGKILL where it does not obey in time."""
        if not self.running:
            return await self.wait()
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOPPED_WITHIN):
                return await self.wait()
        except TimeoutError:
            self.send(signal.SIGKILL)
            return await self.wait()

    async def wait(self) -> int:
        """Return the exit code once it has ended."""
        return await self._process.wait() if self._process else 0


async def _answers(client: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with client.get(url, timeout=aiohttp.ClientTimeout(total=2)) as answer:
            return answer.status == 200  # noqa: PLR2004 -- ready
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


class Installation:
    """The processes of one installation that share a folder, a configuration and a public address."""

    def __init__(self, folder: Path, environment: Mapping[str, str], toml: str) -> None:
        self.folder = folder
        self.public = f"http://127.0.0.1:{free_port()}"
        self.processes: dict[str, Process] = {}
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RINGHOOK_")},
            **environment,
            "RINGHOOK_PUBLIC_LISTEN": self.public.removeprefix("http://"),
            "RINGHOOK_PUBLIC_URL": self.public,
        }
        (folder / "ringhook.toml").write_text(toml)

    @contextlib.asynccontextmanager
    async def running(self, *roles: str) -> AsyncIterator["Installation"]:
        """Run these roles for as long as the block lasts."""
        try:
            await asyncio.gather(*(self.start(role) for role in roles))
            yield self
        finally:
            await asyncio.gather(*(process.stop() for process in self.processes.values()))

    async def start(self, role: str, copy: str = "") -> Process:
        """Start a role, or another copy of it under a name of its own."""
        process = Process(role, self.folder, self._environment)
        self.processes[role + copy] = process
        await process.start()
        return process

    async def restart(self, name: str) -> Process:
        """Start again what was killed or stopped, on the same ports."""
        process = self.processes[name]
        await process.start()
        return process
