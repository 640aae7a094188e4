"""The places at Ring: never more than the rate in any second, whoever asks, dies or is slow; the urgent find theirs."""

import random
from collections import deque
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linker.places import (
    AHEAD,
    ARRIVES,
    LIFE,
    SAID,
    SECOND,
    TELLS,
    USES,
    Answered,
    Asked,
    Book,
    Kind,
    Spent,
    Told,
    answered,
    room,
)


def asked(book: Book, now: float, rate: float = 100, **wants: int) -> tuple[Book, Answered]:
    return answered(book, Asked(rate, wants), here=now, now=now)  # type: ignore[arg-type] # kinds, spelt below


def got(answer: Answered) -> int:
    return sum(len(given.delays) for given in answer.given)


def test_there_are_as_many_places_as_requests_a_second() -> None:
    book, first = asked(Book(), 0.0, code=70)
    book, second = asked(book, 0.1, code=70)
    assert (got(first), got(second)) == (70, 30)


def test_a_place_is_free_a_second_after_its_answer_and_handed_out_a_little_before() -> None:
    book, answer = asked(Book(), 0.0, code=100)
    [tokens] = answer.given
    told = Told(tokens.ticket, stranger=False, out=0, answers=(0.5,) * 100)  # a whole number of ticks
    book, none = answered(book, Asked(100, {"code": 1}, [told]), here=0.6, now=1000.6)
    assert got(none) == 0
    book, soon = asked(book, 1000.6 + 0.9 - AHEAD + 0.01, code=3)
    assert [round(delay, 3) for delay in soon.given[0].delays] == [round(AHEAD - 0.008, 3)] * 3
    assert got(asked(book, 1000.6 + SECOND, code=200)[1]) == 97


def test_what_was_not_used_is_free_at_once_when_it_is_told() -> None:
    book, answer = asked(Book(), 0.0, code=100)
    told = Told(answer.given[0].ticket, stranger=False, out=10)
    book, again = answered(book, Asked(100, {"code": 100}, [told]), here=0.1, now=0.1)
    assert got(again) == 90


def test_the_places_of_one_who_died_are_free_without_a_word_and_not_before() -> None:
    book, _ = asked(Book(), 0.0, code=100)
    assert got(asked(book, LIFE + ARRIVES + SECOND - 0.01, code=1)[1]) == 0
    assert got(asked(book, LIFE + ARRIVES + SECOND + 0.01, code=100)[1]) == 100


def test_a_place_whose_answer_is_slow_is_kept_as_long_as_its_linker_tells_so() -> None:
    book, answer = asked(Book(), 0.0, code=100)
    for tick in range(1, 80):
        told = Told(answer.given[0].ticket, stranger=False, out=100)
        book, none = answered(book, Asked(100, {"code": 1}, [told]), here=tick / 10, now=tick / 10)
        assert got(none) == 0


def test_a_clock_that_is_set_back_frees_nothing_and_stops_nobody() -> None:
    book, _ = asked(Book(), 5_000.0, code=100)
    book, none = asked(book, 1_000.0, code=1)
    assert got(none) == 0
    assert got(asked(book, 1_002.0, code=100)[1]) == 100


@pytest.mark.parametrize(
    ("kind", "most"),
    [
        ("code", 100),
        ("link", 90),
        ("broker", 88),
        ("patch", 80),
        ("refresh", 80),
        ("reconcile", 75),
        ("stranger", 10),
    ],
)
def test_each_kind_leaves_places_to_what_is_more_urgent(kind: Kind, most: int) -> None:
    book, given = Book(), 0
    for tick in range(21):
        book, answer = asked(book, tick * 0.05, **{kind: 1_000})
        given += got(answer)
    assert given == most
    assert got(asked(book, 1.0, code=1_000)[1]) == 100 - most


