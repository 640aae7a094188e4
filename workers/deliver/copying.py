"""The job that copies a range of what was recorded onto one destination's own topic: each event once, whatever is killed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Table

from schemas.filters import Wants
from schemas.topics import EVENT_RECORDED
from workers.bus.contract import Held, Record
from workers.deliver.parcel import packed
from workers.deliver.replay import Replay, again, matching, note
from workers.runtime.jobs import Step


@dataclass(frozen=True)
class Copying:
    """Job: reads on beyond the range until somebody sees that it is through with it."""

    replay: Replay
    takes: Wants  # what the destination's own filter says, to which what is asked for by its id is not held
    topics: Collection[str] = (EVENT_RECORDED.name,)
    stepped: Collection[Table] = ()  # what it counts is about right
    wants: Wants = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "wants", matching(self.replay.wanted))

    @property
    def name(self) -> str:
        """Its consumer group."""
        return self.replay.group

    async def __call__(self, batch: Sequence[Held], step: Step, now: datetime) -> Sequence[Sequence[Record]]:
        """Return each record of the range that is wanted, as it goes to the destination."""
        del now
        within = [held for held in batch if self.replay.begin_at <= held.time.timestamp() < self.replay.end_at]
        wanted = {held.offset for held in within if self._wants(held)}
        await note(step.connection, self.replay.id, len(within), len(wanted))
        return [(self._again(held),) if held.offset in wanted else () for held in batch]

    def _wants(self, held: Held) -> bool:
        event = packed(held).event  # what is none, live delivery has buried
        return event is not None and self.wants(event) and (self.replay.wanted.named or self.takes(event))

    def _again(self, held: Held) -> Record:
        return again(held, self.replay.id, self.replay.destination, named=self.replay.wanted.named)

    async def due(self, step: Step, limit: int, now: datetime) -> Sequence[Record]:
        """Owe nothing."""
        del step, limit, now
        return ()
