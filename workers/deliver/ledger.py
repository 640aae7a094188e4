"""What of a lane is finished, and who knows: the bus by position and note, the store by steps, the lane's next owner by both.

What waits in rows is written to the store as step n + 1, which the next commit makes true (correctness.md §2).
"""

import asyncio
from typing import Final

from schemas.errors import Unavailable
from workers.bus.contract import Lane, Revoked, Start, Unknown
from workers.deliver import metrics
from workers.deliver.finished import Finished, Known
from workers.deliver.flight import Flight
from workers.deliver.parcel import Parcel
from workers.deliver.parked import Kept, Parked
from workers.deliver.store import Shelf, Store
from workers.deliver.window import Window
from workers.deliver.window import noted as step_of
from workers.runtime import lane as runtime
from workers.runtime.clock import steady
from workers.runtime.insist import Insist
from workers.runtime.storefault import OutcomeUnknown
from workers.runtime.waiting import STEPPED

STEP_S: Final = 0.5  # steps for events that only join what waits come no faster
MARKS_S: Final = 5.0  # nor for marks of what was buried alone than this: only a kill loses them
PROVEN_FOR_S: Final = 8.0  # no request starts on an older proof that the lane is ours
ANSWERS_IN_S: Final = 1.0  # nor while a commit waits longer for its answer: what is accepted then may never be told
COMMIT_DEADLINE_S: Final = 15.0
TIDY_EVERY_S: Final = 60.0
AT_ONCE: Final = 5_000  # rows that are forgotten then: more than a lane may note meanwhile


class Ledger:
    """Tells what is finished of a lane, while its session lasts."""

    window: Window[Parcel]
    parked: Parked[Parcel]

    def __init__(self, lane: Lane, topic: str, store: Store, *, flight: Flight, finished: Finished, insist: Insist) -> None:
        """`finished` outlives the lane's sessions."""
        self.shelf = Shelf(store, lane.index, flight.destination.key)
        self.refused = False  # the store did not take the last step: what it does not know to be done must not be overtaken
        self._lane, self._topic, self._flight = lane, topic, flight
        self._store = runtime.Session(store.database, store.group, lane.index, STEPPED, read=step_of)
        self._finished, self._insist = finished, insist
        self._tidied_at = self._stepped_at = steady()
        self._settled_n = 0  # as the lane's row has it
        self._proven = self._committed_at = 0.0
        self._out_since: float | None = None  # since when a commit is out
        self._committed = 0  # the window's changes when it was last committed

    async def open(self) -> tuple[Start, list[Kept], list[str]]:
        """Return where the lane begins, what of it waits in rows, and the marks of buried keys. Revoked: it is not ours."""
        asked = steady()
        start = await self._store.open(self._lane, self._insist)
        self._proven = self._committed_at = asked
        found = Known(start.next[self._topic], step_of(start.note))
        kept, marks, noted = await self._insist(lambda: self.shelf.kept(found))
        self._finished.begin(found, noted, rows=bool(kept))
        return start, kept, marks

    def begin(self, window: Window[Parcel], parked: Parked[Parcel]) -> None:
        """Tell of these from now on."""
        self.window, self.parked = window, parked

    @property
    def news(self) -> bool:
        """Say whether there is something to tell."""
        return self.window.changes != self._committed or self._step_due()

    @property
    def age(self) -> float:
        """Return for how many seconds nothing was told."""
        return steady() - self._committed_at

    def ours(self) -> bool:
        """Say whether the lane was proven to be ours within the last seconds, and the bus answers."""
        answers = self._out_since is None or steady() - self._out_since < ANSWERS_IN_S
        return answers and steady() - self._proven < PROVEN_FOR_S

    async def commit(self, *, last: bool = False) -> None:
        """Tell the store and the bus what is new. Revoked: the lane is another's; Unknown: nobody can say what was told."""
        untold = self._finished.untold()
        n = await self._write(last=last)
        asked, changes, known = steady(), self.window.changes, Known(self.window.next(), n)
        await self._ask(known.next, self.window.note(n))
        self._proven = self._committed_at = asked
        self._committed, self._store.n = changes, n
        self._finished.told(() if self.refused else untold, known)  # of rows the store has to know it, too

    async def commit_early(self) -> None:
        """Tell what is finished before what is under way has ended: that may take long."""
        if self.window.changes != self._committed:
            await self.commit()

    async def close(self) -> None:
        """Tell all, and that the last step is true; what cannot be told is left for the lane's next owner."""
        try:
            if self.window.changes != self._committed or self.parked.changed:
                await self.commit(last=True)
            await self._store.settle()
        except Revoked:
            await self.leave()
        except Unavailable:
            return  # the next owner finds out by itself which steps were true

    async def leave(self) -> None:
        """Write down what the bus may not know, so that the next owner does, wherever it is; else it sends that again."""
        if events := self._finished.left():
            try:
                await self.shelf.note(events)
            except Unavailable as error:
                self._insist.refused(error)
            else:
                self._finished.noted(events)

    async def tidy(self) -> None:
        """Once a minute note the last true step in the lane's row, and forget what was noted and then told.

        Where the store is away, another time.
        """
        if steady() - self._tidied_at < TIDY_EVERY_S:
            return
        self._tidied_at = steady()
        try:
            if self._store.n != self._settled_n:
                await self._store.settle()
                self._settled_n = self._store.n
            if over := [*self._finished.over][:AT_ONCE]:
                await self.shelf.forget(over)
                self._finished.over.difference_update(over)
        except Unavailable as error:
            self._insist.refused(error)

    def _step_due(self) -> bool:
        """Say whether the store is to learn something: a step costs the same for one event that joins as for many."""
        pace = STEP_S if self.parked.moved else MARKS_S
        return self.parked.changed and (self.parked.urgent or steady() - self._stepped_at >= pace)

    async def _write(self, *, last: bool) -> int:
        """Write what changed of what waits, as step n + 1; return the n that the commit shall make true."""
        change = self.parked.change() if self._step_due() or (last and self.parked.changed) else None
        if not change:
            return self._store.n
        self._stepped_at = steady()
        try:
            async with self._store.step() as step:
                lines = await self.shelf.write(step, change, self.parked.stored(change), self._flight.now())
        except OutcomeUnknown as error:
            raise Unknown("the store did not say whether a step was written") from error
        except Unavailable as error:
            self._insist.refused(error)  # what joins stays open in the window meanwhile
            self.refused = True
            return self._store.n
        self.refused = False
        self.parked.written(change, lines)
        for items in change.joining.values():
            self.window.finish(items)
            metrics.PARKED.labels(destination=self._flight.destination.name).inc(len(items))
        return self._store.n + 1

    async def _ask(self, position: int, note: bytes) -> None:
        self._out_since = steady()
        asking = asyncio.ensure_future(self._lane.commit({self._topic: position}, note))
        try:
            async with asyncio.timeout(COMMIT_DEADLINE_S):
                while not (await asyncio.wait([asking], timeout=ANSWERS_IN_S))[0]:
                    await self.leave()  # whoever ends this process does not wait for the bus
                await asking
        except TimeoutError:
            raise Unknown("a commit missed its deadline") from None
        finally:
            asking.cancel()
            self._out_since = None
