"""Requests to the right broker, each with a deadline; aiokafka's client does connections, metadata and versions."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final

from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import IncompatibleBrokerVersion, KafkaConnectionError, KafkaError, NodeNotReadyError
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.metadata import MetadataRequest

from schemas.errors import Misconfigured
from workers.bus.kafka.codes import AGAIN, CONCURRENT_TRANSACTIONS, COORDINATOR_MOVED, NONE, Broken, Refused, spelt
from workers.bus.kafka.eos import Place
from workers.bus.kafka.reach import knock, told
from workers.bus.kafka.url import Address

GROUP: Final = CoordinationType.GROUP
TRANSACTION: Final = CoordinationType.TRANSACTION
CLOSING: Final = 2.0  # seconds for an aborted connection to go
MOMENT: Final = 0.005  # seconds: until the markers of the last transaction are written
PAUSE: Final = 0.05  # seconds: until leaders and coordinators have moved

Answer = Any  # aiokafka ships no types


class Wire:
    """Connections of one owner to all brokers. Closing aborts them: nothing that waits in their buffers goes out later."""

    def __init__(self, address: Address, *, patience: float) -> None:
        self._patience = patience
        self._coordinators: dict[tuple[int, str], int] = {}
        self._options = address.options()
        self.client = AIOKafkaClient(
            **self._options, client_id="ringhook", request_timeout_ms=int(patience * 1000), metadata_max_age_ms=60_000
        )

    async def open(self, topics: Collection[str] = ()) -> None:
        """Learn where brokers and these topics are, or raise Broken within the patience."""
        servers = ", ".join(self._options["bootstrap_servers"])
        async with self._patient(lambda: f"no broker in RINGHOOK_BUS_URL answers: {servers}"):
            try:
                await whole(self.client.bootstrap(), self._patience)
            except KafkaConnectionError as error:
                raise Broken(f"no broker in RINGHOOK_BUS_URL answers: {await self._obstacles()}") from error
        if topics:
            await self.know(topics)

    async def know(self, topics: Collection[str]) -> None:
        """Learn who leads these topics' partitions, instead of all others'."""
        async with self._patient(lambda: "who leads what"):
            await self.client.set_topics(topics)

    async def ask(self, node: int, request: object, *, coordination: bool = False, over: object = None) -> Answer:
        """Return a broker's answer, or raise Broken within the patience; `over`: on this connection or not at all."""
        group = ConnectionGroup.COORDINATION if coordination else ConnectionGroup.DEFAULT
        async with self._patient(lambda: f"{_name(request)} to {self._who(node)}"):
            if over is not None and self._live(node, group) is not over:
                raise Broken(f"{_name(request)} to {self._who(node)}: the connection is another one now")
            try:
                return await self.client.send(node, request, group=group)
            except NodeNotReadyError as error:
                raise Broken(await self._unreached(node)) from error
            except RuntimeError as error:
                if "closed" not in str(error):  # uvloop's word for a connection that ended just now
                    raise
                raise Broken(f"{_name(request)} to {self._who(node)}: the connection was closed") from error

    async def insist(
        self, kind: int, key: str, request: object, code: Callable[[Answer], int], *, deadline: float, over: object = None
    ) -> Answer:
        """Return the coordinator's answer, asking again while it says so; `deadline` is in the loop's time.

        Broken: no answer, or there is another connection than `over`. Refused: an answer that asking again will not change, or
        not until the deadline.
        """
        while True:
            node = await self.coordinator(kind, key)
            answer = await self.ask(node, request, coordination=True, over=over)
            if (said := code(answer)) == NONE:
                return answer
            if said in COORDINATOR_MOVED:
                self.forget(kind, key)
            pause = MOMENT if said == CONCURRENT_TRANSACTIONS else PAUSE
            if said not in AGAIN or asyncio.get_running_loop().time() + pause > deadline:
                raise Refused(_name(request), said)
            await asyncio.sleep(pause)

    async def coordinator(self, kind: int, key: str) -> int:
        """Return the node that coordinates this group or transactional id."""
        if (node := self._coordinators.get((kind, key))) is not None:
            return node
        answer = await self.ask(self.anyone(), FindCoordinatorRequest(key, kind))
        if answer.error_code != NONE:
            raise Broken(f"no coordinator for {key}: Kafka says {spelt(answer.error_code)}")
        found: int = answer.coordinator_id
        self._coordinators[(kind, key)] = found
        return found

    def held(self, kind: int, key: str) -> object | None:
        """Return the connection to the coordinator as far as there is one: the same object, the same process beyond it."""
        node = self._coordinators.get((kind, key))
        return None if node is None else self._live(node, ConnectionGroup.COORDINATION)

    def forget(self, kind: int, key: str) -> None:
        """Look for the coordinator anew next time."""
        self._coordinators.pop((kind, key), None)

    def leader(self, place: Place) -> int | None:
        """Return the node that leads a partition, None while nobody is known to."""
        node: int | None = self.client.cluster.leader_for_partition(place)
        return None if node is None or node < 0 else node

    def count(self, topic: str) -> int | None:
        """Return how many partitions a topic has, None if it is not there."""
        found: set[int] | None = self.client.cluster.partitions_for_topic(topic)
        return len(found) if found else None

    async def listed(self) -> frozenset[str]:
        """Return the topics that some broker lists, as far as we may know of them; none where it has just started."""
        answer = await self.ask(self.anyone(), MetadataRequest(None))
        return frozenset(topic for code, topic, *_ in answer.topics if code == NONE)

    def anyone(self) -> int:
        """Return some broker; Broken if none is known."""
        node: int | None = self.client.get_random_node()
        if node is None:
            raise Broken("no broker is known")
        return node

    def everyone(self) -> list[int]:
        """Return the brokers that are known."""
        return sorted(broker.nodeId for broker in self.client.cluster.brokers())

    async def heard(self) -> None:
        """Return once some broker has answered, or raise Broken."""
        error = Broken("no broker is known")
        for node in self.everyone():
            try:
                await self.ask(node, MetadataRequest([]))
            except Broken as broken:
                error = broken
            else:
                return
        raise error

    async def highest(self, api: int) -> int:
        """Return the highest version of an API that some broker speaks; Broken if it cannot be asked."""
        node = self.anyone()
        async with self._patient(lambda: f"the version of {self._who(node)}"):
            conn = await self.client._get_conn(node)  # noqa: SLF001 (aiokafka tells versions nowhere else)
            if conn is None:
                raise Broken(await self._unreached(node))
            return int(conn._versions.get(api, (0, -1))[1])  # noqa: SLF001 (same)

    async def refresh(self) -> None:
        """Ask anew who leads what; a failure is left to the next request."""
        with contextlib.suppress(Broken):
            async with self._patient(lambda: "who leads what"):
                await self.client.force_metadata_update()

    async def close(self) -> None:
        """Abort all connections, bounded."""
        for conn in self.client._conns.values():  # noqa: SLF001 (aiokafka's close would wait for a frozen broker)
            if conn._writer is not None:  # noqa: SLF001 (same)
                conn._writer.transport.abort()  # noqa: SLF001 (same)
        with contextlib.suppress(TimeoutError, KafkaError, OSError):
            async with asyncio.timeout(CLOSING):
                await self.client.close()

    def _live(self, node: int, group: int) -> object | None:
        """Return the connection that aiokafka would send on at this moment."""
        conn = self.client._conns.get((node, group))  # noqa: SLF001 (aiokafka tells of connections nowhere else)
        return conn if conn is not None and conn.connected() else None

    @contextlib.asynccontextmanager
    async def _patient(self, what: Callable[[], str]):  # type: ignore[no-untyped-def]  # noqa: ANN202
        try:
            async with asyncio.timeout(self._patience):
                yield
        except IncompatibleBrokerVersion as error:
            raise Misconfigured(str(error)) from error
        except (KafkaError, OSError, TimeoutError, EOFError) as error:
            raise Broken(f"{what()}: {told(error)}") from error

    async def _obstacles(self) -> str:
        """Return what stands between us and each address of the URL."""
        places = sorted((host, port) for host, port, _ in self.client.hosts)
        found = await asyncio.gather(*(knock(self._options, host, port) for host, port in places))
        return "; ".join(f"{host}:{port}: {words}" for (host, port), words in zip(places, found, strict=True))

    async def _unreached(self, node: int) -> str:
        """Return why there is no connection to a broker at the address that it announces itself."""
        if (broker := self.client.cluster.broker_metadata(node)) is None:
            return f"broker {node} is not known any more"
        words = await knock(self._options, broker.host, broker.port)
        return f"{self._who(node)}, as it announces itself (advertised.listeners), cannot be reached: {words}"

    def _who(self, node: int) -> str:
        broker = self.client.cluster.broker_metadata(node)
        return f"broker {node}" if broker is None else f"broker {node} at {broker.host}:{broker.port}"


async def whole(making: Coroutine[Any, Any, object], patience: float) -> None:
    """Let aiokafka finish what it makes even if nobody waits any more: cut short it leaves a connection open."""
    task = asyncio.ensure_future(making)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=patience)
        task.cancel()
        raise


def _name(request: object) -> str:
    return str(getattr(request, "name", type(request).__name__))
