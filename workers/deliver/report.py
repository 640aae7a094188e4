"""Keeps a destination's flight and its rows in step: what operators wish comes in, how it fares goes out."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Final

from msgspec.structs import replace

from schemas.errors import Unavailable
from workers.bus.contract import Lag, Stop
from workers.deliver import closed, copies
from workers.deliver.copies import Copy
from workers.deliver.flight import Flight
from workers.deliver.patience import LONGEST_S, told
from workers.deliver.resumed import NEVER
from workers.deliver.wishes import Wishes
from workers.runtime.backoff import Backoff
from workers.runtime.clock import utc_now
from workers.runtime.database import StoreUnavailable
from workers.runtime.supervise import wait_or_stop

LOOK_S: Final = 1.0
TELL_S: Final = 5.0
PATIENCE_S: Final = 5.0
ANSWERED: Final = "its answer 410"


class Reporter:
    """Looks every second, tells every five and on each change; while the store is away, what was known last stands."""

    def __init__(self, wishes: Wishes, flight: Flight, copy: str, lag: Callable[[], Lag | None]) -> None:
        self._wishes, self._flight, self._copy, self._lag = wishes, flight, copy, lag
        self._database = wishes.database
        self._told_at, self._told = 0.0, ("", 0)
        self._resumed: int | None = None  # how often, as it has heard; None: it was not here before

    async def begin(self, stop: Stop) -> None:
        """Learn whether the destination is closed, before anything is sent. Revoked: `stop` came first."""
        await told(partial(self._look, anew=True), self._name, stop)

    async def run(self, ended: Stop) -> None:
        """Look and tell until `ended`; then no copy of this name is there."""
        backoff = Backoff(first=LOOK_S, longest=LONGEST_S)
        while not ended.is_set():
            pause = LOOK_S
            try:
                await self._look()
                backoff.reset()
            except Unavailable:  # deliveries say so themselves: nothing is sent while nobody can say to whom
                pause += backoff.next()
            await wait_or_stop(ended, pause)
        await self._leave()

    @property
    def _name(self) -> str:
        return self._flight.destination.name

    async def _look(self, *, anew: bool = False) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._obey(anew=anew)
                await self._tell()
                await self._flight.tally.tell(self._database)
        except TimeoutError as error:
            raise StoreUnavailable("the store did not say in time which destinations are closed") from error

    async def _obey(self, *, anew: bool) -> None:
        flight, gone = self._flight, self._flight.health.gone
        if gone:
            async with self._database.begin() as connection:
                await closed.close(connection, self._name, "gone", ANSWERED, utc_now())
        wished = await self._wishes(anew=anew or gone)
        found, resumed = wished.closed.get(self._name), wished.resumed.get(self._name, NEVER)
        flight.resumed_at = datetime.fromtimestamp(resumed.at, UTC)
        if found:
            flight.health = replace(flight.health, gone=False)  # the row says it from now on, and for every copy
        if found and not flight.closed:
            flight.close(found)
        elif not found and (flight.closed or self._resumed not in {None, resumed.times}):
            flight.resume()
        self._resumed = resumed.times

    async def _tell(self) -> None:
        now, state = utc_now().timestamp(), self._flight.state(self._flight.now())
        told = state, self._resumed or 0
        if told == self._told and now - self._told_at < TELL_S:
            return
        async with self._database.begin() as connection:
            await copies.tell(connection, self._seen(state, now))
        self._told, self._told_at = told, now

    def _seen(self, state: str, now: float) -> Copy:
        flight, lag, tally = self._flight, self._lag(), self._flight.tally
        life, trouble, quiet = flight.health.life, flight.trouble, flight.health.quiet_until
        return Copy(
            destination=self._name,
            copy=self._copy,
            state=state,
            flying=flight.health.flying,
            waiting=flight.waiting(),
            next_at=flight.next_at(),
            held=flight.held,
            behind=lag.records if lag else None,
            behind_since=lag.oldest.timestamp() if lag and lag.oldest else None,
            lived_at=life.timestamp() if life else None,
            failed_at=trouble[0].timestamp() if trouble else None,
            failure=trouble[1] if trouble else None,
            seen_at=now,
            resumed=self._resumed or 0,
            quiet_until=quiet.timestamp() if quiet and quiet > flight.now() else None,
            takes=flight.takes.written(),
            accepted_at=tally.accepted_at,
            dead=tally.dead,
            dead_at=tally.dead_at,
        )

    async def _leave(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._flight.tally.tell(self._database)
                async with self._database.begin() as connection:
                    await copies.leave(connection, self._name, self._copy)
        except (Unavailable, TimeoutError):
            return  # it is missed after a quarter of a minute
