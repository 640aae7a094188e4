"""Transactions that no marker will ever end: whoever reads committed records waits behind them for ever (KAFKA-20734).

A process that goes on says the end of its own transactions again (`transaction.py`). What a process leaves that died together
with the broker is found here by those who write to the same partitions, and ended as its coordinator decided (decision 22).
"""

from collections.abc import Collection, Mapping
from typing import Final

import structlog

from workers.bus.kafka import group
from workers.bus.kafka.codes import NONE, Refused
from workers.bus.kafka.eos import Place, list_transactions
from workers.bus.kafka.transaction import Touched, Transactor
from workers.bus.kafka.wire import Wire

ENDED: Final = ("Empty", "CompleteCommit", "CompleteAbort")  # nothing of theirs can be open, as their coordinators see it
HANGS: Final = 30.0  # seconds: a transaction's timeout of 10 s, and the broker looks for such every 10 s

Since = Mapping[Place, tuple[int, float]]  # up to where a partition can be read, and since when that has not changed

log = structlog.get_logger()


async def unreadable(wire: Wire, places: Collection[Place]) -> dict[Place, int]:
    """Return up to where each partition can be read that holds more than that."""
    if not places:
        return {}
    stable = await group.offsets(wire, places, group.LATEST)
    held = await group.offsets(wire, places, group.LATEST, group.READ_UNCOMMITTED)
    return {place: offset for place, offset in stable.items() if offset < held[place]}


async def end(wire: Wire, prefix: str, own: str, touched: Touched) -> int:
    """End what ended transactions of other ids with this prefix have left open; return how many ids were asked.

    Markers reach only what an id itself has left open. One that is in use is fenced by it, and its holder begins anew.
    """
    names = [name for name in await _ended(wire) if name.startswith(prefix) and name != own]
    for name in names:
        await Transactor(wire, name, Touched(touched.places, touched.group)).begin()
    log.warning("transactions.ended", prefix=prefix, ids=len(names), partitions=len(touched.places), offsets=bool(touched.group))
    return len(names)


async def _ended(wire: Wire) -> list[str]:
    found: list[str] = []
    for node in wire.everyone():
        answer = await wire.ask(node, list_transactions(ENDED))
        if answer.error_code != NONE:
            raise Refused("ListTransactions", int(answer.error_code))
        found += [row[0] for row in answer.transactions]
    return found
