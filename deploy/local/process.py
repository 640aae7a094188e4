"""A server process of ours: in its own folder and session, ended by its pid, and never longer alive than we are."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

TETHER = Path(__file__).with_name("tether.py")
PREFIX = "ringhook"
POLL_S = 0.05


class StartFailed(RuntimeError):
    """The server did not become ready; the message holds the tail of its log."""


class Process:
    """One server that can be started, stopped, killed, frozen and thawed any number of times, in one folder.

    `user` is whom it runs as (None: as we do); `orphaned` is the signal it gets when we die, however we die.
    """

    def __init__(self, name: str, *, user: str | None = None, orphaned: signal.Signals = signal.SIGKILL) -> None:
        self.name = name
        self.user = user
        self.folder = _folder(name, user)
        self.log = self.folder / f"{name}.log"
        self._orphaned = orphaned
        self._popen: subprocess.Popen[bytes] | None = None
        self._frozen: list[int] = []

    @property
    def pid(self) -> int | None:
        """The process id while the process lives."""
        return self._popen.pid if self._popen is not None and self._popen.poll() is None else None

    @property
    def code(self) -> int | None:
        """How the process ended (minus the signal's number where one ended it); None while it lives or before it began."""
        return self._popen.poll() if self._popen is not None else None

    def run(self, command: Sequence[str], environ: Mapping[str, str] | None = None) -> str:
        """Run a command to its end as the server's user and return its output; StartFailed with what it printed if it fails."""
        done = subprocess.run(  # noqa: S603  # our own command line
            self._tethered(command),
            cwd=self.folder,
            env=_environ(environ),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode:
            raise StartFailed(f"{self.name}: {command[0]} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def launch(self, command: Sequence[str], environ: Mapping[str, str] | None = None) -> None:
        """Start the server in a session of its own, so that Ctrl-C reaches us alone; its output is appended to `log`."""
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(  # noqa: S603  # our own command line
                self._tethered(command),
                cwd=self.folder,
                env=_environ(environ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def ready(self, probe: Callable[[], Awaitable[bool]], *, within: float) -> None:
        """Return once `probe` says True; StartFailed when the process ends before or `within` seconds have passed."""
        deadline = time.monotonic() + within
        while not await probe():
            if self.pid is None or time.monotonic() > deadline:
                why = f"not ready within {within:g} s" if self.pid else "it ended by itself"
                raise StartFailed(f"{self.name} did not start: {why}. The end of its log:\n{self.tail()}")
            await asyncio.sleep(POLL_S)

    async def stop(self, how: signal.Signals, *, within: float = 15) -> None:
        """End the process by its pid; one that has not ended `within` seconds is killed."""
        await self.thaw()
        if self.pid is None:
            return
        os.kill(self.pid, how)
        if not await self._ended(within):
            await self.kill()

    async def kill(self) -> None:
        """End the process and its children by -9, and return once they are gone."""
        victims = self._family()
        _signal(victims, signal.SIGKILL)
        await self._ended(10)
        await _poll(lambda: not any(Path("/proc", str(pid)).exists() for pid in victims), 10)
        self._frozen = []

    async def freeze(self) -> None:
        """Stop the process and its children in mid-air (SIGSTOP), and return once none of their threads runs any more."""
        self._frozen = self._family()
        _signal(self._frozen, signal.SIGSTOP)
        await _poll(lambda: not any(map(_runs, self._frozen)), 10)

    async def thaw(self) -> None:
        """Let a frozen process go on; nothing happens to one that runs."""
        _signal(self._frozen, signal.SIGCONT)
        self._frozen = []

    def remove(self) -> None:
        """Forget the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def tail(self, lines: int = 30) -> str:
        """Return the end of the log."""
        with contextlib.suppress(FileNotFoundError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) or "(it wrote nothing)"
        return "(no log)"

    def _tethered(self, command: Sequence[str]) -> list[str]:
        return [sys.executable, "-I", "-S", str(TETHER), str(os.getpid()), str(int(self._orphaned)), self.user or "", *command]

    def _family(self) -> list[int]:
        return [] if self.pid is None else [self.pid, *_children(self.pid)]

    async def _ended(self, within: float) -> bool:
        return await _poll(lambda: self.pid is None, within)


def sweep(name: str) -> None:
    """Clear away the folders of servers of this name whose owner was killed."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}-{name}-*"):
        owner = left.name.split("-")[2]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(left, ignore_errors=True)


def _folder(name: str, user: str | None) -> Path:
    """Make a folder that says whose it is, and clear away those whose owner was killed."""
    sweep(name)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}-{name}-{os.getpid()}-"))
    if user is not None:
        shutil.chown(folder, user)
    return folder


def _environ(extra: Mapping[str, str] | None) -> dict[str, str]:
    """Servers see a path, a language and nothing else of ours."""
    return {"PATH": os.defpath, "LC_ALL": "C", **(extra or {})}


def _children(pid: int) -> list[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]
    return []


def _runs(pid: int) -> bool:
    """Say whether a thread of the process was not stopped yet: a signal is noticed by each of them in its own time."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        stats = [stat.read_text(encoding="utf-8", errors="replace") for stat in Path(f"/proc/{pid}/task").glob("*/stat")]
        return any(stat.rpartition(")")[2].split()[0] not in "TtZX" for stat in stats)
    return False


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


async def _poll(holds: Callable[[], bool], within: float) -> bool:
    """Say whether something came true in time; a process tells nobody when it ends, so we look."""
    deadline = time.monotonic() + within
    while not (held := holds()) and time.monotonic() < deadline:  # noqa: ASYNC110  # there is no event to wait for
        await asyncio.sleep(POLL_S)
    return held
