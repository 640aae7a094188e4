"""The places at Ring, which all linkers share. Pure (correctness.md §7, decision 18).

There are as many places as requests may come in a second. A request takes one before it is sent, and the place is free again a
second after its answer came: so whoever is within one second at Ring has a place at that second's end, however long the way
was. Places are handed out as tokens, some of them a little before they are free.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from math import ceil
from typing import Final, Literal, get_args

import msgspec
from msgspec.structs import replace

Kind = Literal["code", "link", "broker", "patch", "refresh", "stranger", "reconcile"]
ORDER: Final[tuple[Kind, ...]] = get_args(Kind)
# Places that are left to what is more urgent, of all: it finds them free at once, whichever linker it is at. A request that hangs
# keeps its place: so steps of links leave a tenth to codes, which die in a minute; PATCHes, tried for a month, leave a fifth.
SPARED: Final[dict[Kind, float]] = {
    "code": 0.0,
    "link": 0.1,
    "broker": 0.12,
    "patch": 0.2,
    "refresh": 0.2,
    "stranger": 0.05,
    "reconcile": 0.25,
}
# Whose tokens each kind may use, its own first: what was got for the more urgent is not for the less urgent, who would keep the
# place as long as Ring lets them hang.
USES: Final[dict[Kind, tuple[Kind, ...]]] = {
    kind: tuple(one for one in ORDER[ORDER.index(kind) :] if (one == "stranger") == (kind == "stranger")) for kind in ORDER
}
EVENLY: Final = frozenset[Kind]({"refresh", "stranger", "reconcile"})  # kinds that never take what a second brings at once
PACE: Final = 1.25  # times the rate: how fast those go at most, so that links find places at any moment of the second
STRANGERS: Final = 10.0  # exchanges a second (security 6)
SHARE: Final = 0.2  # of all, at most, for strangers

SECOND: Final = 1.002  # seconds: clocks neither tick alike nor tell less than a millisecond
TICK: Final = 0.004  # seconds: answers that came within one are written down together, as the last of them
LIFE: Final = 0.2  # seconds a token lives; a request that has not begun by then needs another
ARRIVES: Final = 0.1  # seconds after which a request of a linker that died is at Ring, or nowhere
TELLS: Final = 0.2  # seconds within which a linker tells again of what is out
AHEAD: Final = 0.1  # seconds before it is free a place is handed out
SAID: Final = 86_400.0  # seconds for which Ring's word on its limit stands where it says none again
OURS: Final = 0.8  # where our own places are so much of Ring's limit, it is we who used it up


class Taken(msgspec.Struct, frozen=True, array_like=True):
    """Places that are not free for `left` seconds more: held by tokens of a ticket, or (ticket 0) answered a moment ago."""

    ticket: int
    places: int
    strangers: int  # of the strangers' own places
    left: float


class Book(msgspec.Struct, frozen=True):
    """What all linkers share: who has a place, how long nobody may send, and what Ring takes; `at` is the store's time of it."""

    at: float = 0.0
    tickets: int = 0
    rest: float = 0.0
    pace: float = 0.0  # seconds until the next token of those that go evenly
    taken: tuple[Taken, ...] = ()
    limit: int = 0  # how many requests a second Ring takes, by what any linker heard last; 0: none heard a word
    stands: float = 0.0  # seconds for which that counts


class Told(msgspec.Struct, frozen=True):
    """What became of a ticket's tokens: those still out, and when the others were answered; the rest was given back unused."""

    ticket: int
    stranger: bool
    out: int
    answers: tuple[float, ...] = ()  # on the linker's own clock


class Spent(msgspec.Struct, frozen=True):
    """Ring said that none remains of so many requests (0: of as many as may come), until then on the linker's own clock."""

    limit: int
    until: float


class Asked(msgspec.Struct, frozen=True):
    """What one linker tells, and wants. It tells of every ticket that it has."""

    rate: float
    wants: Mapping[Kind, int]
    told: Sequence[Told] = ()
    rests: float = 0.0  # until then, on the linker's own clock: Ring answered 429
    spent: Spent | None = None
    heard: int | None = None  # what Ring said of its limit since the linker asked last


class Given(msgspec.Struct, frozen=True):
    """Tokens of one ticket: in how many seconds each is good, the first one first, and the kind that each was got for."""

    ticket: int
    stranger: bool
    delays: tuple[float, ...]
    kinds: tuple[Kind, ...]


class Answered(msgspec.Struct, frozen=True):
    """What the linker gets, and how long nobody may send anything."""

    given: tuple[Given, ...]
    rest: float


def answered(book: Book, asked: Asked, *, here: float, now: float) -> tuple[Book, Answered]:
    """Return the book after one linker's words, and the answer; `here` is its own clock, not after `now` of the store's."""
    book = _heard(_passed(book, now), asked)
    asked = replace(asked, rate=min(asked.rate, book.limit or asked.rate))
    book = _rested(_told(book, asked, here), asked, here)
    if book.rest > 0:
        return book, Answered((), book.rest)
    given = list[Given]()
    for stranger in (False, True):
        book, tokens = _take(book, asked, stranger=stranger)
        delays, kinds = (tuple(delay for delay, _ in tokens), tuple(kind for _, kind in tokens))
        given += [Given(book.tickets, stranger, delays, kinds)] if tokens else []
    return book, Answered(tuple(given), 0.0)


