"""One real Kafka, one real PostgreSQL, and the processes that are measured on them."""

import asyncio
import contextlib
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import orjson
import psutil

from deploy import migrations
from deploy.demo.installation import Installation
from deploy.local import kafka, ports, postgres
from deploy.local.kafka import Kafka
from deploy.local.postgres import Postgres
from deploy.local.process import Process, StartFailed
from schemas import topics
from tests.chaos.world import installation
from workers.bus import kafka as kafka_bus
from workers.bus import sqlite
from workers.bus.contract import Bus

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BASELINES = HERE / "baselines"
DESTINATIONS = ["sink"]
SHORT_WAITS = ("RINGHOOK_WAITING_S", "RINGHOOK_WAITING_PER_ACCOUNT")  # the chaos test's: here as an operator has it by default


@dataclass(frozen=True)
class Ground:
    """The servers, shared by all rows; each row takes a namespace and a database of its own."""

    kafka: Kafka
    postgres: Postgres
    folder: Path

    def scratch(self) -> Path:
        """Return a new folder."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    async def database(self) -> str:
        """Return the URL of a new empty database."""
        return await self.postgres.create_database(f"bench_{uuid4().hex[:10]}")

    async def house(self, sink: "Sink | None" = None, more: Sequence[str] = ()) -> Installation:
        """Return an installation on Kafka and PostgreSQL, its tables and topics made (`more` destinations have theirs, too)."""
        made = self._installation(
            sink or Sink(9),
            RINGHOOK_BUS_URL=self.kafka.url,
            RINGHOOK_STORE_URL=await self.database(),
            RINGHOOK_NAMESPACE=f"b{uuid4().hex[:8]}",
            RINGHOOK_SINGLE_BROKER="yes",
        )
        await migrations.upgrade(made.environment["RINGHOOK_STORE_URL"])
        namespace = made.environment["RINGHOOK_NAMESPACE"]
        await kafka_bus.apply(
            self.kafka.url, namespace=namespace, topics=topics.declared([*DESTINATIONS, *more]), single_broker=True
        )
        return made

    def spent_by(self, made: Installation) -> dict[str, float]:
        """Return the CPU seconds that each role and both servers have used."""
        return spent_by(made) | {"Kafka": spent(self.kafka), "PostgreSQL": spent(self.postgres)}

    def small(self, sink: "Sink") -> Installation:
        """Return an installation on two SQLite files, for `up`."""
        return self._installation(sink)

    def _installation(self, sink: "Sink", **more: str) -> Installation:
        made = installation(self.scratch(), sink, **more)  # type: ignore[arg-type] # only its url is read
        for name in SHORT_WAITS:
            del made.environment[name]
        return made


@asynccontextmanager
async def standing() -> AsyncIterator[Ground]:
    """Run both servers for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="ringhook-bench-") as folder:
        async with kafka.running() as broker, postgres.running() as store:
            yield Ground(broker, store, Path(folder))


@asynccontextmanager
async def bus_of(made: Installation) -> AsyncIterator[Bus]:
    """Open the installation's bus in this process."""
    url, namespace = made.environment["RINGHOOK_BUS_URL"], made.environment.get("RINGHOOK_NAMESPACE", "ringhook")
    engine = kafka_bus if url.startswith("kafka") else sqlite
    async with engine.connect(url, namespace=namespace, topics=topics.declared(DESTINATIONS)) as bus:
        yield bus


@asynccontextmanager
async def script(path: Path, *arguments: object) -> AsyncIterator[Process]:
    """Run a Python file that says `ready` once it serves, for as long as the block lasts."""
    process = Process(path.stem)
    try:
        process.launch((sys.executable, str(path), *map(str, arguments)))

        async def serves() -> bool:
            return b"ready" in process.log.read_bytes()

        await process.ready(serves, within=30)
        yield process
    finally:
        await process.stop(signal.SIGTERM, within=5)
        process.remove()


async def result(*words: object, within: float = 90) -> Any:  # noqa: ANN401 - whatever JSON it prints
    """Run a program to its end and return the JSON of its last line."""
    pipe = asyncio.subprocess.PIPE
    ran = await asyncio.create_subprocess_exec(*map(str, words), stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(within):
            out, err = await ran.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            ran.kill()
        await ran.wait()
    if ran.returncode or not out.strip():
        raise StartFailed(f"{words[0]} ended with {ran.returncode}\n{err.decode(errors='replace')[-2000:]}")
    return orjson.loads(out.splitlines()[-1])


class Sink:
    """The sink's address, and what it says."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/"

    async def told(self) -> dict[str, Any]:
        """Return what it has seen: ids, requests, first, last."""
        return await self._ask("GET")

    async def late(self) -> list[float]:
        """Return how many seconds after its acceptance each event came, in order."""
        return sorted((await self._ask("GET", "late"))["late"])

    async def forget(self) -> None:
        """Let it begin anew."""
        await self._ask("DELETE")

    async def hold(self) -> None:
        """Let it answer nothing until `go`."""
        await self._ask("PUT", "hold")

    async def go(self) -> None:
        """Let it answer what it has kept waiting, and whatever comes."""
        await self._ask("PUT", "go")

    async def complete(self, count: int, *, within: float) -> dict[str, Any]:
        """Return what it saw once it has `count` different ids, or what it has when the time is over."""
        deadline = asyncio.get_running_loop().time() + within
        while (told := await self.told())["ids"] < count and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110 - another process counts
            await asyncio.sleep(0.25)
        return told

    async def _ask(self, method: str, path: str = "") -> dict[str, Any]:
        async with aiohttp.ClientSession() as client, client.request(method, self.url + path) as answer:
            return await answer.json() if method == "GET" else {}


@asynccontextmanager
async def sink() -> AsyncIterator[Sink]:
    """Run the sink for as long as the block lasts."""
    (port,) = ports.free()
    async with script(HERE / "sink.py", port):
        yield Sink(port)


def spent(process: Process | Kafka | Postgres) -> float:
    """Return the CPU seconds, user and system, that a process has used, and its children: PostgreSQL has one a connection."""
    mine = psutil.Process(process.pid)
    used = [one.cpu_times() for one in (mine, *mine.children(recursive=True))]
    return sum(one.user + one.system + one.children_user + one.children_system for one in used)


def spent_by(made: Installation) -> dict[str, float]:
    """Return the CPU seconds that each role has used."""
    return {name: spent(role.process) for name, role in made.roles.items()}


def peak(process: Process) -> float:
    """Return the largest resident size that a process has had, in MB of a million bytes (VmHWM)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024 / 1e6
