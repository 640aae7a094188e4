"""The hot path: read bytes, check and peek, publish, answer. Nothing else happens before Ring has its answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import web

from ingress.body import read
from ingress.bounds import Bound, Room
from ingress.errors import BadSignature
from ingress.metrics import VERIFY_FAILURES
from ingress.notices import Notices, described
from ingress.ring.held import held
from schemas import topics
from schemas.records import App
from schemas.ring import arrival
from schemas.ring.misfit import misfit
from schemas.ring.peek import peek
from schemas.ring.probe import TYPE
from schemas.ring.signature import HEADER, refusal, verify
from workers.bus.contract import Publisher, Record

_PROBE: Final = TYPE.encode()


@dataclass(frozen=True, slots=True)
class Webhook:
    """`POST /ring/webhook`: 200 once the bus holds the raw bytes. Source: ring-contract, 4."""

    publisher: Publisher
    keys: Mapping[App, bytes]
    bound: Bound
    room: Room
    notices: Notices
    clock: Callable[[], datetime]

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Raise BadSignature, BodyTooLarge, Full, BusUnavailable; in flight counts only what is signed."""
        body = await read(request, topics.BODY_LIMIT, self.room)
        record = self._accept(request, body)
        with self.bound:
            await self.publisher.publish((record,))
        return held(request)

    def _accept(self, request: web.Request, body: bytes) -> Record:
        header = request.headers.get(HEADER)
        try:
            record = accept(body, header, self.keys, self.clock())
        except BadSignature as error:
            reason = error.reason
            VERIFY_FAILURES.labels(reason=reason).inc()
            self.notices.sample("webhook.refused", lambda: self._looked_into(request, reason, header, body))
            raise
        if not self.notices.met("webhook", proven=True) and record.header("type") != _PROBE:
            self.notices.first("webhook", lambda: described(request), proven=True)
        return record

    def _looked_into(self, request: web.Request, reason: str, header: str | None, body: bytes) -> Mapping[str, str]:
        """Return what a refused call looked like, and the mistake that may be behind it; of one call a second."""
        why = misfit(self.keys.values(), header, body)
        return described(request) | {"reason": reason, "misfit": why or ""}


def accept(body: bytes, header: str | None, keys: Mapping[App, bytes], now: datetime) -> Record:
    """Return the record that holds this body as it came, or raise BadSignature; the signature itself goes no further."""
    app = verify(keys, header, body)
    if app is None:
        raise BadSignature(reason=refusal(header))
    seen = peek(body)
    return Record(topic=topics.WEBHOOK_RECEIVED.name, key=seen.key, value=body, headers=arrival.headers(seen, now, app))
