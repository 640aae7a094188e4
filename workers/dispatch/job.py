"""Dispatch: webhooks and account changes in, each event once out. Lanes keep one account's records together and in order."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Final

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from schemas.errors import Rejected
from schemas.records import AccountChanged
from schemas.ring import envelope, probe
from schemas.topics import ACCOUNT_CHANGED, WEBHOOK_RECEIVED
from workers.bus.contract import Held, Record
from workers.dispatch import claims, metrics, parked, store
from workers.dispatch.accounts import Known
from workers.dispatch.claims import Answer
from workers.dispatch.normalise import NOTHING, View
from workers.dispatch.parked import AT_ONCE, OTHER_APP, Bounds, Past
from workers.dispatch.reading import ACCOUNT, Forgotten, Item, Webhook, read
from workers.dispatch.route import Routes
from workers.dispatch.tables import STEPPED
from workers.dispatch.told import told
from workers.dispatch.watch import Watch, begun
from workers.runtime import waiting
from workers.runtime.database import Database
from workers.runtime.jobs import Aside, Step
from workers.runtime.lines import Doubt, Lines
from workers.runtime.waiting import Broom

DAY: Final = 86_400
KEPT: Final = 16  # days a claim is kept: what is older than 13 is quarantined, and topics keep 7 less than that
LOOK: Final = 5.0  # seconds between two looks for what has waited long enough

Result = Sequence[Record] | Rejected


class Batch(msgspec.Struct):
    """What is known while a batch is decided, and what is learnt on the way."""

    known: Known
    lines: Lines
    answers: Mapping[tuple[str, int], Answer]
    wait: timedelta
    now: datetime
    pasts: Mapping[tuple[str, int], Past] = {}  # of what waits for accounts of which a removal is told, by account and sequence
    forgotten: Collection[str] = ()  # accounts for which nothing is sent any more, whatever comes
    parked: list[str] = []
    stopped: list[str] = []
    freed: list[str] = []
    counted: dict[tuple[str, int], tuple[str | None, str]] = {}  # by (topic, offset): a record's type and outcome


@dataclass(frozen=True)
class Dispatch:
    """Job: dedupes, normalises and publishes; lets events wait for their account's link."""

    namespace: str
    bounds: Bounds = field(default_factory=Bounds)
    routes: Routes = field(default_factory=Routes)
    name = "dispatch"
    topics = (WEBHOOK_RECEIVED.name, ACCOUNT_CHANGED.name)
    stepped = STEPPED
    _broom: Broom = field(default_factory=lambda: Broom(STEPPED))
    _watches: dict[int, Watch] = field(default_factory=dict)
    _hasty: set[int] = field(default_factory=set)  # lanes in which something may go at once
    _looked: dict[int, float] = field(default_factory=dict)
    _counted: dict[tuple[int, str], int] = field(default_factory=dict)  # lane, topic → just after the last record counted

    async def __call__(self, batch: Sequence[Held], step: Step, now: datetime) -> Sequence[Result]:
        """Return for each record what it becomes; a quarantined one is Rejected with its reason."""
        self._watch(step.index, now).look(now, min((held.time for held in batch), default=None))
        await self._broom.sweep(step)
        items = [read(held) for held in batch]
        state = await _state(step, items, self, now)
        results = [decide(held, item, state) for held, item in zip(batch, items, strict=True)]
        await store.learn(step, state.known)
        await store.note(step, state.parked, "waiting")
        await store.note(step, state.stopped, "stopped")
        await store.free(step, state.freed)
        letters = await parked.written(step, state.lines, state.known, self.bounds, now)
        self._note(step, state)
        self._count(batch, state)
        whole = _beside(results, letters) if letters else results
        return [one if isinstance(one, Rejected) else self.routes.with_copies(one) for one in whole]

    def _note(self, step: Step, state: Batch) -> None:
        if state.lines.changed or state.known.forgotten or state.freed:
            self._broom.marked(step)
        if any(state.lines[key].ready for key in state.lines.changed):
            self._hasty.add(step.index)

    def _count(self, batch: Sequence[Held], state: Batch) -> None:
        """Count what became of records, of each once: a step may be tried again, with more of them."""
        fresh = [held for held in batch if held.offset >= self._counted.get((held.index, held.topic), 0)]
        for held in fresh:
            if said := state.counted.get((held.topic, held.offset)):
                metrics.EVENTS.labels(type=envelope.label(said[0]), outcome=said[1]).inc()
            self._counted[held.index, held.topic] = held.offset + 1

    def owes(self, index: int) -> bool:
        """Say whether something may go now: a link was completed, or nobody has looked for a while."""
        return index in self._hasty or monotonic() - self._looked.get(index, -LOOK) >= self._every

    @property
    def _every(self) -> float:
        return min(LOOK, max(0.2, self.bounds.wait.total_seconds() / 4))

    async def due(self, step: Step, limit: int, now: datetime) -> Sequence[Record] | None:
        """Release what waits for nothing any more, else what has waited long enough; what was marked is deleted in any case."""
        self._looked[step.index] = monotonic()
        swept = await self._broom.sweep(step)
        outputs = await parked.released(step, self.namespace, min(limit, AT_ONCE), now)
        if outputs is None and self._settled(step.index, now):
            outputs = await parked.expired(step, self.namespace, min(limit, AT_ONCE), now - self.bounds.wait, now)
        if outputs is None:
            self._hasty.discard(step.index)
            return () if swept else None
        self._hasty.add(step.index)
        self._broom.marked(step)
        return self.routes.with_copies(outputs)

    async def distrust(self, connection: AsyncConnection, index: int) -> None:
        """Let events wait until the linker has told again how their accounts stand: another's may be what was linked."""
        await store.distrust(connection, self.name, index)

    def _settled(self, index: int, now: datetime) -> bool:
        watch = self._watch(index, now)
        watch.look(now)
        return watch.settled(now, self.bounds.wait)

    def _watch(self, index: int, now: datetime) -> Watch:
        return self._watches.setdefault(index, begun(now))