@pytest.mark.parametrize("rate", [1, 2, 3, 5, 9, 15])
def test_at_few_requests_a_second_too_something_is_left_to_codes_and_nobody_is_left_out(rate: int) -> None:
    for kind in ("link", "broker", "patch", "stranger"):
        answer = answered(Book(), Asked(rate, {kind: 100}, ()), here=0.0, now=0.0)[1]
        assert 1 <= got(answer) <= max(1, rate - 1), kind


def test_what_keeps_tokens_alive_goes_evenly_and_codes_at_once() -> None:
    book, answer = asked(Book(), 0.0, refresh=1_000)
    assert answer.given[0].delays == pytest.approx([number / 125 for number in range(13)])
    assert got(asked(book, 0.0, refresh=1_000)[1]) == 0
    assert got(asked(book, 0.0, code=1_000)[1]) == 100 - 13


def test_the_urgent_come_first_within_one_asking_too() -> None:
    book, _ = asked(Book(), 0.0, code=70)
    book, answer = asked(book, 0.0, reconcile=5, refresh=5, patch=4, broker=3, link=1, code=1)
    assert got(answer) == 1 + 1 + 3 + 4 + 1  # PATCH and refresh leave twenty, the walk a quarter


def test_each_token_is_named_by_the_kind_that_it_was_got_for() -> None:
    _, answer = asked(Book(), 0.0, patch=2, code=1, stranger=1, refresh=2)
    assert [given.kinds for given in answer.given] == [("code", "patch", "patch", "refresh", "refresh"), ("stranger",)]


def test_a_token_serves_its_own_kind_and_the_more_urgent() -> None:
    assert USES["code"] == ("code", "link", "broker", "patch", "refresh", "reconcile")
    assert USES["patch"] == ("patch", "refresh", "reconcile")
    assert USES["stranger"] == ("stranger",)


@pytest.mark.parametrize(("rate", "seconds", "most"), [(100, 10, 100), (20, 10, 40), (2, 10, 4), (0.5, 30, 3)])
def test_strangers_get_ten_a_second_and_never_over_a_fifth(rate: float, seconds: int, most: int) -> None:
    book, tickets, given, spent = Book(), list[int](), 0, list[Told]()
    for tick in range(seconds * 20):
        now = tick / 20
        spent = [Told(ticket, stranger=True, out=0, answers=(now,)) for ticket in tickets]
        book, answer = answered(book, Asked(rate, {"stranger": 1}, spent), here=now, now=now)
        tickets = [one.ticket for one in answer.given]
        given += got(answer)
    assert most * 0.85 <= given <= most + 1


def test_everybody_rests_after_a_429() -> None:
    book, answer = answered(Book(), Asked(100, {"code": 1}, rests=50.0), here=43.0, now=0.0)
    assert (got(answer), answer.rest) == (0, 7.0)
    book, other = asked(book, 6.9, code=1)
    assert (got(other), round(other.rest, 3)) == (0, 0.1)
    assert got(asked(book, 7.1, code=1)[1]) == 1


def test_nothing_left_at_ring_is_rest_where_others_used_it_and_none_where_we_did() -> None:
    spent = Spent(limit=100, until=1.0)
    assert answered(Book(), Asked(100, {"code": 1}, spent=spent), here=0.0, now=0.0)[1].rest == 1.0
    book, _ = asked(Book(), 0.0, code=95)
    assert got(answered(book, Asked(100, {"code": 1}, spent=spent), here=0.0, now=0.0)[1]) == 1


def test_places_beyond_a_lower_rate_are_given_up_before_any_changes_hands() -> None:
    book, answer = asked(Book(), 0.0, code=100)
    told = Told(answer.given[0].ticket, stranger=False, out=0, answers=(0.0,) * 100)
    book, none = answered(book, Asked(40, {"code": 100}, [told]), here=0.95, now=0.95)
    assert got(none) == 40
    assert sum(one.places for one in book.taken) == 100


