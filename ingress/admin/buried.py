"""Where the dead letter of an event lies: in the index of its account, and soon after the attempt that led to it.

So it is looked for from there on, and never in all that was put aside: the cost is bounded, however many letters there are.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from ingress.admin.letters import Letter, summary
from schemas.errors import Unavailable
from schemas.topics import delivery_dead
from workers.bus.contract import Browser, Held
from workers.bus.partition import partition

LOOKED: Final = 1_000  # letters for each destination
READS: Final = 8  # of them: a letter is as large as its event
APART: Final = timedelta(seconds=10)  # by which a copy's clock and the bus's may differ
ENDED: Final = frozenset({"accepted", "cancelled", "unwanted"})  # as an event's latest attempt: no letter comes of it

Told = dict[str, Any]  # an attempt, as `/v1/deliveries` tells it


async def with_letters(browser: Browser, topics: Collection[str], attempts: Sequence[Told]) -> list[Told]:
    """Return the attempts of an event, the newest first, with `letter` at the latest to each destination where one was written.

    `topics` are those that take dead letters. Where the bus does not say, there is none: the attempts are known all the same.
    """
    latest = {attempt["destination"]: number for number, attempt in reversed([*enumerate(attempts)])}
    letters = {number: await _written(browser, topics, attempts[number]) for number in latest.values()}
    return [attempt | _beside(letters.get(number)) for number, attempt in enumerate(attempts)]


def _beside(letter: Letter | None) -> Told:
    return {"letter": {"address": letter.address, "reason": letter.reason, "at": letter.at}} if letter else {}


async def _written(browser: Browser, topics: Collection[str], attempt: Told) -> Letter | None:
    topic = delivery_dead(attempt["destination"]).name
    if topic not in topics or attempt["verdict"] in ENDED:
        return None
    try:
        return await _found(browser, topic, attempt)
    except Unavailable:
        return None


async def _found(browser: Browser, topic: str, attempt: Told) -> Letter | None:
    """Return the last letter of the attempt's event among those that follow the attempt."""
    floors = await browser.since(topic, datetime.fromisoformat(attempt["at"]) - APART)
    index, mine, found = partition(attempt["account"].encode(), len(floors)), attempt["event"].encode(), None
    async for held in _from(browser, topic, index, floors[index]):
        found = held if held.header("ce_id") == mine else found
    return summary(found) if found else None


async def _from(browser: Browser, topic: str, index: int, offset: int) -> AsyncIterator[Held]:
    """Yield the letters from an offset on, as many as may be looked at."""
    left = LOOKED
    for _ in range(READS):
        if left <= 0 or not (read := await browser.read(topic, index, offset, left)):
            return
        for held in read:
            yield held
        offset, left = read[-1].offset + 1, left - len(read)
