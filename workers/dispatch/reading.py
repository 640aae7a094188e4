"""What a record of dispatch's two topics says. Pure."""

from datetime import datetime
from typing import Final

import msgspec

from schemas.errors import UNREADABLE, Rejected
from schemas.records import AccountChanged
from schemas.ring import arrival, envelope
from schemas.ring.arrival import Arrival
from schemas.ring.envelope import Envelope
from schemas.topics import WEBHOOK_RECEIVED
from workers.bus.contract import Held
from workers.dispatch.claims import Wish
from workers.dispatch.normalise import digest

ACCOUNT: Final = "account"  # header of a webhook whose account was found by its device


class Webhook(msgspec.Struct, frozen=True):
    """A record of `webhook.received`, read; `account` is the body's, or the one it was found to belong to."""

    held: Held
    arrival: Arrival
    envelope: Envelope
    account: str | None

    @property
    def at(self) -> datetime:
        """When it happened, as Ring says; where it does not, when it came."""
        return self.envelope.time or self.arrival.received_at

    @property
    def wish(self) -> Wish:
        """The claim it needs."""
        return Wish(self.envelope.request_id, digest(self.envelope, self.account, self.arrival.app))


class Forgotten(msgspec.Struct, frozen=True):
    """A tombstone of `account.changed`: nothing shall be known of this account."""

    account: str


Item = Webhook | AccountChanged | Forgotten | Rejected


def read(held: Held) -> Item:
    """Return what a record says, or why it cannot be read."""
    try:
        return webhook(held) if held.topic == WEBHOOK_RECEIVED.name else _change(held)
    except Rejected as error:
        return error


def webhook(held: Held) -> Webhook:
    """Return what a record of `webhook.received` says, or raise Rejected."""
    came = arrival.read(held.headers)
    said = envelope.parse(held.value, came.received_at)
    found = held.header(ACCOUNT)
    return Webhook(held, came, said, said.account or (found.decode() if found else None))


def _change(held: Held) -> AccountChanged | Forgotten:
    try:
        return _CHANGES.decode(held.value) if held.value else Forgotten(held.key.decode())
    except UNREADABLE as error:
        raise Rejected("not an account's change", reason="not_a_change") from error


_CHANGES: Final = msgspec.json.Decoder(AccountChanged)
