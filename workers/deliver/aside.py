"""Delivers what was put aside for a destination, while there is any: copies of what is replayed, letters that are sent anew."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from schemas.errors import Unavailable
from schemas.topics import EVENT_RECORDED, delivery_held
from workers.bus.contract import Bus, Stop, Work
from workers.deliver import replay as rows
from workers.deliver.copying import Copying
from workers.deliver.flight import Flight
from workers.deliver.replay import Replay, State, held_group
from workers.runtime.clock import utc_now
from workers.runtime.database import Database
from workers.runtime.drive import Drive
from workers.runtime.supervise import wait_or_stop

log = structlog.get_logger()
LOOK_S: Final = 1.0
PATIENCE_S: Final = 10.0
SETTLED_S: Final = (
    15.0  # until a record that was taken before a moment is visible: as long as a transaction may be open, and more
)

AFTER: Final[Mapping[State, State]] = {"copying": "sending", "sending": "done"}

Act = Callable[[Stop], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Run:
    """Something under way that can be asked to end."""

    stop: asyncio.Event
    task: "asyncio.Task[None]"


class Aside:
    """Looks every second for replays of its destination; nothing is read or held while there are none."""

    def __init__(self, bus: Bus, database: Database, flight: Flight, work: Work, tasks: asyncio.TaskGroup) -> None:
        """`work` delivers a lane of the destination's own topic."""
        self._bus, self._database, self._flight, self._work, self._tasks = bus, database, flight, work, tasks
        self._name = flight.destination.name
        self._runs: dict[str, Run] = {}  # by consumer group

    async def run(self, stop: Stop) -> None:
        """Copy and send until `stop`; what runs then is asked to end, and goes on at the next start."""
        while not stop.is_set():
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._turn()
            except (Unavailable, TimeoutError) as error:
                log.debug("replay.waits", destination=self._name, why=str(error))  # deliveries tell what is away
            await wait_or_stop(stop, LOOK_S)
        self._keep({})

    async def _turn(self) -> None:
        async with self._database.read() as connection:
            mine = await rows.of(connection, self._name)
        self._flight.cancelled = frozenset(one.id for one in mine if one.state == "cancelled")
        live = [one for one in mine if one.state in rows.OPEN]
        self._keep(self._wanted(live))
        self._flight.held = await self._left() if live else 0
        for one in live:
            await self._advance(one)

    def _wanted(self, live: Sequence[Replay]) -> Mapping[str, Act]:
        """Return what shall run."""
        wanted: dict[str, Act] = {one.group: self._copying(one) for one in live if one.state == "copying"}
        return wanted | {held_group(self._name): self._sending} if live else wanted

    def _copying(self, one: Replay) -> Act:
        return Drive(self._bus, Copying(one), self._database, start=datetime.fromtimestamp(one.begin_at, UTC)).run

    async def _sending(self, stop: Stop) -> None:
        await self._bus.consume([delivery_held(self._name).name], held_group(self._name), self._work, stop, atomic=False)

    def _keep(self, wanted: Mapping[str, Act]) -> None:
        """Begin what shall run and does not, ask the others to end; one that is ending begins again once it has ended."""
        self._runs = {group: run for group, run in self._runs.items() if not run.task.done()}
        for group, run in self._runs.items():
            if group not in wanted:
                run.stop.set()
        for group, act in wanted.items():
            if group not in self._runs:
                stop = asyncio.Event()
                self._runs[group] = Run(stop, self._tasks.create_task(act(stop), name=group))

    async def _advance(self, one: Replay) -> None:
        """Take a replay to its next state, once it is through with the present one."""
        now, after = utc_now(), AFTER[one.state]
        if not (await self._is_copied(one, now) if one.state == "copying" else await self._is_sent()):
            return
        async with self._database.begin() as connection:
            if await rows.become(connection, one, after, now):
                log.info("replay.moved", destination=self._name, replay=one.id, state=after, copied=one.copied)

    async def _is_copied(self, one: Replay, now: datetime) -> bool:
        if now.timestamp() < one.end_at + SETTLED_S or not await self._opened(one.group):
            return False
        oldest = (await self._bus.lag(one.group, [EVENT_RECORDED.name])).oldest
        return oldest is None or oldest.timestamp() >= one.end_at

    async def _is_sent(self) -> bool:
        return await self._opened(held_group(self._name)) and not await self._left()

    async def _left(self) -> int:
        return (await self._bus.lag(held_group(self._name), [delivery_held(self._name).name])).records

    async def _opened(self, group: str) -> bool:
        async with self._database.read() as connection:
            return await rows.opened(connection, group)
