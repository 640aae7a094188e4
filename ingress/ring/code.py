"""Where Ring's authorization codes come in: sealed before they go on the bus, so that only the linker can read them."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Protocol

import msgspec
from aiohttp import web

from ingress.body import read
from ingress.bounds import Bound, Room
from ingress.errors import NotFound
from ingress.notices import Notices, described
from ingress.ring.held import held
from schemas import topics
from schemas.records import App, CodeReceived
from schemas.ring.code import BODY_LIMIT, NoCode, Posted, parse
from workers.bus.contract import Publisher, Record


class Sealer(Protocol):
    """Seals what only the linker may read."""

    def seal(self, plaintext: bytes) -> bytes:
        """Return a sealed box around `plaintext`."""
        ...


@dataclass(frozen=True, slots=True)
class Lane:
    """By which path a code came: on the secret one from the app whose secret it is, on the plain one from anybody."""

    bound: Bound
    secrets: Mapping[App, bytes] | None  # None: the plain path
    plain: App = ""  # whose codes those on the plain path are taken for

    def app(self, given: str) -> App:
        """Return the app whose path secret was `given`, or raise NotFound; every secret is compared, in constant time."""
        if self.secrets is None:
            return self.plain
        spelled = given.encode(errors="surrogatepass")
        fitting = [app for app, secret in self.secrets.items() if hmac.compare_digest(secret, spelled)]
        if not fitting:
            raise NotFound(reason="exchange_secret")
        return fitting[0]


@dataclass(frozen=True, slots=True)
class Code:
    """`POST /ring/token-exchange[/<secret>]`: 200 once the bus holds the sealed code. Source: ring-contract, 3."""

    publisher: Publisher
    sealer: Sealer
    lane: Lane
    room: Room
    notices: Notices
    clock: Callable[[], datetime]

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Raise NotFound, NoCode, BodyTooLarge, Full, BusUnavailable."""
        app = self._app(request)
        posted = self._parsed(request, await read(request, BODY_LIMIT, self.room))
        with self.lane.bound:
            await self.publisher.publish((self._record(posted, app),))
        self.notices.first("code", lambda: _fields(request, posted), proven=False)
        return held(request)

    def _app(self, request: web.Request) -> App:
        try:
            return self.lane.app(request.match_info.get("secret", ""))
        except NotFound as error:
            reason = error.reason
            self.notices.sample("code.wrong_secret", lambda: described(request) | {"reason": reason})
            raise

    def _parsed(self, request: web.Request, body: bytes) -> Posted:
        try:
            return parse(body, request.query_string)
        except NoCode as error:
            seen = error
            self.notices.sample("code.form_unknown", lambda: _fields(request, seen) | {"reason": seen.reason})
            raise

    def _record(self, posted: Posted, app: App) -> Record:
        return accept(posted, app, self.sealer, self.clock(), stranger=self.lane.secrets is None)


def accept(posted: Posted, app: App, sealer: Sealer, now: datetime, *, stranger: bool) -> Record:
    """Return the record of a code; its key is the code's hash, so that a repeated POST meets the first one."""
    code = posted.code.encode()
    value = CodeReceived(code=sealer.seal(code), received_at=now, app=app, stranger=stranger)
    return Record(
        topic=topics.CODE_RECEIVED.name, key=sha256(code).hexdigest().encode(), value=msgspec.json.encode(value), headers=()
    )


def _fields(request: web.Request, posted: Posted | NoCode) -> dict[str, str]:
    return described(request) | {"form": posted.form, "fields": ",".join(posted.fields)}