def room(rate: float) -> tuple[int, float]:
    """Return the number of places for so many requests a second, and for how many seconds one is taken after its answer."""
    places = max(1, int(rate))
    return places, SECOND * max(1.0, places / rate)


def spared(kind: Kind, rate: float) -> int:
    """Return the number of places that a kind leaves to those before it: one at least, where there is more than one."""
    return min(ceil(round(rate * SPARED[kind], 6)), room(rate)[0] - 1)


def strangers(rate: float) -> float:
    """Return how many exchanges a second strangers may have."""
    return min(STRANGERS, rate * SHARE)


def _passed(book: Book, now: float) -> Book:
    """Let the time pass that did; a clock that was set back lets none pass."""
    past = max(0.0, now - book.at)
    taken = tuple(replace(one, left=one.left - past) for one in book.taken if one.left > past)
    stands = max(0.0, book.stands - past)
    book = replace(book, limit=book.limit if stands else 0, stands=stands)
    return replace(book, at=now, rest=max(0.0, book.rest - past), pace=max(0.0, book.pace - past), taken=taken)


def _heard(book: Book, asked: Asked) -> Book:
    """Keep Ring's last word on its limit, for those too who did not hear it: one that has just begun."""
    return book if asked.heard is None else replace(book, limit=asked.heard, stands=SAID)


def _told(book: Book, asked: Asked, here: float) -> Book:
    """Write down what became of a linker's tickets."""
    told, left = {one.ticket: one for one in asked.told}, {one.ticket: one.left for one in book.taken if one.ticket}
    others = [one for one in book.taken if one.ticket not in told]
    mine = chain.from_iterable(_of(one, left.get(one.ticket, 0.0), asked.rate, here) for one in told.values())
    return replace(book, taken=(*others, *mine))


def _of(told: Told, left: float, rate: float, here: float) -> Iterable[Taken]:
    """Return the places of one ticket: what is still out is held until its linker tells again, or has died."""
    held, own = room(rate)[1], room(strangers(rate))[1]
    if told.out:
        yield Taken(told.ticket, told.out, told.out * told.stranger, max(left, TELLS + ARRIVES + held))
    for at, many in Counter(ceil(at / TICK) * TICK for at in told.answers).items():
        yield Taken(0, many, 0, at + held - here)
        if told.stranger:
            yield Taken(0, 0, many, at + own - here)


def _rested(book: Book, asked: Asked, here: float) -> Book:
    """Let everybody rest where Ring says so: after a 429, or where others use up what it gives to this client id."""
    rest = max(book.rest, asked.rests - here)
    if asked.spent and sum(one.places for one in book.taken) < (asked.spent.limit or int(asked.rate)) * OURS:
        rest = max(rest, asked.spent.until - here)
    return replace(book, rest=rest, taken=tuple(one for one in book.taken if one.left > 0))


def _take(book: Book, asked: Asked, *, stranger: bool) -> tuple[Book, list[tuple[float, Kind]]]:
    """Give places to the most urgent wants first, the soonest ones; return in how many seconds each is good, and for whom."""
    free, tokens, pace = _free(book, room(asked.rate)[0]), list[tuple[float, Kind]](), book.pace
    most = _strangers_free(book, asked.rate) if stranger else len(free)
    for kind in (kind for kind in ORDER if (kind == "stranger") == stranger):
        may = min(asked.wants.get(kind, 0), len(free) - len(tokens) - spared(kind, asked.rate), most - len(tokens))
        for _ in range(max(0, may)):
            if kind in EVENLY and pace > AHEAD:
                break
            tokens.append((max(free[len(tokens)], pace if kind in EVENLY else 0.0), kind))
            pace += 1 / (PACE * asked.rate) if kind in EVENLY else 0.0
    book = replace(book, pace=pace)
    tokens.sort(key=lambda token: token[0])
    return (_taken(book, free[: len(tokens)], tokens[-1][0], asked.rate, stranger=stranger) if tokens else book), tokens


def _free(book: Book, places: int) -> list[float]:
    """Return in how many seconds places are free: 0.0 for those that are, then those that will be soon."""
    now = places - sum(one.places for one in book.taken)
    soon = sorted((one for one in book.taken if not one.ticket and one.left <= AHEAD), key=lambda one: one.left)
    delays = list(chain.from_iterable(repeat(one.left, one.places) for one in soon))
    return [0.0] * now + delays[max(0, -now) :]


def _strangers_free(book: Book, rate: float) -> int:
    return max(0, room(strangers(rate))[0] - sum(one.strangers for one in book.taken))


def _taken(book: Book, places: list[float], last: float, rate: float, *, stranger: bool) -> Book:
    """Note who has the places now, the last of which is good in so many seconds; those that are not free yet change hands."""
    ticket, many, passed = book.tickets + 1, len(places), Counter(left for left in places if left)
    rest = list[Taken]()
    for one in book.taken:
        gone = 0 if one.ticket else min(one.places, passed[one.left])
        passed[one.left] -= gone
        kept = replace(one, places=one.places - gone)
        rest += [kept] if kept.places or kept.strangers else []
    held = Taken(ticket, many, many * stranger, last + LIFE + ARRIVES + room(rate)[1])
    return replace(book, tickets=ticket, taken=(*rest, held))
