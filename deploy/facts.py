"""What the findings are made of, gathered from where each part keeps it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from linker.recent import Recent
from schemas.findings.facts import Facts, Met, Served
from workers.deliver.standing import Destinations, Standing
from workers.dispatch.census import queues
from workers.notice import Seen, first_contacts
from workers.runtime.clock import utc_now
from workers.runtime.database import Database


@dataclass(frozen=True)
class Gathered:
    """Gathers the facts anew at each call; raises StoreUnavailable."""

    database: Database
    destinations: Destinations
    clock: Callable[[], datetime] = utc_now

    async def __call__(self) -> Facts:
        """Return how things stand now."""
        now, recent = self.clock(), Recent(self.database)
        return Facts(
            now=now.timestamp(),
            contacts=tuple(map(_met, await first_contacts(self.database))),
            links=await recent.links(),
            sign_ins=await recent.sign_ins(),
            reconnect=await recent.reconnect(),
            waiting_since=min((queue.since for queue in await queues(self.database) if queue.since), default=None),
            destinations=tuple(map(_served, await self.destinations.standing(now))),
        )


def _met(seen: Seen) -> Met:
    first, last = seen.first_at.timestamp(), seen.last_at.timestamp()
    return Met(kind=seen.kind, proven=seen.proven, first_at=first, last_at=last, count=seen.count, detail=seen.detail)


def _served(one: Standing) -> Served:
    return Served(name=one.name, state=one.state, failure=one.failure, behind=one.behind, behind_since=one.behind_since_at)
