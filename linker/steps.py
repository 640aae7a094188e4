"""The steps of one grant: decide, write the intent, call Ring once, write what came of it; then the next, where it is due."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple, Protocol, TypeVar

import msgspec
import structlog
from msgspec.structs import replace

from linker import saga, schedule
from linker.budget import Budget, Turn
from linker.ledger import Moved
from linker.metrics import MARGIN, Result, stepped
from linker.outcomes import Done, NotSent, Outcome, Refused, Unauthorised, Unclear
from linker.places import Kind
from linker.ringapi import RingApi
from linker.rows import ASIDE, STRANGERS, Grant
from linker.saga import Call, Move
from linker.store import Store
from linker.vault import Vault
from schemas.errors import Rejected, Unavailable
from schemas.findings.trying import OURS
from schemas.records import LinkSecret, Notice
from schemas.ring import api
from workers.runtime.backoff import Backoff
from workers.runtime.clock import steady
from workers.runtime.delay import Delay
from workers.runtime.sampling import Sampler
from workers.runtime.sealing import CodeOpener, KeyMissing
from workers.runtime.storefault import OutcomeUnknown

log = structlog.get_logger()
PATIENCE: Final = 2.0  # seconds to wait for the budget
LATER: Final = 0.2  # seconds until a postponed grant is due again
MARGIN_OF_LEASE: Final = 2.0  # seconds of the lease that no call may use: what came of it is written then
UNREADABLE: Final = 30.0  # seconds until what a missing key sealed is tried again: putting it back takes a restart
MOST: Final = 4  # steps that a grant does in one go: others are due, too
CLIENT: Final = (
    "Ring does not accept this app's client id or secret: each code that comes is lost, and no token is renewed; compare "
    "RINGHOOK_RING_CLIENT_ID and RINGHOOK_RING_CLIENT_SECRET with the portal's, mend them and restart"
)
UNWRITTEN: Final = (
    "tokens that Ring gave are in this process alone until the store takes them: whoever ends it before loses them, and the "
    "users whose they are must connect the app again"
)
T = TypeVar("T")
INSISTS: Final = 600.0  # seconds that is tried to be written of which no tokens depend: what is looked at later tells it, too
_RESULTS: Final[dict[type[Outcome], Result]] = {
    Done: "done",
    Refused: "refused",
    Unclear: "unclear",
    NotSent: "unavailable",
    Unauthorised: "unauthorised",
}


Moves = Callable[[int], bool]  # goes over to the line of a grant's next step, where that may begin under the same lease


class Notices(Protocol):
    """Where a proof of Ring's first contact is told."""

    def proven(self, kind: Notice) -> None:
        """Take note of it, at once and without fail."""
        ...


class Stepped(NamedTuple):
    """What came of a call, and the grant where its next step is due at once and its lease is still ours."""

    result: Result
    held: Grant | None = None


