"""Delivers what was put aside for a destination, while there is any: copies of what is replayed, letters that are sent anew."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import Final

import structlog

from schemas.errors import Unavailable
from schemas.topics import EVENT_RECORDED, delivery_held
from workers.bus.contract import Browser, Bus, BusBroken, Stop, Work
from workers.deliver import replay as rows
from workers.deliver.copying import Copying
from workers.deliver.flight import Flight
from workers.deliver.replay import Replay, State, held_group
from workers.deliver.wishes import Wishes
from workers.runtime.clock import utc_now
from workers.runtime.drive import Drive
from workers.runtime.supervise import Fatal, wait_or_stop

log = structlog.get_logger()
LOOK_S: Final = 1.0
PATIENCE_S: Final = 10.0
SETTLED_S: Final = 12.0  # until a record that was taken before a moment is visible: longer than a transaction may be open
SENT_S: Final = 5.0  # from the last copy on, before "nothing is left" is believed: its end may be on its way still
AGAIN_S: Final = 60.0  # until what crashed is tried again
PREPARED_S: Final = 60.0  # after which whoever put records aside has done so, or died
TOPIC: Final = EVENT_RECORDED.name
AFTER: Final[Mapping[State, State]] = {"preparing": "sending", "copying": "sending", "sending": "done"}

Act = Callable[[Stop], Awaitable[None]]


@dataclass(frozen=True)
class Run:
    """Something under way that can be asked to end."""

    stop: asyncio.Event
    task: "asyncio.Task[None]"


class Aside:
    """Looks every second for replays of its destination; nothing is read or held while there are none.

    Nothing of a replay may end what is live: what crashes is told, left alone for a minute, and begun again.
    """

    def __init__(self, bus: Bus, wishes: Wishes, flight: Flight, work: Work, tasks: asyncio.TaskGroup) -> None:
        """`work` delivers a lane of the destination's own topic."""
        self._bus, self._wishes, self._flight, self._work, self._tasks = bus, wishes, flight, work, tasks
        self._database = wishes.database
        self._name, self._grace = flight.destination.name, flight.destination.grace_s
        self._held, self._group = delivery_held(self._name).name, held_group(self._name)
        self._runs: dict[str, Run] = {}  # by consumer group
        self._rests: dict[str, float] = {}  # what crashed, and until when it is left alone
        self._seen: dict[tuple[str, State], float] = {}  # since when replays are seen in a state: hosts' clocks may differ

    async def run(self, stop: Stop) -> None:
        """Copy and send until `stop`; what runs then is asked to end, and goes on at the next start."""
        try:
            while not stop.is_set():
                await self._guarded("look", self._turn)
                await wait_or_stop(stop, LOOK_S)
        finally:
            self._keep({})

    async def _guarded(self, what: str, act: Callable[[], Awaitable[None]]) -> None:
        """Let nothing but the end of everything leave; what crashed is left alone for a minute."""
        if self._rests.get(what, 0.0) > monotonic():
            return
        try:
            await act()
        except (Fatal, BusBroken):
            raise
        except (Unavailable, TimeoutError) as error:
            log.debug("replay.waits", destination=self._name, why=str(error))  # deliveries tell what is away
        except Exception:
            self._rests[what] = monotonic() + AGAIN_S
            log.exception("replay.crashed", destination=self._name, what=what, again_in_s=AGAIN_S)

    async def _turn(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            wished = await self._wishes()
            live = wished.replays.get(self._name, ())
            self._flight.cancelled = wished.cancelled.get(self._name, frozenset())
            self._seen = {(one.id, one.state): self._seen.get((one.id, one.state), monotonic()) for one in live}
            self._keep(self._wanted(live))
            self._flight.held = (await self._bus.lag(self._group, [self._held])).records if live else 0
        if live:
            async with self._bus.browse() as browser:
                for one in live:
                    await self._guarded(f"advance {one.id}", partial(self._advance, one, browser))

    def _wanted(self, live: Sequence[Replay]) -> Mapping[str, Act]:
        """Return what shall run."""
        wanted: dict[str, Act] = {one.group: self._copying(one) for one in live if one.state == "copying"}
        return wanted | {self._group: self._send} if live else wanted

    def _copying(self, one: Replay) -> Act:
        async def copy(stop: Stop) -> None:
            start = datetime.fromtimestamp(one.begin_at, UTC)
            await Drive(self._bus, Copying(one, self._flight.wants), self._database, start=start).run(stop)

        return copy

    async def _send(self, stop: Stop) -> None:
        """Send from the topic, where the group is new or was forgotten from its first record on: of what is over nothing goes."""
        await self._bus.consume([self._held], self._group, self._work, stop, atomic=False, grace=self._grace)

    def _keep(self, wanted: Mapping[str, Act]) -> None:
        """Begin what shall run and does not, ask the others to end; one that is ending begins again once it has ended."""
        self._runs = {group: run for group, run in self._runs.items() if not run.task.done()}
        for group, run in self._runs.items():
            if group not in wanted:
                run.stop.set()
        for group, act in wanted.items():
            if group not in self._runs:
                stop = asyncio.Event()
                self._runs[group] = Run(stop, self._tasks.create_task(self._guarded(group, partial(act, stop)), name=group))

    async def _advance(self, one: Replay, browser: Browser) -> None:
        """Take a replay to its next state, once it is through with the present one."""
        now = utc_now()
        async with asyncio.timeout(PATIENCE_S):
            if not await self._is_through(one, browser, now):
                return
            await self._flight.tally.tell(self._database)  # so that whoever sees that it is done sees how
            async with self._database.begin() as connection:
                if await rows.become(connection, one, AFTER[one.state], now):
                    await rows.prune(connection, now.timestamp())
                    log.info("replay.moved", destination=self._name, replay=one.id, state=AFTER[one.state], copied=one.copied)

    async def _is_through(self, one: Replay, browser: Browser, now: datetime) -> bool:
        match one.state:
            case "preparing":
                return self._since(one) > PREPARED_S
            case "copying":
                return await self._is_copied(one, browser, now)
            case _:
                return await self._is_sent(one, browser)

    def _since(self, one: Replay) -> float:
        """Return for how many seconds a replay has been seen in its state."""
        now = monotonic()
        return now - self._seen.get((one.id, one.state), now)

    async def _is_copied(self, one: Replay, browser: Browser, now: datetime) -> bool:
        """Say whether the group has come past the span's end everywhere."""
        if now.timestamp() < one.end_at + SETTLED_S and self._since(one) < SETTLED_S:  # whoever wished it may be ahead of us
            return False
        ends = await browser.since(TOPIC, datetime.fromtimestamp(one.end_at, UTC))
        return await self._is_past(one.group, TOPIC, ends, browser)

    async def _is_sent(self, one: Replay, browser: Browser) -> bool:
        """Say whether nothing is left on the topic, nor then in rows: what moves there is in rows before its position is past."""
        if self._since(one) < SENT_S:
            return False
        ends = {span.index: span.next for span in await browser.spans(self._held)}
        if not await self._is_past(self._group, self._held, ends, browser):
            return False
        async with self._database.read() as connection:
            return not await rows.waits(connection, self._group)

    async def _is_past(self, group: str, topic: str, ends: Mapping[int, int], browser: Browser) -> bool:
        """Say whether a group has committed all records before these offsets; markers alone may be left."""
        committed = await self._bus.committed(group, topic)
        for index, end in ends.items():
            if (at := committed.get(index)) is None:
                return False
            if at < end and any(left.offset < end for left in await browser.read(topic, index, at, 1)):
                return False
        return True