def test_ring_is_taken_at_its_last_word_on_its_limit_by_all_for_a_day() -> None:
    book, answer = answered(Book(), Asked(100, {"code": 100}, heard=20), here=0.0, now=0.0)
    assert got(answer) == 20
    book = msgspec.json.decode(msgspec.json.encode(book), type=Book)
    assert got(asked(book, 10.0, code=100)[1]) == 20
    assert got(asked(book, 10.0, rate=5, code=100)[1]) == 5
    assert got(answered(book, Asked(100, {"code": 100}, heard=1_000), here=10.0, now=10.0)[1]) == 100
    assert got(asked(book, SAID - 1, code=100)[1]) == 20
    assert got(asked(book, SAID + 1, code=100)[1]) == 100


def test_a_book_that_an_earlier_version_wrote_is_read() -> None:
    book = msgspec.json.decode(b'{"at":5.0,"tickets":3,"rest":0.0,"pace":0.0,"taken":[[3,4,0,1.0]]}', type=Book)
    assert got(asked(book, 5.0, code=100)[1]) == 96


def test_rates_below_one_make_the_second_longer() -> None:
    assert room(0.5) == (1, SECOND * 2)
    assert room(100.0) == (100, SECOND)


@dataclass
class Linker:
    """One process as the shell is: it may die, its clock is its own, and its asks may be lost after they were taken."""

    ahead: float  # its own clock before the true time
    rate: float
    hand: list[tuple[int, float, float]] = field(default_factory=list)  # ticket, good, dies; in true time
    flying: list[tuple[int, float]] = field(default_factory=list)  # ticket, when the answer comes
    done: list[tuple[int, float]] = field(default_factory=list)
    told_at: float = 0.0

    def told(self) -> list[Told]:
        names = {one[0] for one in (*self.hand, *self.flying, *self.done)}
        held = [*self.hand, *self.flying]
        return [
            Told(
                name,
                stranger=False,
                out=sum(one[0] == name for one in held),
                answers=tuple(at + self.ahead for one, at in self.done if one == name),
            )
            for name in names
        ]


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_never_more_than_the_rate_in_any_second_at_ring(seed: int, linkers: int, rate: int) -> None:
    dice = random.Random(seed)  # noqa: S311 - dice of a test
    book, arrived, skew, now = Book(), list[float](), 1_000.0, 0.0
    alive = [Linker(dice.uniform(-50, 50), rate) for _ in range(linkers)]
    for _ in range(600):
        now += dice.choice((0.001, 0.01, 0.03))
        skew -= dice.uniform(0, 5) if dice.random() < 0.01 else 0.0
        for place, one in enumerate(alive):
            one.done += [(name, at) for name, at in one.flying if at <= now]
            one.flying = [(name, at) for name, at in one.flying if at > now]
            one.hand = [(name, good, dies) for name, good, dies in one.hand if dies >= now]
            if dice.random() < 0.005:
                alive[place] = Linker(dice.uniform(-50, 50), rate, told_at=now)
                continue
            while one.hand and one.hand[0][1] <= now and dice.random() < 0.7:
                name = one.hand.pop(0)[0]
                on_the_way = dice.choice((0.0, ARRIVES * dice.random()))
                arrived.append(now + on_the_way)
                one.flying.append((name, now + on_the_way + dice.choice((0.0, 0.05, 3.0))))
            if dice.random() < 0.3 or now - one.told_at > TELLS - 0.03:
                wants: dict[Kind, int] = {dice.choice(("code", "patch", "refresh")): dice.randrange(rate + 1)}
                book, answer = answered(book, Asked(rate, wants, one.told()), here=now + one.ahead, now=now + skew)
                one.told_at = now
                if dice.random() < 0.05:
                    continue  # committed, and the answer lost
                one.done = []
                fresh = [(each.ticket, now + wait, now + wait + LIFE) for each in answer.given for wait in each.delays]
                one.hand = sorted((*one.hand, *fresh), key=lambda token: token[1])
    assert busiest(arrived) <= rate


def busiest(arrivals: list[float]) -> int:
    most, inside = 0, deque[float]()
    for at in sorted(arrivals):
        while inside and inside[0] <= at - 1:
            inside.popleft()
        inside.append(at)
        most = max(most, len(inside))
    return most