async def _state(step: Step, items: Sequence[Item], job: Dispatch, now: datetime) -> Batch:
    """Read what the store knows of the batch's accounts, devices and waiting events; claim the ids of its events."""
    webhooks = [item for item in items if isinstance(item, Webhook)]
    names = {item.account for item in items if not isinstance(item, Rejected) and item.account}
    known, forgotten = await _known(step, job.namespace, webhooks, names)
    answers = await _claimed(step, [webhook for webhook in webhooks if webhook.account], now)
    lines = Lines(await waiting.read(step, names))
    ending = {webhook.account for webhook in webhooks if webhook.account and webhook.envelope.type == envelope.REMOVED}
    pasts = await parked.pasts(step, lines, ending)
    return Batch(known, lines, answers, job.bounds.wait, now, pasts, forgotten)


async def _known(
    step: Step, namespace: str, webhooks: Sequence[Webhook], names: Collection[str]
) -> tuple[Known, Collection[str]]:
    """Read what the store knows of accounts and devices, and of the accounts that have those devices; and who was forgotten."""
    devices = {webhook.envelope.device for webhook in webhooks if webhook.envelope.device}
    orphans = {webhook.envelope.device for webhook in webhooks if not webhook.account}
    holdings = await store.holdings(step.connection, devices)
    owners = {holding.account for holding in holdings if holding.device in orphans}
    versions, forgotten = await store.standing(step.connection, namespace, {*names, *owners})
    return Known(versions, holdings), forgotten


async def _claimed(step: Step, webhooks: Sequence[Webhook], now: datetime) -> Mapping[tuple[str, int], Answer]:
    """Claim the ids of the batch; return the answer for each record by (topic, offset)."""
    wishes, day = [webhook.wish for webhook in webhooks], int(now.timestamp()) // DAY
    firsts = claims.first(wishes)
    new = await store.claim(step, firsts, day)
    taken = {name: digest for name, digest in firsts.items() if name not in new}
    holders = firsts | await store.holders(step.connection, taken)
    new |= await store.claim(step, claims.first(claims.strangers(wishes, holders)), day)
    answers = claims.answers(wishes, holders, new)
    return {(webhook.held.topic, webhook.held.offset): answer for webhook, answer in zip(webhooks, answers, strict=True)}


def decide(held: Held, item: Item, batch: Batch) -> Result:  # noqa: PLR0911 - a table: one line, one kind
    """Return what one record becomes, and let the batch learn from it."""
    if isinstance(item, AccountChanged):
        return _changed(item, batch)
    if isinstance(item, Forgotten):
        return _forgotten(item.account, batch)
    if isinstance(item, Rejected):
        return _quarantined(held, item.type if isinstance(item, envelope.Stale) else None, item, batch)
    if item.envelope.type == probe.TYPE:
        batch.counted[held.topic, held.offset] = probe.TYPE, "probe"
        return ()
    if item.account in batch.forgotten:
        return _stopped(item, batch)  # before anything is learnt of the account again
    foreign = item.account is not None and batch.known.foreign(item.account, item.arrival)
    if not foreign:
        batch.known.see(item.envelope, item.arrival)
    if item.account is None:
        return _found(item, batch.known.owner(item.envelope.device), batch)
    return _answered(item, item.account, batch, foreign=foreign)


def _changed(change: AccountChanged, batch: Batch) -> Result:
    """Take in how an account's link stands: complete, its events may go; removed, those go nowhere that a removal was told of.

    Where a newer connection completes first, nobody says `removed` of the older one: `parked.released` leaves out its events.
    """
    if batch.known.change(change):
        if batch.known.removed(change.account):
            metrics.LEFT.labels(how="cancelled").inc(batch.lines.drop_doubted(change.account))
        batch.lines.prove(change.account, partial(batch.known.left, change.account))
        batch.lines.set_ready(change.account, ready=change.linked)
    return ()


