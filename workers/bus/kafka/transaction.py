"""One transactional producer: outputs and fenced offsets become visible together or neither does.

The requests of KIP-98 and KIP-447 in our own order: partitions are added and written, offsets are added and carried side by
side with that, then the end. Any failure leaves the producer unfit: only a new epoch tells what has become of the transaction.

A broker may forget the end that it has decided on: one that was killed and comes back writes no marker to a partition that has no
leader at that moment (KAFKA-20734). What the transaction had written would then count to the next one, and share its end. So with
each new epoch the former transaction's end is said again to everything it had touched; and a transaction only begins over the
connection over which the former one ended: another may lead to a broker that came back (decision 22).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import structlog
from aiokafka.protocol.transaction import AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest

from schemas.errors import RinghookError
from workers.bus.contract import Record
from workers.bus.kafka.batch import encode, slices
from workers.bus.kafka.codes import AGAIN, DUPLICATE_SEQUENCE, FENCED, NONE, Broken, Refused
from workers.bus.kafka.eos import Place, describe_transaction, init_producer_id, txn_offset_commit
from workers.bus.kafka.group import Membership, Offsets
from workers.bus.kafka.produce import produce
from workers.bus.kafka.wire import GROUP, PAUSE, TRANSACTION, Answer, Wire

TIMEOUT_MS: Final = 10_000  # after which the broker aborts a transaction of a dead producer, so that readers go on
WORK: Final = 4.0  # seconds for what comes before the end
END: Final = 4.0  # seconds for the end to be confirmed
BEGIN: Final = 8.0  # seconds for an epoch: a former transaction is ended first
SEQUENCES: Final = 2**30  # a sequence number wraps at 2**31; a new epoch begins at 0
ABORT: Final = 1.0  # seconds for a courtesy
COMMITTED: Final = ("PrepareCommit", "CompleteCommit")
UNKNOWN_ID: Final = 105  # the coordinator has never seen it, or not for a week
LOST: Final = object()  # no connection is this one

Outputs = Mapping[Place, Sequence[Record]]

log = structlog.get_logger()


class Aborted(RinghookError):
    """The transaction did not happen and never will."""


class Doubtful(RinghookError):
    """The transaction may have happened, or may yet."""


class Fenced(Aborted):
    """Another producer holds the transactional id now."""


class Carried(msgspec.Struct, frozen=True):
    """Positions that a transaction carries, and who moves them."""

    me: Membership
    offsets: Offsets


class Touched(msgspec.Struct):
    """What the last transaction of an id touched: some of it may lack its end until the next one ran. Outlives connections."""

    places: frozenset[Place] = frozenset()
    group: str | None = None
    committed: bool | None = None  # how it ended, once that is known

    def add(self, outputs: Outputs, carried: Carried | None) -> None:
        """Remember what a transaction is about to touch, beside the former one: only one of the two can lack its end."""
        self.places |= outputs.keys()
        self.group = carried.me.group if carried else self.group
        self.committed = None

    def settle(self, outputs: Outputs, carried: Carried | None) -> None:
        """Forget all but the transaction that is committed: it began after the former one's end was everywhere."""
        self.places, self.group, self.committed = frozenset(outputs), carried.me.group if carried else None, True

    def __bool__(self) -> bool:
        """Say whether there is anything."""
        return bool(self.places or self.group)


