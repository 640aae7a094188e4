"""One real Apache Kafka broker: KRaft, one node, a folder and two loopback ports of its own, kept over restarts."""

import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from deploy.local import jars, packages, ports
from deploy.local.process import Process, StartFailed

CLUSTER = "cmluZ2hvb2stbG9jYWwtMQ"  # any 16 bytes, base64url
CONFIG = "server.properties"
LOGGING = jars.RECIPE / "log4j2.properties"
READY = b"Kafka Server started"
START_S = 60

# Small and quick where production is large and patient; what concerns durability is Kafka's own default.
SETTINGS: Mapping[str, str] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "auto.create.topics.enable": "false",
    "default.replication.factor": "1",
    "min.insync.replicas": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "5",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "5",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",  # Kafka looks every 10 s
    "group.initial.rebalance.delay.ms": "0",
    "broker.session.timeout.ms": "3000",  # a killed broker may register again only after that; Kafka waits 9 s
    "broker.heartbeat.interval.ms": "500",
}


class Kafka:
    """A broker that survives everything but `remove`: started, stopped, killed, frozen, restarted on the same ports.

    `settings` go over those below, `java` are further options of the machine it runs on.
    """

    def __init__(self, *, settings: Mapping[str, str] | None = None, java: Sequence[str] = ()) -> None:
        self._java = ("-Xmx512m", f"-Dlog4j2.configurationFile={LOGGING}", *java)
        self.port, self._controller = ports.free(2)
        self._process = Process("kafka")
        self._settings = {**SETTINGS, **self._places(), **(settings or {})}
        self._formatted = False

    @property
    def url(self) -> str:
        """As RINGHOOK_BUS_URL takes it."""
        return f"kafka://127.0.0.1:{self.port}"

    @property
    def bootstrap(self) -> str:
        """As Kafka clients take it: host:port."""
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The broker's process id while it lives."""
        return self._process.pid

    async def start(self) -> None:
        """Return once the broker serves; StartFailed with the end of its log after 60 s."""
        if not self._formatted:
            self._format()
        begin = self._process.log.stat().st_size if self._process.log.exists() else 0
        self._process.launch(_java(*self._java, "kafka.Kafka", CONFIG))

        async def serves() -> bool:
            return READY in self._process.log.read_bytes()[begin:]

        await self._process.ready(serves, within=START_S)

    async def stop(self) -> None:
        """End the broker in peace (SIGTERM)."""
        await self._process.stop(signal.SIGTERM)

    async def kill(self) -> None:
        """End the broker by -9."""
        await self._process.kill()

    async def freeze(self) -> None:
        """Stop the broker in mid-air; clients see a connection that is silent."""
        await self._process.freeze()

    async def thaw(self) -> None:
        """Let a frozen broker go on."""
        await self._process.thaw()

    async def restart(self) -> None:
        """Stop and start again on the same ports with the same data."""
        await self.stop()
        await self.start()

    def remove(self) -> None:
        """Forget the data."""
        self._process.remove()

    def _places(self) -> dict[str, str]:
        folder = self._process.folder
        return {
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self._controller}",
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller}",
            "log.dirs": str(folder / "data"),
        }

    def _format(self) -> None:
        jars.verify()
        text = "".join(f"{name}={value}\n" for name, value in self._settings.items())
        (self._process.folder / CONFIG).write_text(text)
        self._process.run(_java("-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", CONFIG))
        self._formatted = True


def _java(*arguments: str) -> list[str]:
    if (java := packages.java()) is None:
        raise StartFailed("Java 17 or newer is not on this machine: `python -m deploy.local prepare` brings it or says how.")
    return [str(java), "-cp", f"{jars.JARS}/*", *arguments]


@asynccontextmanager
async def running(*, settings: Mapping[str, str] | None = None) -> AsyncIterator[Kafka]:
    """Run a broker for the length of a block; it is stopped and its folder removed, whatever happens inside."""
    kafka = Kafka(settings=settings)
    try:
        await kafka.start()
        yield kafka
    finally:
        await kafka.stop()
        kafka.remove()