def _forgotten(account: str, batch: Batch) -> Result:
    batch.known.forget(account)
    metrics.LEFT.labels(how="cancelled").inc(batch.lines.drop(account))
    return ()


def _answered(webhook: Webhook, account: str, batch: Batch, *, foreign: bool) -> Result:
    """Drop a copy, let an event wait, put it aside, or publish it; what the linker must know goes to it at once."""
    answer = batch.answers[webhook.held.topic, webhook.held.offset]
    waits = answer.outcome != "duplicate" and must_wait(webhook, account, batch)
    aside = foreign and not waits and answer.outcome != "duplicate"
    outcome = "waiting" if waits else OTHER_APP if aside else answer.outcome
    batch.counted[webhook.held.topic, webhook.held.offset] = webhook.envelope.type, outcome
    if answer.outcome == "duplicate":
        return ()
    if aside:
        batch.freed.append(answer.request_id)
        return Aside("its app is none of the account's", reason=OTHER_APP, beside=told(webhook, account, foreign=True))
    # Made even where it waits: what cannot be made must fail here, where one record can be buried.
    event = parked.event(webhook, account, _view(webhook, account, batch), answer.request_id)
    if webhook.envelope.type == envelope.REMOVED:
        _doubt(webhook, account, batch)
    if not waits:
        return (event, *told(webhook, account))
    parked.park(batch.lines, account, webhook.held, answer.request_id, batch.now)
    batch.parked.append(answer.request_id)
    return told(webhook, account, foreign=foreign)  # which does not wait: it may be what ends the wait


def _view(webhook: Webhook, account: str, batch: Batch) -> View:
    """Return what an event may say of its account's link: a removal nothing of one whose code came after it."""
    if webhook.envelope.type == envelope.REMOVED and webhook.at.timestamp() < batch.known.connected_at(account):
        return NOTHING
    return batch.known.view(account, webhook.arrival.received_at, webhook.at)


def _doubt(webhook: Webhook, account: str, batch: Batch) -> None:
    """Doubt what waits and happened before the removal: what comes behind it, or happened after, may be of a new connection."""

    def about(doubt: Doubt, sequence: int, added: bytes | None) -> bool:
        past = parked.past(added) if added is not None else batch.pasts.get((account, sequence))
        return past is not None and past.of(doubt)

    batch.lines.doubt(account, webhook.at.timestamp(), webhook.arrival.app, about)


def _stopped(webhook: Webhook, batch: Batch) -> Result:
    """Let an event of a forgotten account go nowhere: not into the store, not to the linker."""
    answer = batch.answers[webhook.held.topic, webhook.held.offset]
    outcome = answer.outcome if answer.outcome == "duplicate" else "stopped"
    batch.counted[webhook.held.topic, webhook.held.offset] = webhook.envelope.type, outcome
    if outcome == "stopped":
        batch.stopped.append(answer.request_id)
    return ()


def must_wait(webhook: Webhook, account: str, batch: Batch) -> bool:
    """Say whether an event waits: behind others of its account always, else until the link is complete.

    A removal never does: what waits then is cancelled by it, and it would be cancelled with them.
    """
    if webhook.envelope.type == envelope.REMOVED:
        return False
    if batch.lines.waits(account) or batch.known.distrusted(account):
        return True
    return bool(batch.wait) and not batch.known.linked(account)


def _beside(results: Sequence[Result], letters: Sequence[Record]) -> Sequence[Result]:
    """Return the results with dead letters of earlier records beside one that found its place."""
    at = next(at for at, result in enumerate(results) if not isinstance(result, Rejected))
    whole = list(results)
    whole[at] = (*results[at], *letters)  # type: ignore[misc] # not a Rejected
    return whole


def _found(webhook: Webhook, account: str | None, batch: Batch) -> Result:
    """Send an event whose account was looked up to that account's lane, where all its copies meet; else quarantine it."""
    if account is None:
        why = Rejected("no account, and no one account has its device", reason="account_unknown")
        return _quarantined(webhook.held, webhook.envelope.type, why, batch)
    batch.counted[webhook.held.topic, webhook.held.offset] = webhook.envelope.type, "republished"
    key, headers = account.encode(), (*webhook.held.headers, (ACCOUNT, account.encode()))
    return (Record(topic=WEBHOOK_RECEIVED.name, key=key, value=webhook.held.value, headers=headers),)


def _quarantined(held: Held, kind: str | None, why: Rejected, batch: Batch) -> Rejected:
    batch.counted[held.topic, held.offset] = kind, why.reason
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
