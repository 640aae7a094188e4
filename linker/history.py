"""What the world was told of accounts: `account.changed` from its beginning to its end."""

import asyncio
from datetime import timedelta
from typing import Final
from uuid import uuid4

import msgspec

from schemas.errors import UNREADABLE
from schemas.records import AccountChanged
from schemas.topics import ACCOUNT_CHANGED, PARTITIONS
from workers.bus.contract import Bus, BusUnavailable, Held, Lane, Stop

TOPIC: Final = ACCOUNT_CHANGED.name
FETCH: Final = 500
QUIET: Final = 1.0
DEADLINE: Final = timedelta(minutes=10).total_seconds()
Told = dict[str, AccountChanged | None]  # None: it was forgotten


class _Reading:
    """One reading of all lanes, by a group that nobody else has."""

    def __init__(self, quiet: float) -> None:
        self._patience = quiet
        self.latest: Told = {}
        self.group = f"linker.restored.{uuid4().hex[:12]}"
        self._quiet = set[int]()
        self._moved = asyncio.Event()

    async def work(self, lane: Lane, stop: Stop) -> None:
        """Read one lane; its position is committed, so that another session goes on there."""
        start = await lane.open()
        position = start.next[TOPIC]
        while not stop.is_set():
            batch = await lane.fetch(FETCH, self._patience)
            for held in batch:
                self._take(held)
            if batch:
                position = batch[-1].offset + 1
                await lane.commit({TOPIC: position}, b"")
            self._note(lane.index, quiet=not batch)

    async def all_quiet(self) -> None:
        """Return when every lane has been read to where nothing came any more."""
        while len(self._quiet) < PARTITIONS:
            self._moved.clear()
            await self._moved.wait()

    def _note(self, index: int, *, quiet: bool) -> None:
        (self._quiet.add if quiet else self._quiet.discard)(index)
        self._moved.set()

    def _take(self, held: Held) -> None:
        try:
            said = msgspec.json.decode(held.value, type=AccountChanged) if held.value else None
        except UNREADABLE:
            return
        before = self.latest.get(name := held.key.decode(errors="replace"))
        if not (before and said and said.version < before.version):
            self.latest[name] = said


async def told(bus: Bus, quiet: float = QUIET) -> Told:
    """Return the last that was told of each account. Raises BusUnavailable where the bus does not give all of it in time.

    `quiet`: seconds without a record after which a lane's end may have been reached.
    """
    reading, stop = _Reading(quiet), asyncio.Event()
    try:
        async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
            tasks.create_task(bus.consume([TOPIC], reading.group, reading.work, stop, atomic=False), name="linker.history")
            await _read_up(bus, reading)
            stop.set()
    except TimeoutError as error:
        raise BusUnavailable from error
    return reading.latest


async def _read_up(bus: Bus, reading: _Reading) -> None:
    """Return when all lanes are quiet and the bus agrees that nothing is left; a broker that is slow looks quiet too."""
    await reading.all_quiet()
    for _ in range(10):
        if (await bus.lag(reading.group, [TOPIC])).records == 0:
            return
        await asyncio.sleep(QUIET)
        await reading.all_quiet()
