"""Signed webhooks of many accounts and devices as Ring would send them, and the records they become."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from uuid import uuid4

from ingress.ring.webhook import accept
from schemas import cloudevents
from schemas.records import App
from schemas.ring import arrival, envelope
from schemas.topics import EVENT_RECORDED
from tests.chaos.generator import KEY, body, signature
from workers.bus.contract import BusUnavailable, Publisher, Record
from workers.dispatch.normalise import View, normalise

ACCOUNTS = [f"ava1.ring.account.{number:072d}" for number in range(200)]  # a partner's busy hour: many homes
DEVICES = 3  # in each
LINKED = View(linked=True, partner_user="u-42")  # what dispatch knows of each account
KEYS: dict[App, bytes] = {"first": KEY.encode()}
CHUNK, TRIES = 500, 10


def bodies(count: int) -> Iterator[bytes]:
    """Give so many bodies, each with a request id of its own."""
    run = uuid4().hex[:12]
    for number in range(count):
        account = number * 7919 % len(ACCOUNTS)
        device = f"device-{account:09d}-{number % DEVICES}"
        yield one(f"{run}-{number:08d}", ACCOUNTS[account], device)


def one(name: str, account: str, device: str) -> bytes:
    """Return a body of which these 21 characters begin the request id."""
    return body(f"{name}-0123-4567-89abcdef0123", account, device, time.time())


def write(path: Path, count: int) -> Path:
    """Write lines of signature, tab and body, as wrk's script and the poster read them."""
    path.write_bytes(b"".join(signature(raw).encode() + b"\t" + raw + b"\n" for raw in bodies(count)))
    return path


def received(raw: bytes) -> Record:
    """Return the record of `webhook.received` that ingress makes of a signed body."""
    return accept(raw, signature(raw), KEYS, datetime.now(UTC))


def recorded(raw: bytes) -> Record:
    """Return the record of `event.recorded` that dispatch makes of a body, with the functions that dispatch uses."""
    came = arrival.read(received(raw).headers)
    said = envelope.parse(raw, came.received_at)
    account = said.account or ""
    headers, value = cloudevents.binary(normalise(said, came, raw, account, LINKED))
    return Record(topic=EVENT_RECORDED.name, key=account.encode(), value=value, headers=headers)


async def publish(bus: Publisher, records: Iterator[Record], lot: int = CHUNK) -> int:
    """Put records on the bus in large batches; return how many. What was not confirmed goes again: some may be twice."""
    count = 0
    while batch := [*islice(records, lot)]:
        await _insist(bus, batch)
        count += len(batch)
    return count


async def _insist(bus: Publisher, batch: Sequence[Record]) -> None:
    for _ in range(TRIES):
        try:
            return await bus.publish(batch)
        except BusUnavailable:
            await asyncio.sleep(0.5)
    return await bus.publish(batch)
