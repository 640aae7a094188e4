"""A signed event of no account, sent to a destination by hand: whether it can be reached, and what it says to it.

Where the destination's shape makes nothing of that event, which is none of Ring's, a request without one goes in its place.
"""

import asyncio
import socket
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from secrets import token_hex
from ssl import SSLContext
from typing import Final

import msgspec
from yarl import URL

from schemas.cloudevents import sequence
from schemas.errors import Rejected
from schemas.events import Event, EventData
from schemas.findings.reach import obstacle
from workers.deliver.answer import Answer
from workers.deliver.destinations import Destination
from workers.deliver.dress import dressing
from workers.deliver.send import Sender
from workers.deliver.sign import Signer
from workers.runtime.guard import permitted
from workers.runtime.lookup import Resolver
from workers.runtime.secrets import Secret

TYPE: Final = "com.ring.ringhook_ping"  # no type of Ring's: services take what they do not know as it is
NOBODY: Final = "ringhook-ping"  # the account of the event, and of nobody
LOOK_UP_S: Final = 10.0  # or the destination's timeout_s, of which a delivery's look-up is a part
SILENT: Final = "its name servers do not answer"


class Pinged(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it; `unresolved` says why the name has no address, `closed` which of its addresses the guard keeps closed."""

    name: str
    url: str
    id: str
    addresses: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    unresolved: str | None = None
    answer: Answer | None = None  # None: nothing was sent
    unshaped: bool = False  # its shape makes nothing of the event, and the answer is to a request without one


async def ping(
    destination: Destination,
    secrets: Sequence[Secret],
    headers: Mapping[str, Secret],
    tls: SSLContext | None,
    made: Event | None = None,
) -> Pinged:
    """Look a destination's name up, then send it one signed event, as deliveries are sent, and wait for its answer.

    Without `made` that is an event of no type of Ring's.
    """
    url, made = URL(destination.url), made or event()
    told = Pinged(name=destination.name, url=destination.url, id=made.id)
    try:
        async with asyncio.timeout(min(destination.timeout_s, LOOK_UP_S)):
            addresses = await _addresses(url)
    except TimeoutError:
        return msgspec.structs.replace(told, unresolved=SILENT)
    except (OSError, UnicodeError) as error:
        return msgspec.structs.replace(told, unresolved=obstacle(error))
    closed = tuple(address for address in addresses if not permitted(address, destination.networks))
    told = msgspec.structs.replace(told, addresses=addresses, closed=closed)
    async with Sender(destination, headers=headers, tls=tls) as sender:
        try:
            said, body = dressing(destination.body, destination.shape)(made, sequence(0))
        except Rejected:
            return msgspec.structs.replace(told, unshaped=True, answer=await sender.reach())
        signed = Signer(secrets, destination.sign).headers(made.id, int(time.time()), body)
        return msgspec.structs.replace(told, answer=await sender.post(body, {**said, **signed}))


def event() -> Event:
    """Return an event that says what it is."""
    now, name = datetime.now(UTC), f"ringhook-ping-{token_hex(8)}"
    data = EventData(received_at=now, motion=None, payload=msgspec.Raw(b'{"ringhook":"this event tests a destination"}'))
    return Event(id=name, type=TYPE, time=now, accountid=NOBODY, linked=False, data=data)


async def _addresses(url: URL) -> tuple[str, ...]:
    found = await Resolver().resolve(url.host or "", url.port or 0, socket.AF_UNSPEC)
    return tuple(dict.fromkeys(address["host"] for address in found))
