"""The deliveries of one process: one for each destination, and which these are may change while they run."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from schemas.topics import delivery
from workers.bus.contract import Stop
from workers.runtime.lag import unwatch
from workers.runtime.supervise import FATAL, Worker, supervise


class Service(Protocol):
    """A destination with all that it takes to deliver to it."""

    @property
    def name(self) -> str:
        """What the destination is called."""
        ...

    @property
    def made_of(self) -> object:
        """What equals another's where nothing has changed."""
        ...


S = TypeVar("S", bound=Service)


class Change(msgspec.Struct, frozen=True):
    """What becomes of destinations: names, each list in their order."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    kept: Mapping[str, int] = {}  # that would be removed, but have so many events that they have not got


def change(now: Iterable[S], wanted: Iterable[S], behind: Mapping[str, int], drop: Collection[str]) -> Change:
    """Return what it takes to come from some services to others; one with a backlog goes only if it is named in `drop`."""
    before, after = {one.name: one for one in now}, {one.name: one for one in wanted}
    going = sorted(before.keys() - after.keys())
    kept = {name: behind[name] for name in going if behind.get(name) and name not in drop}
    return Change(
        added=tuple(sorted(after.keys() - before.keys())),
        changed=tuple(sorted(name for name in before.keys() & after.keys() if after[name].made_of != before[name].made_of)),
        removed=tuple(name for name in going if name not in kept),
        kept=kept,
    )


@dataclass
class Run(Generic[S]):
    """A destination to which is delivered."""

    service: S
    workers: Sequence[Worker]
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None


class Fleet(Generic[S]):
    """A worker that runs the workers of each destination, every one with its own stop."""

    name: Final = "deliveries"

    def __init__(
        self, services: Iterable[S], make: Callable[[S], Sequence[Worker]], behind: Callable[[str], Awaitable[int]]
    ) -> None:
        """`behind` measures how many events a destination has not got."""
        self._make, self._behind = make, behind
        self._runs = {service.name: Run(service, make(service)) for service in services}
        self._tasks: asyncio.TaskGroup | None = None
        self._over = asyncio.Event()  # no worker may go on
        self._ending = False
        self._fatal: BaseException | None = None

    async def run(self, stop: Stop) -> None:
        """Deliver until `stop`, or until an error after which no worker may go on, which is raised once all have ended."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                for run in self._runs.values():
                    self._begin(run)
                self._tasks.create_task(self._until(stop), name="deliveries.until")
        finally:
            self._tasks = None
        if self._fatal:
            raise self._fatal

    async def become(self, services: Collection[S], drop: Collection[str]) -> Change:
        """Deliver to these from now on; return what changed. What ends lets its requests end, and its place is kept."""
        found = await self.planned(services, drop)
        wanted = {service.name: service for service in services}
        for name in found.added:
            self._start(wanted[name])
        successions = [self._succeed(wanted[name]) for name in found.changed]
        await asyncio.gather(*successions, *map(self._end, found.removed))
        return found

    async def _succeed(self, service: S) -> None:
        """Let a changed one begin once its predecessor has ended, which other destinations do not wait for."""
        await self._end(service.name)
        self._start(service)

    def _start(self, service: S) -> None:
        self._runs[service.name] = Run(service, self._make(service))
        self._begin(self._runs[service.name])

    async def planned(self, services: Collection[S], drop: Collection[str]) -> Change:
        """Return what `become` would do."""
        going = self._runs.keys() - {service.name for service in services}
        behind = {name: await self._behind(name) for name in going}
        return change([run.service for run in self._runs.values()], services, behind, drop)

    def _begin(self, run: Run[S]) -> None:
        if self._tasks and not self._ending:
            run.task = self._tasks.create_task(self._keep(run), name=f"deliveries.{run.service.name}")

    async def _keep(self, run: Run[S]) -> None:
        try:
            await supervise(run.workers, run.stop)
        except FATAL as fatal:
            self._fatal = self._fatal or fatal
            self._over.set()

    async def _until(self, stop: Stop) -> None:
        """Pass the end on."""
        waiters = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(self._over.wait())]
        try:
            await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiter in waiters:
                waiter.cancel()
            self._ending = True
            for run in self._runs.values():
                run.stop.set()

    async def _end(self, name: str) -> None:
        run = self._runs.pop(name)
        run.stop.set()
        if run.task:
            await asyncio.wait([run.task])
        unwatch(delivery(name))
