"""Replays as `/v1` asks for them: begun, listed, cancelled; rows that the copies of deliver look at every second."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from secrets import token_hex
from typing import Any

from schemas.events import Event
from workers.bus.contract import Held, Record
from workers.deliver import replay as rows
from workers.deliver.replay import Replay, Wanted, again, matching
from workers.runtime.database import Database


@dataclass(frozen=True)
class Replays:
    """The rows of one store."""

    database: Database

    def matches(self, filter_: dict[str, Any] | None, ids: Collection[str]) -> Callable[[Event], bool]:
        """Return what says whether an event is wanted. ValueError: what is wrong with the filter."""
        return matching(Wanted(filter_, tuple(ids)))

    async def begin(
        self,
        destination: str,
        span: tuple[datetime, datetime],
        filter_: dict[str, Any] | None,
        ids: Collection[str],
        *,
        total: int,
        by: str,
        now: datetime,
    ) -> Replay:
        """Hold the wish that what was recorded in a span (from, before) is sent again."""
        begin, end = (at.timestamp() for at in span)
        return await self._hold(
            Replay(
                id=token_hex(6),
                destination=destination,
                state="copying",
                wanted=Wanted(filter_, tuple(ids)),
                begin_at=begin,
                end_at=end,
                total=total,
                looked=0,
                copied=0,
                by=by,
                asked_at=now.timestamp(),
            )
        )

    async def prepare(self, name: str, destination: str, ids: Collection[str], *, by: str, now: datetime) -> None:
        """Hold the wish that records are sent that are about to be put on the destination's own topic."""
        at, count = now.timestamp(), len(ids)
        wanted = Wanted(ids=tuple(ids))
        made = Replay(
            id=name,
            destination=destination,
            state="preparing",
            wanted=wanted,
            begin_at=at,
            end_at=at,
            total=count,
            looked=count,
            copied=count,
            by=by,
            asked_at=at,
        )
        await self._hold(made)

    async def prepared(self, name: str, now: datetime) -> None:
        """Hear that they are there."""
        async with self.database.begin() as connection:
            if (found := await rows.find(connection, name)) and found.state == "preparing":
                await rows.become(connection, found, "sending", now)

    async def _hold(self, made: Replay) -> Replay:
        async with self.database.begin() as connection:
            await rows.begin(connection, made)
        return made

    async def every(self) -> Sequence[Replay]:
        """Return the latest, the newest first."""
        async with self.database.read() as connection:
            return await rows.every(connection)

    async def find(self, name: str) -> Replay | None:
        """Return one, or None."""
        async with self.database.read() as connection:
            return await rows.find(connection, name)

    async def cancel(self, name: str, now: datetime) -> Replay | None:
        """Send nothing more of it; return it as it is then, None where there is none. One that is over stays as it is."""
        async with self.database.begin() as connection:
            found = await rows.find(connection, name)
            while found and found.state in rows.OPEN and not await rows.become(connection, found, "cancelled", now):
                found = await rows.find(connection, name)
            return await rows.find(connection, name)

    def again(self, held: Held, name: str, destination: str) -> Record:
        """Return the record that brings an event to one destination once more, by the replay of that name."""
        return again(held, name, destination, named=True)
