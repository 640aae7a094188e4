"""A question to the store at a destination's start, which must be answered before anything is sent."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from schemas.errors import Unavailable
from workers.bus.contract import Revoked, Stop
from workers.runtime.backoff import Backoff
from workers.runtime.supervise import wait_or_stop

log = structlog.get_logger()
LONGEST_S: Final = 5.0  # between two looks at a store that is away
T = TypeVar("T")


async def told(ask: Callable[[], Awaitable[T]], destination: str, stop: Stop) -> T:
    """Return the answer, waiting for a store that is away. Revoked: `stop` came first."""
    backoff = Backoff(first=0.1, longest=LONGEST_S)
    while not stop.is_set():
        try:
            return await ask()
        except Unavailable as error:
            log.warning("destination.waits", destination=destination, why=str(error))
            await wait_or_stop(stop, backoff.next())
    raise Revoked
