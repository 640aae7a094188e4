"""Requests to the right broker, each with a deadline; aiokafka's client does connections, metadata and versions."""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final

from aiokafka.client import AIOKafkaClient, ConnectionGroup, CoordinationType
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError

from schemas.errors import Misconfigured
from workers.bus.kafka.codes import AGAIN, CONCURRENT_TRANSACTIONS, COORDINATOR_MOVED, NONE, Broken, Refused
from workers.bus.kafka.eos import Place
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
        self.client = AIOKafkaClient(
            **address.options(), client_id="ringhook", request_timeout_ms=int(patience * 1000), metadata_max_age_ms=60_000
        )

    async def open(self, topics: Collection[str] = ()) -> None:
        """Learn where brokers and these topics are, or raise Broken within the patience."""
        async with self._patient("find the cluster"):
            await whole(self.client.bootstrap(), self._patience)
            if topics:
                await self.client.set_topics(topics)

    async def ask(self, node: int, request: object, *, coordination: bool = False) -> Answer:
        """Return a broker's answer, or raise Broken within the patience."""
        group = ConnectionGroup.COORDINATION if coordination else ConnectionGroup.DEFAULT
        async with self._patient(_name(request)):
            return await self.client.send(node, request, group=group)

    async def insist(self, kind: int, key: str, request: object, code: Callable[[Answer], int], *, deadline: float) -> Answer:
        """Return the coordinator's answer, asking again while it says so; `deadline` is in the loop's time.

        Broken: no answer. Refused: an answer that asking again will not change, or not until the deadline.
        """
        while True:
            node = await self.coordinator(kind, key)
            answer = await self.ask(node, request, coordination=True)
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
        async with self._patient("find the coordinator"):
            found: int = await self.client.coordinator_lookup(kind, key)
        self._coordinators[(kind, key)] = found
        return found

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

    def anyone(self) -> int:
        """Return some broker; Broken if none is known."""
        node: int | None = self.client.get_random_node()
        if node is None:
            raise Broken("no broker is known")
        return node

    async def highest(self, api: int) -> int:
        """Return the highest version of an API that some broker speaks; Broken if it cannot be asked."""
        async with self._patient("ask for versions"):
            conn = await self.client._get_conn(self.anyone())  # noqa: SLF001 (aiokafka tells versions nowhere else)
            if conn is None:
                raise Broken("no connection")
            return int(conn._versions.get(api, (0, -1))[1])  # noqa: SLF001 (same)

    async def refresh(self) -> None:
        """Ask anew who leads what; a failure is left to the next request."""
        with contextlib.suppress(Broken):
            async with self._patient("refresh metadata"):
                await self.client.force_metadata_update()

    async def close(self) -> None:
        """Abort all connections, bounded."""
        for conn in self.client._conns.values():  # noqa: SLF001 (aiokafka's close would wait for a frozen broker)
            if conn._writer is not None:  # noqa: SLF001 (same)
                conn._writer.transport.abort()  # noqa: SLF001 (same)
        with contextlib.suppress(TimeoutError, KafkaError, OSError):
            async with asyncio.timeout(CLOSING):
                await self.client.close()

    @contextlib.asynccontextmanager
    async def _patient(self, what: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
        try:
            async with asyncio.timeout(self._patience):
                yield
        except IncompatibleBrokerVersion as error:
            raise Misconfigured(str(error)) from error
        except (KafkaError, OSError, TimeoutError, EOFError) as error:
            raise Broken(f"{what}: {type(error).__name__}") from error


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