@dataclass(frozen=True)
class Steps:
    """Moves one grant on."""

    store: Store
    ring: RingApi
    vault: Vault
    opener: CodeOpener
    budget: Budget
    notices: Notices
    clock: Callable[[], float]
    clients: Sampler = field(default_factory=lambda: Sampler(60.0))
    unwritten: Delay = field(default_factory=Delay)
    renewals: Mapping[str, int] = field(default_factory=dict)  # how often our own sweep leased a row anew whose step goes on

    async def __call__(self, grant: Grant, lease_ends: float, moves: Moves = lambda _: True) -> None:
        """Do what is due; `lease_ends` is of `steady()`. Unavailable: the row comes due again when its lease ends.

        What is due at once after it is done, too, under the same lease: to be taken again costs a row more than its call does.
        But not where the lease has no room for it, nor the next step's line, which `moves` goes over to.
        """
        last = lease_ends - PATIENCE - self.ring.timeout - MARGIN_OF_LEASE
        held: Grant | None = grant
        for left in reversed(range(MOST)):
            if held is not None:
                held = await self._step(held, lease_ends, (lambda line: steady() < last and moves(line)) if left else _stays)

    async def _step(self, grant: Grant, lease_ends: float, moves: Moves) -> Grant | None:
        """Do one step; return the grant where the next one is due at once, and may begin."""
        move = saga.begin(grant, self.clock())
        if move.call is None:
            return await self._write(grant, move, moves)
        try:
            result, held = await self._call(grant, move, move.call, lease_ends, moves)
        except Moved:
            stepped(move.call, "superseded")
            raise
        stepped(move.call, result)
        return held

    async def _call(self, grant: Grant, move: Move, call: Call, lease_ends: float, moves: Moves) -> Stepped:
        try:
            secret = await self._secret(grant) if call == "post" else None
        except Unavailable as error:  # the store may answer in a moment: that is sooner than the lease ends
            log.warning("link.delayed", step=f"{grant.stage} {grant.code_hash[:12]}", why=str(error))
            return await self._postpone(grant, grant)
        turn = await self.budget.turn(_kind(call, grant), PATIENCE)
        if turn is None:
            return await self._postpone(grant, grant)
        with turn:
            held = await self._intend(grant, move.grant) if move.grant != grant else grant
            may = await self._may(turn, call, grant, lease_ends)
            outcome = await self._heard(call, grant, held, secret, lease_ends) if may else None
        if outcome is None:  # the turn is given back by now: what is taken back may take as long as the store is away
            return await self._postpone(held, grant)
        if call == "exchange" and isinstance(outcome, Done):
            self.notices.proven("code")
        return await self._record(held, outcome, moves)

    async def _heard(self, call: Call, grant: Grant, held: Grant, secret: bytes | None, lease_ends: float) -> Outcome:
        """Make the request, and heed what the answer says of all that come after it.

        Nothing of ours is awaited before it: it would begin later than it may.
        """
        _measure(call, grant, self.clock())
        outcome = await self._ask(call, held, secret, self._patience(lease_ends))
        if isinstance(outcome, Refused | NotSent) and outcome.client:
            self._tell_client(grant, outcome)
        if isinstance(outcome, NotSent) and outcome.limited:
            self.budget.rest(outcome.wait)
        return outcome

    def _tell_client(self, grant: Grant, outcome: Refused | NotSent) -> None:
        """Log that nobody can be linked or stay linked until an operator acts; a line a minute and app says it."""
        if self.clients.take(grant.app) is not None:
            log.error("ring.client_refused", app=grant.app, why=outcome.words, meaning=CLIENT)

    async def _may(self, turn: Turn, call: Call, grant: Grant, lease_ends: float) -> bool:
        """Say whether the request may go now: it has its place, ends within the lease, and is still what is to be done."""
        if not await turn.comes(PATIENCE):
            return False
        return steady() + self.ring.timeout + MARGIN_OF_LEASE <= lease_ends and saga.begin(grant, self.clock()).call == call

    async def _intend(self, before: Grant, after: Grant) -> Grant:
        """Hold the intent; where the commit did not answer, look whether it stands."""
        try:
            return await self.store.intend(before, after)
        except OutcomeUnknown:
            if (fresh := await _insistently(partial(self._stands, before, after), Unavailable)) is None:
                raise
            return fresh

    async def _stands(self, before: Grant, after: Grant) -> Grant | None:
        """Return the row if it is what we wrote: it was leased to us all the time, so nobody else did."""
        fresh = await self.store.grant(before.code_hash)
        if fresh is None or not 0 <= fresh.begun - after.begun <= self.renewals.get(before.code_hash, 0):
            return None
        return fresh if fresh == replace(after, counter=before.counter + 1, begun=fresh.begun) else None

    def _patience(self, lease_ends: float) -> float:
        """Return how long tokens may be awaited: as long as the row is ours, since nobody gets that answer a second time."""
        return max(self.ring.timeout, min(self.ring.longest, lease_ends - steady() - MARGIN_OF_LEASE))

    async def _ask(self, call: Call, grant: Grant, secret: bytes | None, patience: float) -> Outcome:
        """Make the one request; what is not there is refused by us, in Ring's place, and what cannot be opened is not sent."""
        try:
            answer = await self._request(call, grant, secret, patience)
        except (KeyMissing, Rejected) as error:
            if isinstance(error, Rejected) and error.reason == "absent":
                return Refused(words=str(error))
            # Nothing is given up for what is wrong with our own copy, nor called Ring's refusal.
            return NotSent(words=f"{OURS}{error}", wait=UNREADABLE, sealed=True)
        return Done(tokens=self.vault.seal(grant, answer, self.clock())) if isinstance(answer, api.Tokens) else answer

    async def _request(self, call: Call, grant: Grant, secret: bytes | None, patience: float) -> api.Tokens | Outcome:
        if call == "exchange":
            return await self.ring.exchange(grant.app, self.opener.open(grant.code or b"").decode(), patience)
        if call == "refresh":
            return await self.ring.refresh(grant.app, self.vault.open(grant, "refresh"), patience)
        access = self.vault.open(grant, "access")
        if call == "identify":
            return await self.ring.identify(access)
        if call == "patch":
            return await self.ring.complete(access)
        if call == "devices":
            return await self.ring.devices(access)
        posted = self._opened(secret)
        return await self.ring.claim(access, posted.nonce, posted.account_identifier)

    async def _secret(self, grant: Grant) -> bytes | None:
        """Return what a POST is to carry, sealed; None where the sign-in is gone."""
        attempt = await self.store.attempt(grant.attempt or "")
        return attempt.secret if attempt else None

    def _opened(self, secret: bytes | None) -> LinkSecret:
        if secret is None:
            raise Rejected("the sign-in behind this link is gone", reason="absent")
        return msgspec.json.decode(self.opener.open(secret), type=LinkSecret)

    async def _record(self, held: Grant, outcome: Outcome, moves: Moves) -> Stepped:
        """Write the outcome, again and again while the store is away."""
        write = partial(self._end, held, outcome, moves)
        if isinstance(outcome, Done) and outcome.tokens:
            return await self._at_last(write)
        return await _insistently(write, Moved, Unavailable)

    async def _at_last(self, write: Callable[[], Awaitable[Stepped]]) -> Stepped:
        """Write tokens however long that takes: Ring gives them once. Room for steps bounds how many wait so."""
        backoff = _between_tries()
        while True:
            try:
                written = await write()
            except Unavailable as error:
                self.unwritten.waits("link.tokens_unwritten", str(error), meaning=UNWRITTEN)
            else:
                self.unwritten.goes_on("link.tokens_written")
                return written
            await asyncio.sleep(backoff.next())

    async def _end(self, held: Grant, outcome: Outcome, moves: Moves) -> Stepped:
        try:
            after = await self._write(held, saga.end(held, outcome, self.clock()), moves)
        except Moved:
            return Stepped(await self._superseded(held, outcome))
        return Stepped(_RESULTS[type(outcome)], after)

    async def _superseded(self, held: Grant, outcome: Outcome) -> Result:
        """Look what another linker, or our own unanswered commit, made of the row; tokens that came are kept if they can be."""
        fresh = await self.store.grant(held.code_hash)
        if fresh and (move := saga.late(held, fresh, outcome, self.clock())):
            await self._write(fresh, move, _stays)
            return _RESULTS[type(outcome)]
        log.info("link.superseded", grant=held.code_hash[:12], stage=held.stage)
        return "superseded"

    async def _postpone(self, held: Grant, before: Grant) -> Stepped:
        """Let it be done later; an intent is taken back, insistently: none but us knows that nothing was sent."""
        write = partial(self._put_off, held, before)
        await (write() if held is before else _insistently(write, Unavailable))
        return Stepped("waiting")

    async def _put_off(self, held: Grant, before: Grant) -> None:
        try:
            await self._write(held, saga.postponed(before, LATER, self.clock()), _stays)
        except Moved:
            if held is before:
                raise
            await self._take_back(held, before)

    async def _take_back(self, held: Grant, before: Grant) -> None:
        """Undo the intent of a row that was moved meanwhile, if it is one still."""
        fresh = await self.store.grant(held.code_hash)
        if fresh and (move := saga.unsent(before, held, fresh, self.clock())):
            await self._write(fresh, move, _stays)

    async def _write(self, before: Grant, move: Move, moves: Moves) -> Grant | None:
        """Write a transition, and give the lease back unless the next step is due at once and has room."""
        now = self.clock()
        goes_on = saga.due_at_once(move.grant, now) and moves(move.grant.queue)
        move = replace(move, grant=saga.taken_up(move.grant)) if goes_on else move
        try:
            held = await self.store.apply(before, move, now, keep_lease=goes_on)
        except OutcomeUnknown:
            if not goes_on or (held := await self._stands(before, move.grant)) is None:
                raise
        _tell(before, move.grant)
        return held


def _tell(before: Grant, after: Grant) -> None:
    """Log what moved, and that it is tried again: the first time of a stage for operators, then at debug."""
    step = saga.plain(before.stage)
    facts = {"grant": before.code_hash[:12], "step": step, "state": after.state, "next": after.stage, "why": after.reason}
    if (after.state, saga.plain(after.stage)) != (before.state, step):
        log.info("link.moved", **facts)
    elif after.due_at is not None:
        tell = log.info if (before.tries, after.tries) == (0, 1) else log.debug
        tell("link.put_off", **facts)


def _stays(_line: int) -> bool:
    return False


def _kind(call: Call, grant: Grant) -> Kind:
    if call == "exchange":
        return "stranger" if grant.queue == STRANGERS else "code"
    if call == "patch":
        return "patch"
    if grant.queue == ASIDE:
        return "refresh"
    return "broker" if call == "refresh" and grant.resume in {"rest", "wait"} else "link"


def _measure(call: Call, grant: Grant, now: float) -> None:
    if call == "exchange":
        MARGIN.labels("exchange").observe(grant.received_at + schedule.CODE_LIFE - now)
    elif call == "post" and grant.nonce_until is not None:
        MARGIN.labels("post").observe(grant.nonce_until - now)


async def _insistently(write: Callable[[], Awaitable[T]], *faults: type[Exception]) -> T:
    """Try again and again while these come: what is written is known to nobody else."""
    backoff, until = _between_tries(), steady() + INSISTS
    while True:
        try:
            return await write()
        except faults:
            if steady() > until:
                raise
        await asyncio.sleep(backoff.next())


def _between_tries() -> Backoff:
    """Return pauses that are over long before another linker sends a renewal again that it takes for unanswered."""
    return Backoff(first=0.05, longest=5.0)
