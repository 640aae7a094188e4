"""Dispatch: webhooks and account changes in, each event once out. Lanes keep one account's records together and in order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from schemas import cloudevents
from schemas.errors import Rejected
from schemas.records import AccountChanged
from schemas.ring import arrival, envelope
from schemas.ring.arrival import Arrival
from schemas.ring.envelope import Envelope
from schemas.topics import ACCOUNT_CHANGED, EVENT_RECORDED, WEBHOOK_RECEIVED
from workers.bus.contract import Held, Record
from workers.dispatch import claims, metrics, store
from workers.dispatch.accounts import Known
from workers.dispatch.claims import Answer, Wish
from workers.dispatch.normalise import digest, normalise
from workers.dispatch.tables import STEPPED
from workers.runtime.database import Database
from workers.runtime.jobs import Step

DAY: Final = 86_400
KEPT: Final = 16  # days a claim is kept: what is older than 13 is quarantined, and topics keep 7 less than that
ACCOUNT: Final = "account"  # header of a webhook whose account was found by its device

Result = Sequence[Record] | Rejected


class Webhook(msgspec.Struct, frozen=True):
    """A record of `webhook.received`, read; `account` is the body's, or the one it was found to belong to."""

    held: Held
    arrival: Arrival
    envelope: Envelope
    account: str | None

    @property
    def wish(self) -> Wish:
        """The claim it needs."""
        return Wish(self.envelope.request_id, digest(self.envelope, self.account))


Item = Webhook | AccountChanged | Rejected | None


@dataclass(frozen=True)
class Dispatch:
    """Job: dedupes, normalises and publishes."""

    name = "dispatch"
    topics = (WEBHOOK_RECEIVED.name, ACCOUNT_CHANGED.name)
    stepped = STEPPED

    async def __call__(self, batch: Sequence[Held], step: Step, now: datetime) -> Sequence[Result]:
        """Return for each record what it becomes; a quarantined one is Rejected with its reason."""
        items = [read(held) for held in batch]
        webhooks = [item for item in items if isinstance(item, Webhook)]
        known = await _known(step, items)
        answers = await _claimed(step, [webhook for webhook in webhooks if webhook.account], now)
        results = [decide(item, known, answers) for item in items]
        await store.learn(step, known)
        return results

    async def due(self, step: Step, limit: int, now: datetime) -> Sequence[Record]:  # noqa: ARG002 - the seam's shape
        """Return nothing: no event waits yet."""
        return ()


def read(held: Held) -> Item:
    """Return what a record says; None for a tombstone."""
    try:
        return _webhook(held) if held.topic == WEBHOOK_RECEIVED.name else _change(held)
    except Rejected as error:
        return error


def _webhook(held: Held) -> Webhook:
    came = arrival.read(held.headers)
    said = envelope.parse(held.value, came.received_at)
    found = held.header(ACCOUNT)
    return Webhook(held, came, said, said.account or (found.decode() if found else None))


def _change(held: Held) -> AccountChanged | None:
    try:
        return _CHANGES.decode(held.value) if held.value else None
    except ValueError as error:
        raise Rejected("not an account's change", reason="not_a_change") from error


_CHANGES: Final = msgspec.json.Decoder(AccountChanged)


async def _known(step: Step, items: Sequence[Item]) -> Known:
    """Read what the store knows of the batch's accounts and devices, and of the accounts that have those devices."""
    webhooks = [item for item in items if isinstance(item, Webhook)]
    devices = {webhook.envelope.device for webhook in webhooks if webhook.envelope.device}
    orphans = {webhook.envelope.device for webhook in webhooks if not webhook.account}
    holdings = await store.holdings(step.connection, devices)
    names = {item.account for item in items if isinstance(item, Webhook | AccountChanged) and item.account}
    names |= {holding.account for holding in holdings if holding.device in orphans}
    return Known(await store.versions(step.connection, names), holdings)


async def _claimed(step: Step, webhooks: Sequence[Webhook], now: datetime) -> Mapping[tuple[str, int], Answer]:
    """Claim the ids of the batch; return the answer for each record by (topic, offset)."""
    wishes, day = [webhook.wish for webhook in webhooks], int(now.timestamp()) // DAY
    firsts = claims.first(wishes)
    new = await store.claim(step, firsts, day)
    holders = firsts | await store.holders(step.connection, firsts.keys() - new)
    new |= await store.claim(step, claims.first(claims.strangers(wishes, holders)), day)
    answers = claims.answers(wishes, holders, new)
    return {(webhook.held.topic, webhook.held.offset): answer for webhook, answer in zip(webhooks, answers, strict=True)}


def decide(item: Item, known: Known, answers: Mapping[tuple[str, int], Answer]) -> Result:
    """Return what one record becomes, and let `known` learn from it."""
    if isinstance(item, AccountChanged):
        known.change(item)
        return ()
    if not isinstance(item, Webhook):
        return _quarantined(None, item) if item else ()
    known.see(item.envelope, item.arrival.received_at)
    if item.account is None:
        return _found(item, known.owner(item.envelope.device))
    answer = answers[item.held.topic, item.held.offset]
    metrics.EVENTS.labels(type=envelope.label(item.envelope.type), outcome=answer.outcome).inc()
    return () if answer.outcome == "duplicate" else (_event(item, item.account, known, answer),)


def _event(webhook: Webhook, account: str, known: Known, answer: Answer) -> Record:
    view = known.view(account, webhook.arrival.received_at)
    event = normalise(webhook.envelope, webhook.arrival, webhook.held.value, account, view)
    headers, value = cloudevents.binary(msgspec.structs.replace(event, id=answer.request_id))
    return Record(topic=EVENT_RECORDED.name, key=account.encode(), value=value, headers=headers)


def _found(webhook: Webhook, account: str | None) -> Result:
    """Send an event whose account was looked up to that account's lane, where all its copies meet; else quarantine it."""
    if account is None:
        return _quarantined(webhook, Rejected("no account, and no one account has its device", reason="account_unknown"))
    metrics.EVENTS.labels(type=envelope.label(webhook.envelope.type), outcome="republished").inc()
    key, headers = account.encode(), (*webhook.held.headers, (ACCOUNT, account.encode()))
    return (Record(topic=WEBHOOK_RECEIVED.name, key=key, value=webhook.held.value, headers=headers),)


def _quarantined(webhook: Webhook | None, why: Rejected) -> Rejected:
    kind = webhook.envelope.type if webhook else None
    metrics.EVENTS.labels(type=envelope.label(kind), outcome=why.reason).inc()
    return why


@dataclass(frozen=True)
class Prune:
    """Sweep: forgets claims that no copy can meet any more."""

    database: Database
    name = "dispatch.prune"

    async def __call__(self, now: datetime) -> timedelta:
        """Delete a chunk; come back soon where there was a whole one."""
        async with self.database.begin() as connection:
            gone = await store.prune_claims(connection, int(now.timestamp()) // DAY - KEPT)
        metrics.PRUNED.inc(gone)
        return timedelta(seconds=1 if gone == store.CHUNK else 30)
