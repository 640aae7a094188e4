"""Tells `edge.noticed` what came to the door: sampled, off the hot path, and rather lost than waited for."""

import asyncio
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import msgspec
import structlog
from aiohttp import web

from ingress.metrics import NOTICES_DROPPED
from schemas import topics
from schemas.errors import RinghookError
from schemas.records import EdgeNoticed, Notice
from workers.bus.contract import Publisher, Record, Stop
from workers.runtime.clock import utc_now
from workers.runtime.logs import printable
from workers.runtime.sampling import Sampler

log = structlog.get_logger()
QUEUE: Final = 256  # notices that wait for the bus
LONGEST: Final = 100  # characters of a value
DEADLINE_S: Final = 5.0
NAMES: Final = frozenset(
    {"method", "media_type", "user_agent", "fields", "form", "length", "reason", "misfit", "app", "route", "lane"}
)
_MEDIA_TYPE: Final = re.compile(r"[\w.+-]{1,40}/[\w.+-]{1,60}", re.ASCII)
_SKIPPED: Final = "other"


class Notices:
    """A worker with a bounded queue in front of the bus."""

    name: Final = "notices"

    def __init__(self, publisher: Publisher, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._publisher = publisher
        self._clock = clock
        self._queue: asyncio.Queue[EdgeNoticed] = asyncio.Queue(QUEUE)
        self._sampler = Sampler()
        self._met: set[tuple[Notice, bool]] = set()

    def first(self, kind: Notice, detail: Callable[[], Mapping[str, str]], *, proven: bool) -> None:
        """Note the first of its kind that this process meets; `detail` is called only then."""
        if (kind, proven) not in self._met:
            self._met.add((kind, proven))
            self._offer(kind, detail(), proven=proven)

    def met(self, kind: Notice, *, proven: bool) -> bool:
        """Say whether this process has noted the first of its kind."""
        return (kind, proven) in self._met

    def sample(self, kind: Notice, detail: Callable[[], Mapping[str, str]], *, proven: bool = False) -> None:
        """Note at most one of its kind a second."""
        if self._sampler.take(kind) is not None:
            self._offer(kind, detail(), proven=proven)

    async def run(self, stop: Stop) -> None:
        """Publish what is noted until `stop`, and then what is left, once."""
        stopped = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                waiting = asyncio.ensure_future(self._queue.get())
                await asyncio.wait((waiting, stopped), return_when=asyncio.FIRST_COMPLETED)
                if waiting.done():
                    await self._publish(waiting.result())
                waiting.cancel()
        finally:
            stopped.cancel()
        while not self._queue.empty():
            await self._publish(self._queue.get_nowait())

    def _offer(self, kind: Notice, detail: Mapping[str, str], *, proven: bool) -> None:
        try:
            self._queue.put_nowait(EdgeNoticed(kind=kind, at=self._clock(), proven=proven, detail=fit(detail)))
        except asyncio.QueueFull:
            NOTICES_DROPPED.inc()

    async def _publish(self, notice: EdgeNoticed) -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._publisher.publish((record(notice),))
        except (RinghookError, TimeoutError) as error:
            NOTICES_DROPPED.inc()
            self._met.discard((notice.kind, notice.proven))
            log.info("notice.dropped", kind=notice.kind, why=type(error).__name__)


def record(notice: EdgeNoticed) -> Record:
    """Return the notice as the bus takes it."""
    return Record(topic=topics.EDGE_NOTICED.name, key=notice.kind.encode(), value=msgspec.json.encode(notice))


def fit(detail: Mapping[str, str]) -> dict[str, str]:
    """Return the facts with names from the fixed list only, and values printable and cut."""
    return {name: printable(value)[:LONGEST] for name, value in detail.items() if name in NAMES and value}


def described(request: web.Request) -> dict[str, str]:
    """Return how a request looked from outside, without anything it carried."""
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return {
        "method": request.method,
        "media_type": media_type if _MEDIA_TYPE.fullmatch(media_type) else (_SKIPPED if media_type else "none"),
        "user_agent": request.headers.get("User-Agent", "").encode("ascii", "replace").decode(),
        "length": "" if request.content_length is None else str(request.content_length),
    }
