"""The job that turns codes and confirmed sign-ins into rows, and nothing else: a slow Ring never holds a partition."""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final

import msgspec
import structlog
from msgspec.structs import replace
from sqlalchemy import Table

from linker import claims, metrics, saga, store
from linker.rows import Attempt, Grant
from schemas.errors import UNREADABLE, Rejected
from schemas.records import CLOCKS_APART, CodeReceived, LinkRequested, LinkSecret
from schemas.ring import nonce
from schemas.topics import CODE_RECEIVED, LINK_REQUESTED
from workers.bus.contract import Held, Record
from workers.runtime.jobs import Step
from workers.runtime.sampling import Sampler
from workers.runtime.sealing import CodeOpener

log = structlog.get_logger()
BEHIND: Final = "ingress's clock is ahead of this host's: let NTP keep both, since minutes and removals are judged by their times"
COMMITS: Final = 0.02  # seconds until what was just written can be seen: whoever looks before has looked in vain


@dataclass(frozen=True)
class Intake:
    """Inserts each record once under its natural key, so that a repeated batch changes nothing; then wakes advance."""

    opener: CodeOpener
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    name: str = "linker.intake"
    topics: Collection[str] = (CODE_RECEIVED.name, LINK_REQUESTED.name)
    stepped: Collection[Table] = ()  # others act on these rows: they carry no n and are never undone
    clocks: Sampler = field(default_factory=lambda: Sampler(60.0))

    async def __call__(self, batch: Sequence[Held], step: Step, now: datetime) -> Sequence[Sequence[Record] | Rejected]:
        """Return no records for each record taken in, or why it is buried."""
        taken = [self._taken(record, now.timestamp()) for record in batch]
        await store.add_grants(step.connection, [one for one in taken if isinstance(one, Grant)])
        signed_in = [one for one in taken if isinstance(one, Attempt)]
        metrics.ended(await store.add_attempts(step.connection, signed_in, now.timestamp()))
        asyncio.get_running_loop().call_later(COMMITS, self.wake.set)
        return [one if isinstance(one, Rejected) else () for one in taken]

    async def due(self, step: Step, limit: int, now: datetime) -> Sequence[Record]:
        """Owe nothing."""
        del step, limit, now
        return ()

    def _taken(self, record: Held, now: float) -> Grant | Attempt | Rejected:
        """Return the row as due by our own clock: by one of ingress's that is ahead a code's minute would go by unused."""
        row = self._read(record)
        if isinstance(row, Rejected) or row.due_at is None or row.due_at <= now:
            return row
        if (ahead := row.due_at - now) > CLOCKS_APART and self.clocks.take("ahead") is not None:
            log.warning("clock.behind", seconds=round(ahead, 1), meaning=BEHIND)
        return replace(row, due_at=now)

    def _read(self, record: Held) -> Grant | Attempt | Rejected:
        try:
            return _grant(record) if record.topic == CODE_RECEIVED.name else _attempt(record, self.opener)
        except UNREADABLE:
            return Rejected("not a record that ringhook writes to this topic", reason="malformed")
        except Rejected as error:
            return error


def _grant(record: Held) -> Grant:
    came = msgspec.json.decode(record.value, type=CodeReceived)
    at = came.received_at.timestamp()
    return saga.received(
        code_hash=record.key.decode("ascii", "replace"), code=came.code, app=came.app, stranger=came.stranger, at=at
    )


def _attempt(record: Held, opener: CodeOpener) -> Attempt:
    asked = msgspec.json.decode(record.value, type=LinkRequested)
    secret = msgspec.json.decode(opener.open(asked.secret), type=LinkSecret)
    if nonce.sent_at(asked.time) is None or not nonce.well_formed(secret.nonce):
        raise Rejected("this sign-in's nonce or time cannot be Ring's", reason="malformed")
    return claims.requested(
        attempt=asked.attempt,
        nonce_hash=sha256(secret.nonce.encode()).hexdigest(),
        secret=asked.secret,
        time=asked.time,
        partner_user=asked.partner_user,
        at=asked.requested_at.timestamp(),
    )
