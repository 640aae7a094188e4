"""One linker's share of the budget, and several on one store: counted where Ring would count."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable

import pytest

from linker.budget import Budget
from linker.places import Asked, Kind
from linker.placestore import Alone, PlaceStore, Reply
from schemas.ring.limits import Limit
from workers.runtime.clock import steady
from workers.runtime.database import Database, connect
from workers.runtime.storefault import StoreUnavailable

ANSWERS = 0.01  # seconds


class Ring:
    """Where the requests of all linkers come: when each was there."""

    def __init__(self) -> None:
        self.came: list[float] = []

    async def ask(self, budget: Budget, kind: Kind = "link", patience: float = 5.0) -> bool:
        turn = await budget.turn(kind, patience)
        if turn is None:
            return False
        with turn:
            if not await turn.comes(patience):
                return False
            self.came.append(steady())
            await asyncio.sleep(ANSWERS)
        return True

    async def flood(self, budget: Budget, seconds: float, kind: Kind = "link", lines: int = 40) -> int:
        """Ask as fast as it goes; return how often it went."""
        until, went = steady() + seconds, 0

        async def line() -> None:
            nonlocal went
            while (left := until - steady()) > 0:
                if await self.ask(budget, kind, left):
                    went += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(lines):
                group.create_task(line())
        return went

    def busiest(self) -> int:
        most, inside = 0, deque[float]()
        for at in sorted(self.came):
            while inside and inside[0] <= at - 1:
                inside.popleft()
            inside.append(at)
            most = max(most, len(inside))
        return most


@pytest.fixture
async def database(store_url: str) -> AsyncIterator[Database]:
    async with connect(store_url) as database:
        await database.create_all()
        yield database


async def test_one_linker_gets_nearly_all_and_never_more(database: Database) -> None:
    ring = Ring()
    async with Budget(PlaceStore(database), 100) as budget:
        await ring.flood(budget, 4.0)
    assert ring.busiest() <= 100
    assert len(ring.came) >= 4 * 70


async def test_a_linker_that_is_alone_asks_no_store_and_rests_first_for_what_a_former_one_sent() -> None:
    ring, began = Ring(), steady()
    async with Budget(Alone(), 100) as budget:
        await ring.flood(budget, 4.0)
    assert ring.came[0] - began > 1.0
    assert ring.busiest() <= 100
    assert len(ring.came) >= 2.9 * 70


async def test_two_linkers_never_exceed_it_together_and_each_gets_some(database: Database) -> None:
    ring, places = Ring(), PlaceStore(database)
    async with Budget(places, 100) as one, Budget(places, 100) as other:
        shares = await asyncio.gather(ring.flood(one, 4.0), ring.flood(other, 4.0))
    assert ring.busiest() <= 100
    assert len(ring.came) >= 4 * 70
    assert min(shares) >= 0.1 * sum(shares)


async def test_an_idle_linker_lends_all_it_had(database: Database) -> None:
    ring, places = Ring(), PlaceStore(database)
    async with Budget(places, 50) as one, Budget(places, 50) as other:
        await asyncio.gather(ring.flood(one, 1.5), ring.flood(other, 1.5))
        before = len(ring.came)
        await ring.flood(one, 3.0)
    assert len(ring.came) - before >= 3 * 50 * 0.7
    assert ring.busiest() <= 50


async def test_links_of_one_linker_do_not_wait_behind_the_refreshes_of_another(database: Database) -> None:
    ring, places, waits = Ring(), PlaceStore(database), list[float]()
    async with Budget(places, 40) as busy, Budget(places, 40) as urgent:
        flood = asyncio.create_task(ring.flood(busy, 5.0, "refresh"))
        await asyncio.sleep(1.5)
        for _ in range(20):
            began = steady()
            assert await ring.ask(urgent, "link")
            waits.append(steady() - began)
            await asyncio.sleep(0.1)
        await flood
    assert sorted(waits)[len(waits) // 2] < 0.25
    assert ring.busiest() <= 40


async def test_the_urgent_go_first(database: Database) -> None:
    ring, order, places = Ring(), list[str](), Lame(PlaceStore(database))
    places.away = True
    async with Budget(places, 10) as budget:

        async def spend(kind: Kind) -> None:
            assert await ring.ask(budget, kind, 20.0)
            order.append(kind)

        kinds: tuple[Kind, ...] = ("reconcile", "refresh", "patch", "broker", "link", "code")
        async with asyncio.TaskGroup() as group:
            for kind in kinds * 3:
                group.create_task(spend(kind))
            await asyncio.sleep(0)  # all of them wait
            places.away = False
    assert order[:10] == ["code"] * 3 + ["link"] * 3 + ["broker"] * 3 + ["patch"]
    assert order.count("reconcile") == 3
    assert order[-1] == "reconcile"


async def test_what_hangs_takes_no_place_that_is_kept_for_codes_however_many_of_those_come(database: Database) -> None:
    places, hanging, most, waits = PlaceStore(database), 0, 0, list[float]()
    ring = Ring()
    async with Budget(places, 50) as budget:

        async def hang() -> None:
            nonlocal hanging, most
            while (turn := await budget.turn("patch", 20.0)) is not None:
                with turn:
                    if await turn.comes(20.0):
                        hanging += 1
                        most = max(most, hanging)
                        await asyncio.sleep(20.0)

        async def come() -> None:
            began = steady()
            assert await ring.ask(budget, "code")
            waits.append(steady() - began)

        hung = [asyncio.create_task(hang()) for _ in range(64)]
        await asyncio.sleep(1.5)
        async with asyncio.TaskGroup() as group:
            for _ in range(32):
                group.create_task(come())
                await asyncio.sleep(0.1)
        for one in hung:
            one.cancel()
        await asyncio.gather(*hung, return_exceptions=True)
    assert most <= 40, "a PATCH leaves a fifth, also of what was asked for codes"
    assert sorted(waits)[len(waits) // 2] < 0.3


async def test_strangers_get_ten_a_second_of_all_linkers_together(database: Database) -> None:
    ring, places = Ring(), PlaceStore(database)
    async with Budget(places, 100) as one, Budget(places, 100) as other:
        floods = (ring.flood(one, 3.0, "stranger"), ring.flood(other, 3.0, "stranger"))
        first, second = await asyncio.gather(*floods)
        assert 20 <= first + second <= 31
        floods = (ring.flood(one, 3.0, "stranger"), ring.flood(other, 3.0, "link"))
        _, links = await asyncio.gather(*floods)
    assert links >= 3 * 65
    assert ring.busiest() <= 100


async def test_whoever_waits_too_long_is_told_so_and_takes_nothing(database: Database) -> None:
    ring = Ring()
    async with Budget(PlaceStore(database), 1) as budget:
        assert await ring.ask(budget)
        assert not await ring.ask(budget, patience=0.05)
        assert await ring.ask(budget)
    assert ring.busiest() == 1


async def test_one_that_died_holding_tokens_gives_them_back_within_about_a_second(database: Database) -> None:
    ring, places = Ring(), PlaceStore(database)
    await places.ask(Asked(50, {"link": 50}))  # and never a word again
    async with Budget(places, 50) as budget:
        assert not await ring.ask(budget, patience=0.6)
        began = steady()
        assert await ring.ask(budget)
        assert steady() - began < 1.2


async def test_a_429_to_one_rests_all(database: Database) -> None:
    ring, places = Ring(), PlaceStore(database)
    async with Budget(places, 100) as one, Budget(places, 100) as other:
        flood = asyncio.create_task(ring.flood(other, 3.5))
        await asyncio.sleep(1.0)
        one.rest(1.5)
        began = steady()
        await flood
    assert not [at for at in ring.came if began + 0.5 < at < began + 1.5]
    assert [at for at in ring.came if at > began + 1.5]


@pytest.mark.parametrize(("said", "pause"), [(Limit(100, 0, 2.0), 2.0), (Limit(100, 0), 1.0)])
async def test_nothing_goes_where_ring_says_that_nothing_remains(database: Database, said: Limit, pause: float) -> None:
    ring, places = Ring(), PlaceStore(database)
    async with Budget(places, 100) as one, Budget(places, 100) as other:
        assert await ring.ask(one)
        one.heard(said)
        began = steady()
        await asyncio.sleep(0.3)
        assert await ring.ask(other)
    assert ring.came[-1] - began >= pause * 0.95


async def test_a_lower_limit_of_rings_own_is_kept_to(database: Database) -> None:
    ring = Ring()
    async with Budget(PlaceStore(database), 100) as budget:
        assert await ring.ask(budget)
        budget.heard(Limit(20, 19))
        await ring.flood(budget, 3.0)
    assert ring.busiest() <= 20


async def test_a_lower_limit_that_one_linker_heard_is_kept_to_by_those_that_begin_after_it(database: Database) -> None:
    ring, places = Ring(), PlaceStore(database)
    async with Budget(places, 100) as one:
        assert await ring.ask(one)
        one.heard(Limit(20, 19))
        assert await ring.ask(one)
    await asyncio.sleep(1.1)
    async with Budget(places, 100) as next_one, Budget(places, 100) as other:
        await asyncio.gather(ring.flood(next_one, 2.5), ring.flood(other, 2.5))
    assert 10 < ring.busiest() <= 20


async def test_an_answer_that_says_nothing_of_a_limit_ends_none_and_one_that_says_a_higher_one_does(database: Database) -> None:
    ring = Ring()
    async with Budget(PlaceStore(database), 100) as budget:
        assert await ring.ask(budget)
        budget.heard(Limit(20, 19))
        budget.heard(Limit())  # of the other host, or of a gateway's own page
        await ring.flood(budget, 2.5)
        assert ring.busiest() <= 20
        budget.heard(Limit(1_000, 999))
        await ring.flood(budget, 1.5)
    assert 20 < ring.busiest() <= 100


class Lame:
    """A store that is away, or slow, when the test says so."""

    def __init__(self, inner: PlaceStore) -> None:
        self.inner, self.away, self.asks = inner, False, 0

    async def ask(self, asked: Asked) -> Reply:
        self.asks += 1
        if self.away:
            raise StoreUnavailable
        return await self.inner.ask(asked)


async def test_while_the_store_is_away_nothing_goes(database: Database) -> None:
    ring, places = Ring(), Lame(PlaceStore(database))
    async with Budget(places, 100) as budget:
        assert await ring.ask(budget)
        places.away = True
        await asyncio.sleep(0.3)  # tokens in hand die
        assert not await ring.ask(budget, patience=0.5)
        places.away = False
        assert await ring.ask(budget)


async def test_the_store_is_asked_a_few_times_a_second_and_not_at_all_without_work(database: Database) -> None:
    ring, places = Ring(), Lame(PlaceStore(database))
    async with Budget(places, 100) as budget:
        await ring.flood(budget, 3.0)
        assert places.asks <= 3 * 25
        await until_quiet(lambda: places.asks)


async def until_quiet(count: Callable[[], int]) -> None:
    before, until = -1, time.monotonic() + 10
    while before != count():
        assert time.monotonic() < until
        before = count()
        await asyncio.sleep(0.5)


async def test_a_request_that_begins_late_gets_another_token(database: Database) -> None:
    async with Budget(PlaceStore(database), 100) as budget:
        turn = await budget.turn("link", 1.0)
        assert turn
        with turn:
            first = turn._token
            await asyncio.sleep(0.4)
            assert await turn.comes(1.0)
            assert turn._token.ticket != first.ticket