class Transactor:
    """Holds one epoch of a transactional id. One transaction at a time: callers wait for each other."""

    def __init__(self, wire: Wire, transactional_id: str, touched: Touched | None = None) -> None:
        self._wire = wire
        self._id = transactional_id
        self._touched = touched if touched is not None else Touched()
        self._producer = (-1, -1)
        self._sequences: dict[Place, int] = {}
        self._over: object | None = None  # the connection over which the last transaction ended
        self.written: set[Place] = set()  # every partition that has got outputs
        self.fit = False

    async def begin(self) -> None:
        """Take a new epoch: the former one's transaction is ended, its holder fenced. Broken, Refused: not had.

        With an epoch in hand the next one is only had while nobody else has taken one since: Fenced.
        """
        if self._touched and self._touched.committed is None:
            self._touched.committed = await self._committed()
        request = init_producer_id(self._id, TIMEOUT_MS, *self._producer)
        try:
            answer = await self._coordinator(request, BEGIN)
        except Refused as error:
            raise Fenced if error.code in FENCED else error from error
        self._producer = answer.producer_id, answer.producer_epoch
        self._sequences.clear()
        self._over = None
        if self._touched:
            await self._end_again()
        self.fit = True

    def renounce(self) -> None:
        """Let the next epoch fence whoever holds the id."""
        self.fit = False
        self._producer = (-1, -1)

    async def run(self, outputs: Outputs, carried: Carried | None = None) -> None:
        """Do one transaction. Aborted: nothing of it is visible. Doubtful: perhaps. After either, `begin` again."""
        self.fit, fit = False, self.fit
        if not fit:
            raise Aborted("the producer has no epoch")
        await self._unbroken()
        self._touched.add(outputs, carried)
        self.written |= outputs.keys()
        try:
            async with asyncio.timeout(WORK):
                await self._work(outputs, carried)
        except (Broken, Refused, TimeoutError) as error:
            await self._abort()
            raise _aborted(error) from error
        try:
            await self._end(commit=True)
        except (Broken, Refused) as error:
            raise Doubtful(str(error)) from error
        self._touched.settle(outputs, carried)
        self.fit = max(self._sequences.values(), default=0) < SEQUENCES

    async def _unbroken(self) -> None:
        """See to it that the former transaction has its end everywhere, if the coordinator may have been away since. Aborted."""
        if self._over is None or self._wire.held(TRANSACTION, self._id) is self._over:
            return
        try:
            await self.begin()
        except (Broken, Refused, TimeoutError) as error:
            raise _aborted(error) from error
        finally:
            self.fit = False

    async def _work(self, outputs: Outputs, carried: Carried | None) -> None:
        done = await asyncio.gather(self._write(outputs), self._carry(carried), return_exceptions=True)
        for result in done:
            if isinstance(result, BaseException):
                raise result

    async def _write(self, outputs: Outputs) -> None:
        if outputs:
            await self._add(list(outputs))
            await self._produce(outputs)

    async def _add(self, places: Sequence[Place]) -> None:
        topics: dict[str, list[int]] = {}
        for place in places:
            topics.setdefault(place.topic, []).append(place.partition)
        request = AddPartitionsToTxnRequest(self._id, *self._producer, list(topics.items()))
        await self._coordinator(request, WORK, _added, over=self._over)

    async def _add_offsets(self, group: str) -> None:
        await self._coordinator(AddOffsetsToTxnRequest(self._id, *self._producer, group), WORK, over=self._over)

    async def _produce(self, outputs: Outputs) -> None:
        queues = {place: list(slices(records)) for place, records in outputs.items()}
        while queues:
            await self._send({place: queue.pop(0) for place, queue in queues.items()})
            queues = {place: queue for place, queue in queues.items() if queue}

    async def _send(self, batches: Mapping[Place, Sequence[Record]]) -> None:
        left = {place: self._encoded(place, records) for place, records in batches.items()}
        while left:
            for place, code in (await produce(self._wire, left, WORK, self._id)).items():
                if code in (NONE, DUPLICATE_SEQUENCE):
                    del left[place]
                    self._sequences[place] = self._sequences.get(place, 0) + len(batches[place])
                elif code not in AGAIN:
                    raise Refused(f"produce to {place.topic}", code)
            if left:
                await self._wire.refresh()
                await asyncio.sleep(PAUSE)

    def _encoded(self, place: Place, records: Sequence[Record]) -> bytes:
        return encode(records, self._producer, self._sequences.get(place, 0), transactional=True)

    async def _carry(self, carried: Carried | None) -> None:
        if carried is None:
            return
        group = carried.me.group
        await self._add_offsets(group)
        request = txn_offset_commit(self._id, self._producer, carried.me.parts(), carried.offsets)
        await self._wire.insist(GROUP, group, request, _offsets_taken, deadline=_until(WORK))

    async def _end(self, *, commit: bool) -> None:
        """Ask for the end until the coordinator has said that it is so; asking again is harmless in one epoch."""
        request = EndTxnRequest(self._id, *self._producer, commit)
        self._over = self._wire.held(TRANSACTION, self._id) or LOST
        deadline = _until(END)
        while True:
            try:
                await self._coordinator(request, max(0.0, deadline - _until(0)))
            except Broken:
                if _until(PAUSE) > deadline:
                    raise
                self._wire.forget(TRANSACTION, self._id)
                await asyncio.sleep(PAUSE)
            else:
                return

    async def _committed(self) -> bool:
        """Say whether the coordinator has decided that the last transaction is committed."""
        try:
            answer = await self._coordinator(describe_transaction(self._id), WORK, _described)
        except Refused as error:
            if error.code == UNKNOWN_ID:
                return False
            raise
        return answer.transactions[0][2] in COMMITTED

    async def _end_again(self) -> None:
        """Give everything that the last transaction touched its marker, by an empty transaction with the same end."""
        await self._wire.refresh()
        if leaderless := [place for place in self._touched.places if self._wire.leader(place) is None]:
            raise Broken(f"nobody leads {leaderless[0].topic}-{leaderless[0].partition}")
        if self._touched.places:
            await self._add([*self._touched.places])
        if self._touched.group:
            await self._add_offsets(self._touched.group)
        await self._end(commit=bool(self._touched.committed))
        log.info("transaction.ended_again", committed=self._touched.committed, partitions=len(self._touched.places))

    async def _abort(self) -> None:
        request = EndTxnRequest(self._id, *self._producer, False)  # noqa: FBT003 (abort)
        try:
            async with asyncio.timeout(ABORT):
                await self._coordinator(request, ABORT)
        except (Broken, Refused, TimeoutError):
            return  # the next epoch, or the broker's clock, does it

    async def _coordinator(
        self, request: object, seconds: float, code: Callable[[Answer], int] | None = None, *, over: object = None
    ) -> Answer:
        deadline = _until(seconds)
        return await self._wire.insist(TRANSACTION, self._id, request, code or _code, deadline=deadline, over=over)


def _code(answer: Answer) -> int:
    return int(answer.error_code)


def _added(answer: Answer) -> int:
    return next((int(code) for _, rows in answer.errors for _, code in rows if code != NONE), NONE)


def _described(answer: Answer) -> int:
    return int(answer.transactions[0][0])


def _offsets_taken(answer: Answer) -> int:
    return next((int(row[1]) for _, rows, _ in answer.topics for row in rows if row[1] != NONE), NONE)


def _aborted(error: Exception) -> Aborted:
    if isinstance(error, Refused) and error.code in FENCED:
        return Fenced(str(error))
    return Aborted(str(error) or type(error).__name__)


def _until(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds
