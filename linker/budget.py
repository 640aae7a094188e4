"""How many requests Ring gets from this linker: the urgent ones first, as far as the places go that all linkers share.

Tokens for places are asked of the store, a few times a second while there is work, as many as wait and as were used lately; what
is not used dies after 200 ms and goes back. While the store is away there are none, and nothing is sent.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Final, NamedTuple, Protocol, Self

from linker.metrics import WAITED
from linker.places import AHEAD, LIFE, ORDER, TELLS, USES, Asked, Kind, Spent, Told
from linker.placestore import Reply
from schemas.errors import Unavailable
from schemas.ring.limits import Limit
from workers.runtime.backoff import Backoff
from workers.runtime.clock import steady
from workers.runtime.delay import Delay

EARLY: Final = 0.02  # seconds before it is good a token is given to who waits: the intent is written meanwhile
SOON: Final = 0.02  # seconds between two asks where the last one brought all that was wanted
LATER: Final = 0.07  # where it did not
WINDOW: Final = 1.0  # seconds that Ring's limit counts: so long nothing goes where it says that nothing remains


class Places(Protocol):
    """Where all linkers ask."""

    async def ask(self, asked: Asked) -> Reply:
        """Tell and ask. Raises Unavailable."""
        ...


class Token(NamedTuple):
    """One place, for a request that begins between these moments."""

    ticket: int
    good: float
    dies: float


class Waiting(NamedTuple):
    """Somebody in line, the least first."""

    rank: int
    number: int
    kind: Kind
    token: asyncio.Future[Token]


@dataclass
class _Ticket:
    stranger: bool
    out: int
    answers: list[float] = field(default_factory=list)


class Turn:
    """The right to make one request; the block that it opens ends when the answer has come."""

    def __init__(self, budget: "Budget", kind: Kind, number: int, token: Token) -> None:
        self._budget, self._kind, self._token, self._sent = budget, kind, token, False
        self._number = number

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.give_back(self._token, answered=self._sent)

    async def comes(self, patience: float) -> bool:
        """Return True when the request is to be sent, at once; False where that took longer than `patience` seconds."""
        while not self._sent:
            await self._budget.until_good(self._token)
            if self._budget.lives(self._token):
                self._sent = True
            elif (other := await self._budget.token(self._kind, self._number, patience)) is None:
                return False
            else:
                self._budget.give_back(self._token)
                self._token = other
        return True


class Budget:
    """Shares out this linker's requests. It works between `async with`; `rate` is how many a second all linkers may make."""

    def __init__(self, places: Places, rate: float, *, clock: Callable[[], float] = steady) -> None:
        self._places, self._rate, self._clock = places, rate, clock
        self._lines: dict[bool, list[Waiting]] = {False: [], True: []}  # by whether they are for strangers' codes
        self._hands: dict[Kind, deque[Token]] = {kind: deque() for kind in ORDER}  # by the kind they were got for
        self._tickets: dict[int, _Ticket] = {}
        self._used: deque[tuple[float, Kind]] = deque()
        self._served, self._rests = 0, 0.0
        self._spent: Spent | None = None
        self._heard: int | None = None  # of Ring's limit, and not told yet
        self._wanted, self._hurry = asyncio.Event(), asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    async def __aenter__(self) -> Self:
        self._over = False
        self._group = await asyncio.TaskGroup().__aenter__()
        self._group.create_task(self._run(), name="linker.budget")
        return self

    async def __aexit__(self, *error: object) -> None:
        self._over = True
        self._at_once()
        self._again(None)
        await self._group.__aexit__(*error)  # type: ignore[arg-type] # handed through as it came

    async def turn(self, kind: Kind, patience: float) -> Turn | None:
        """Return a turn, or None where that took longer than `patience` seconds."""
        self._served += 1
        number = self._served
        token = await self.token(kind, number, patience)
        return None if token is None else Turn(self, kind, number, token)

    def rest(self, seconds: float) -> None:
        """Send nothing for so long, here or anywhere: Ring answered 429."""
        self._rests = max(self._rests, self._clock() + seconds)
        self._at_once()

    def heard(self, limit: Limit) -> None:
        """Tell all linkers what Ring said of its limit beside an answer, until another says otherwise; many say nothing of it."""
        self._heard = self._heard if limit.most is None else limit.most
        if limit.left == 0 and self._spent is None:
            wait = WINDOW if limit.reset is None else limit.reset
            self._spent = Spent(limit.most or 0, self._clock() + wait)
            self._wanted.set()

    async def token(self, kind: Kind, number: int, patience: float) -> Token | None:
        """Return a token, which is to be given back; None where that took longer than `patience` seconds.

        Among its kind the least number comes first: who came early and was too slow for a token does not go to the end.
        """
        token: asyncio.Future[Token] = asyncio.get_running_loop().create_future()
        heappush(self._lines[kind == "stranger"], Waiting(ORDER.index(kind), number, kind, token))
        self._serve()
        try:
            with WAITED.labels(kind).time():
                async with asyncio.timeout(patience):
                    return await token
        except BaseException as error:
            if token.done() and not token.cancelled():
                self.give_back(token.result())
            if isinstance(error, TimeoutError):
                return None
            raise

    def give_back(self, token: Token, *, answered: bool = False) -> None:
        """Take a token back: one that was not used, or whose request is answered."""
        ticket = self._tickets[token.ticket]
        ticket.out -= 1
        if answered:
            ticket.answers.append(self._clock())

    async def until_good(self, token: Token) -> None:
        """Wait until the token's place is free."""
        while (wait := token.good - self._clock()) > 0:  # noqa: ASYNC110 - time itself is waited for
            await asyncio.sleep(wait)

    def lives(self, token: Token) -> bool:
        """Say whether a request may begin with this token now."""
        return self._rests <= self._clock() <= token.dies

    def _serve(self) -> None:
        """Give the tokens in hand to those who wait, and see to it that more are asked for where they do not suffice."""
        now, next_at = self._clock(), list[float]()
        self._bury(now)
        for line in self._lines.values():
            while line and (line[0].token.done() or self._ready(line[0].kind, now)):
                first = heappop(line)
                if not first.token.done():
                    first.token.set_result(self._ready(first.kind, now).popleft())
                    self._used.append((now, first.kind))
            next_at += [hand[0].good - EARLY - now for hand in self._usable(line[0].kind)] if line else []
        if self._less(self._waiting()).total():
            self._wanted.set()
        self._again(min(next_at, default=None))

    def _usable(self, kind: Kind) -> list[deque[Token]]:
        """Return the tokens in hand that a kind may use, its own first; those behind it in line may use no others."""
        return [self._hands[one] for one in USES[kind] if self._hands[one]]

    def _ready(self, kind: Kind, now: float) -> deque[Token]:
        """Return those of them of which one is good; an empty deque where none is."""
        return next((hand for hand in self._usable(kind) if hand[0].good - EARLY <= now), deque())

    def _bury(self, now: float) -> None:
        """Give back what died in our hand, or may not be used since Ring wants rest."""
        for hand in self._hands.values():
            while hand and (hand[0].dies < now or self._rests > now):
                self.give_back(hand.popleft())

    def _waiting(self) -> Counter[Kind]:
        return Counter(one.kind for line in self._lines.values() for one in line if not one.token.done())

    def _again(self, seconds: float | None) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self._serve)

    def _at_once(self) -> None:
        self._wanted.set()
        self._hurry.set()

    async def _run(self) -> None:
        """Ask whenever somebody lacks a token, and tell of what is out before the others take it for lost."""
        backoff, delay = Backoff(first=0.05, longest=1.0), Delay()
        while not self._over:
            await _within(TELLS / 2 if self._tickets else None, self._wanted)
            self._wanted.clear()
            self._hurry.clear()
            try:
                pause = await self._ask()
                backoff.reset()
                delay.goes_on("budget.resumed")
            except Unavailable as error:
                pause = backoff.next()
                delay.waits("budget.delayed", str(error))
            await _within(pause, self._hurry)

    async def _ask(self) -> float:
        """Ask and tell; return the seconds until it is worth asking again."""
        asked, spent = self._asked(), self._spent
        reply = await self._places.ask(asked)
        for told in asked.told:
            self._forget(told)
        self._spent = None if self._spent is spent else self._spent
        self._heard = None if self._heard == asked.heard else self._heard
        if reply.answered.rest:
            self._rests = max(self._rests, reply.since + reply.answered.rest)
        for given in reply.answered.given:
            self._tickets[given.ticket] = _Ticket(given.stranger, len(given.delays))
            for wait, kind in zip(given.delays, given.kinds, strict=True):
                self._hands[kind].append(Token(given.ticket, reply.until + wait, reply.since + wait + LIFE))
        for kind, hand in self._hands.items():
            self._hands[kind] = deque(sorted(hand, key=lambda token: token.good))
        self._serve()
        if reply.answered.rest:
            return min(reply.answered.rest, TELLS / 2 if self._tickets else WINDOW)
        enough = sum(len(given.delays) for given in reply.answered.given) >= sum(asked.wants.values())
        return SOON if enough else LATER * random.uniform(0.7, 1.3)  # noqa: S311 - so that linkers do not march in step

    def _asked(self) -> Asked:
        """Say what is wanted: for those who wait, and for as many as came lately."""
        now = self._clock()
        while self._used and self._used[0][0] < now - AHEAD:
            self._used.popleft()
        self._bury(now)
        wants = self._less(self._waiting() + Counter(kind for _, kind in self._used))
        told = [Told(name, one.stranger, one.out, tuple(one.answers)) for name, one in self._tickets.items()]
        return Asked(self._rate, dict(wants), told, self._rests, self._spent, self._heard)

    def _less(self, wants: Counter[Kind]) -> Counter[Kind]:
        """Return what is wanted beyond what is in hand, which the most urgent get."""
        here, lacking = {kind: len(hand) for kind, hand in self._hands.items()}, Counter[Kind]()
        for kind in ORDER:
            left = wants[kind]
            for one in USES[kind]:
                off = min(here[one], left)
                here[one], left = here[one] - off, left - off
            lacking[kind] = left
        return lacking

    def _forget(self, told: Told) -> None:
        """Drop what the others know now."""
        ticket = self._tickets[told.ticket]
        del ticket.answers[: len(told.answers)]
        if not (told.out or ticket.out or ticket.answers):
            del self._tickets[told.ticket]


async def _within(seconds: float | None, event: asyncio.Event) -> None:
    """Wait for the event, at most so long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
