"""Which of what lies on a destination's own topic is still to be sent: what a replay brought there that is not over."""

from collections.abc import Collection, Sequence

from workers.bus.contract import Held
from workers.deliver import replay as rows
from workers.deliver.parcel import REPLAY, text
from workers.runtime.database import Database


class Asked:
    """One session's knowledge of replays; each is asked for once, and one that ends meanwhile is the flight's to cancel.

    A replay's row is there before its first record, so the answer is the truth of every record that was fetched before.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._over: dict[str, bool] = {}

    async def over(self, batch: Sequence[Held]) -> Collection[str]:
        """Return the replays of these records that are over, or that nobody knows any more. Raises Unavailable."""
        names = {name for held in batch if (name := text(held, REPLAY)) is not None}
        if unknown := names - self._over.keys():
            async with self._database.read() as connection:
                still = await rows.still_open(connection, unknown)
            self._over |= {name: name not in still for name in unknown}
        return {name for name in names if self._over[name]}
