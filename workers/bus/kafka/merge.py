"""Commits that lanes ask for while one is under way become one: a transaction, or a request where the group has no outputs."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from workers.bus.contract import Record, Revoked, Unknown
from workers.bus.kafka.batch import size
from workers.bus.kafka.eos import Place
from workers.bus.kafka.group import Membership, Offsets
from workers.bus.kafka.transaction import Aborted, Carried
from workers.bus.kafka.transaction import Outputs as Written
from workers.bus.metrics import COMMITS_MERGED, RECORDS_PUBLISHED

MERGED_BYTES: Final = 4 * 1024 * 1024  # of outputs that one transaction carries, unless one commit alone has more
PATIENCE: Final = 5.0  # seconds that a transaction under way may take once the sessions end

Outputs = Sequence[tuple[Place, Record]]


class Ask:
    """One lane's commit."""

    def __init__(self, offsets: Offsets, outputs: Outputs) -> None:
        self.offsets = offsets
        self.outputs = outputs
        self.bytes = sum(size(record) for _, record in outputs)  # TooLarge: before anything is written
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def settle(self, error: Exception | None) -> None:
        """Tell the lane how it ended."""
        if self.future.done():
            return
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)
            self.future.exception()  # the lane may have been cancelled meanwhile


class Committer(Protocol):
    """Writes what several lanes asked for, one after the other."""

    async def run(self, outputs: Written, carried: Carried) -> None:
        """Return once all of it is written. Aborted: nothing is, nor will be. Whatever else is raised: perhaps."""
        ...


class Merger:
    """Commits for one set of sessions; the first commit that fails or stays unknown ends it."""

    def __init__(self, committer: Committer, me: Membership, ended: Callable[[str, str], None], *, pace: float = 0.0) -> None:
        """`pace`: seconds from one commit to the next, in which others may join."""
        self._committer, self._pace = committer, pace
        self._me = me
        self._ended = ended
        self._waiting: deque[Ask] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._task = asyncio.create_task(self._run(), name="bus.merge")

    async def commit(self, offsets: Offsets, outputs: Outputs) -> None:
        """Return once all is committed. Revoked: it never will be. Unknown: ask by a new session."""
        ask = Ask(offsets, outputs)
        if self._closed:
            raise Revoked
        self._waiting.append(ask)
        self._wake.set()
        try:
            await asyncio.shield(ask.future)
        except asyncio.CancelledError:
            if ask in self._waiting:  # not yet in a transaction: dropped
                self._waiting.remove(ask)
            raise

    async def close(self) -> None:
        """Drop what is not yet in a transaction; await the one under way, but not for ever."""
        self._close()
        _, late = await asyncio.wait([self._task], timeout=PATIENCE)
        for task in late:
            task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _close(self) -> None:
        self._closed = True
        self._wake.set()
        while self._waiting:
            self._waiting.popleft().settle(Revoked())

    async def _run(self) -> None:
        while not self._closed:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                due = asyncio.get_running_loop().time() + self._pace
                await self._transact(self._taken())
                await asyncio.sleep(due - asyncio.get_running_loop().time())

    def _taken(self) -> list[Ask]:
        taken, room = [self._waiting.popleft()], MERGED_BYTES
        room -= taken[0].bytes
        while self._waiting and self._waiting[0].bytes <= room:
            taken.append(self._waiting.popleft())
            room -= taken[-1].bytes
        return taken

    async def _transact(self, asks: Sequence[Ask]) -> None:
        outputs: dict[Place, list[Record]] = {}
        for place, record in (output for ask in asks for output in ask.outputs):
            outputs.setdefault(place, []).append(record)
        offsets = {place: offset for ask in asks for place, offset in ask.offsets.items()}
        error: Exception = Unknown()
        try:
            await self._committer.run(outputs, Carried(self._me, offsets))
        except Aborted as aborted:
            error = _because(Revoked(str(aborted)), aborted)
        except Exception as doubtful:  # noqa: BLE001 (Doubtful, or a bug: either way the lanes must look for themselves)
            error = _because(Unknown(str(doubtful)), doubtful)
        else:
            self._done(asks, sum(map(len, outputs.values())))
            return
        finally:
            for ask in asks:
                ask.settle(error)
        self._close()
        self._ended("unknown" if isinstance(error, Unknown) else "refused", str(error))

    def _done(self, asks: Sequence[Ask], records: int) -> None:
        COMMITS_MERGED.observe(len(asks))
        RECORDS_PUBLISHED.inc(records)
        for ask in asks:
            ask.settle(None)


def _because(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error
