"""Positions alone, in one request, for groups that put nothing on the bus."""

from workers.bus.kafka import group
from workers.bus.kafka.codes import Refused
from workers.bus.kafka.transaction import Aborted, Carried, Outputs
from workers.bus.kafka.wire import Wire


class Plain:
    """Commits positions without a transaction (a `Committer` of `merge.py`)."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.doubtful = False  # a commit was sent whose answer is missing: it could still come through

    async def run(self, outputs: Outputs, carried: Carried) -> None:
        """Commit once. Aborted: it was not written. Broken: it may have been, or may yet be."""
        del outputs  # there are none: `Sessions` sees to it
        self.doubtful = True
        try:
            await group.commit(self._wire, carried.me, carried.offsets)
        except Refused as error:
            self.doubtful = False
            raise Aborted(str(error)) from error
        self.doubtful = False
