"""A publisher that at most one process holds by its name: entering fences the former holder."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Final

from workers.bus.contract import BusUnavailable, Publisher, Record, Revoked
from workers.bus.kafka.batch import size
from workers.bus.kafka.codes import Broken, Refused
from workers.bus.kafka.eos import Place
from workers.bus.kafka.names import Names
from workers.bus.kafka.transaction import Aborted, Doubtful, Fenced, Transactor
from workers.bus.kafka.url import Address
from workers.bus.kafka.wire import Wire
from workers.bus.metrics import RECORDS_PUBLISHED

ANSWER: Final = 5.0  # seconds for a broker


@contextlib.asynccontextmanager
async def exclusive(address: Address, names: Names, name: str) -> AsyncIterator[Publisher]:
    """Hold the name until left or fenced; BusUnavailable if Kafka does not give it."""
    wire = Wire(address, patience=ANSWER)
    transactor = Transactor(wire, f"{names.namespace}.exclusive.{name}")
    try:
        try:
            await wire.open(names.all_physical())
            await transactor.begin()
        except (Refused, Aborted) as error:
            raise BusUnavailable(str(error)) from error
        yield Exclusive(transactor, names)
    finally:
        await wire.close()


class Exclusive:
    """Each publish is one transaction: readers see all of it or nothing."""

    def __init__(self, transactor: Transactor, names: Names) -> None:
        self._transactor = transactor
        self._names = names
        self._one = asyncio.Lock()

    async def publish(self, records: Sequence[Record]) -> None:
        """Return once all are held. Revoked: another holds the name. BusUnavailable: perhaps held. TooLarge: none is."""
        placed: dict[Place, list[Record]] = {}
        for record in records:
            size(record)
            placed.setdefault(self._names.place(record), []).append(record)
        if not placed:
            return
        async with self._one:
            try:
                await self._publish(placed)
            except Fenced as error:
                raise Revoked("another holds the name now") from error
            except (Aborted, Doubtful, Broken, Refused) as error:
                raise BusUnavailable(str(error)) from error
        RECORDS_PUBLISHED.inc(len(records))

    async def _publish(self, placed: dict[Place, list[Record]]) -> None:
        if not self._transactor.fit:
            await self._transactor.begin()  # only had while nobody else has taken the name
        await self._transactor.run(placed)
