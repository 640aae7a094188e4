"""The store goes away just after a code's intent was written: who knows that nothing was sent takes the intent back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from time import monotonic
from typing import Any

import pytest

from linker import advance, saga, steps
from linker.advance import Advance
from linker.budget import Budget
from linker.places import Asked
from linker.placestore import Reply
from linker.rows import Grant
from linker.store import Store
from tests.linker.rig import Rig, Shared
from tests.linker.ring import nonce
from workers.runtime.storefault import OutcomeUnknown, StoreUnavailable

REFUSED = 12  # calls in a row: the budget's next place, the row itself, and some tries more


class Cable:
    """Is pulled once, for so many calls."""

    def __init__(self) -> None:
        self.whole, self.left = True, 0

    def pull(self) -> None:
        self.whole, self.left = False, REFUSED

    def passes(self) -> None:
        if self.left:
            self.left -= 1
            raise StoreUnavailable("the store is away")


class Between:
    """The real store; something happens at each call."""

    def __init__(self, rig: Rig) -> None:
        self._store = rig.store

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has
        found = getattr(self._store, name)
        return self._passing(found, name) if asyncio.iscoroutinefunction(found) else found

    def _passing(self, ask: Callable[..., Awaitable[Any]], name: str) -> Callable[..., Awaitable[object]]:
        raise NotImplementedError


async def comes_late(seconds: float, *, answers: bool) -> None:
    """Let a commit's answer come late, or never."""
    if not answers:
        raise OutcomeUnknown("the commit did not answer")
    await asyncio.sleep(seconds)


class Behind(Between):
    """The real store behind that cable."""

    def __init__(self, rig: Rig, cable: Cable, *, answers: bool) -> None:
        super().__init__(rig)
        self._cable, self._answers = cable, answers

    def _passing(self, ask: Callable[..., Awaitable[object]], name: str) -> Callable[..., Awaitable[object]]:
        async def asked(*words: object, **more: object) -> object:
            self._cable.passes()
            answer = await ask(*words, **more)
            if name == "intend" and self._cable.whole:
                self._cable.pull()
                await comes_late(0.5, answers=self._answers)  # the place that Ring's limit leaves is over, too
            return answer

        return asked


class Places(Shared):
    """Behind the same cable."""

    def __init__(self, cable: Cable) -> None:
        super().__init__()
        self._cable = cable

    async def ask(self, asked: Asked) -> Reply:
        self._cable.passes()
        return await super().ask(asked)


@pytest.mark.parametrize("answers", [True, False], ids=["late", "unanswered"])
async def test_a_code_that_was_not_sent_is_sent_once_the_store_is_back(rig: Rig, *, answers: bool) -> None:
    cable = Cable()
    code = await rig.code("acct-1")
    linker = rig.linker(store=Behind(rig, cable, answers=answers), budget=Budget(Places(cable), 100))
    await rig.state(linker, code, "unclaimed")
    assert not cable.whole
    assert rig.ring.count("exchange") == 1


CODES, LEASE_S, AWAY_S = 8, 1.0, 2.5
Hook = Callable[[Store, Grant, Grant], Awaitable[Grant]]


class Outlived(Between):
    """The real store; whoever holds an intent for a code gets no answer from then on, for longer than a lease. Others do."""

    def __init__(self, rig: Rig, *, answers: bool) -> None:
        super().__init__(rig)
        self._answers = answers
        self._away: dict[object, float] = {}  # by task, until when

    def _passing(self, ask: Callable[..., Awaitable[Any]], name: str) -> Callable[..., Awaitable[object]]:
        async def asked(*words: Any, **more: object) -> object:  # noqa: ANN401 - as they come
            me = asyncio.current_task()
            if monotonic() < self._away.get(me, 0.0):
                raise StoreUnavailable("the store is away")
            answer = await ask(*words, **more)
            if name == "intend" and answer.stage == "exchanging" and len(self._away) < CODES:
                self._away[me] = monotonic() + AWAY_S
                await comes_late(LEASE_S / 2, answers=self._answers)  # no request would end within the lease
            return answer

        return asked


class Intending:
    """The real store; something happens at each intent."""

    def __init__(self, rig: Rig, hook: Hook) -> None:
        self._store, self._hook = rig.store, hook

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has
        return getattr(self._store, name)

    async def intend(self, before: Grant, after: Grant) -> Grant:
        return await self._hook(self._store, before, after)


@asynccontextmanager
async def running(rig: Rig, linker: Advance) -> AsyncIterator[None]:
    """Let a linker sweep by itself, while time goes on."""
    stop, began, base = asyncio.Event(), monotonic(), rig.now

    async def tick() -> None:
        while True:
            rig.now = base + monotonic() - began
            await asyncio.sleep(0.01)

    ticking, sweeping = asyncio.create_task(tick()), asyncio.create_task(linker.run(stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(sweeping, 20)
        ticking.cancel()


async def reach(rig: Rig, state: str, *codes: str) -> list[Grant]:
    async with asyncio.timeout(30):
        while any(grant.state != state for grant in await rig.grants(*codes)):  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0.05)
    return await rig.grants(*codes)


@pytest.mark.parametrize("answers", [True, False], ids=["late", "unanswered"])
async def test_an_outage_longer_than_a_lease_loses_no_code_that_was_not_sent(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, *, answers: bool
) -> None:
    monkeypatch.setattr(advance, "SPARE", 0.4)
    for module in (advance, steps):
        monkeypatch.setattr(module, "MARGIN_OF_LEASE", 0.1)
    codes = [await rig.code(f"acct-{number}") for number in range(CODES)]
    api = replace(rig.api, timeout=LEASE_S - 0.5)
    async with running(rig, rig.linker(store=Outlived(rig, answers=answers), api=api)):
        await reach(rig, "unclaimed", *codes)
    assert rig.ring.count("exchange") == len(codes)


async def test_a_code_that_another_linker_takes_for_lost_is_sent_if_it_was_not(rig: Rig) -> None:
    code, before, budget = await rig.code("acct-1"), list[str](), Budget(rig.places, 100)

    async def late(store: Store, row: Grant, after: Grant) -> Grant:
        held = await store.intend(row, after)
        if held.stage == "exchanging" and not before:
            await store.apply(held, saga.begin(held, rig.now), rig.now)  # as another does that finds the lease over
            before.extend(grant.state for grant in await rig.grants(code))
            budget.rest(3.0)  # another call was told 429
        return held

    async with running(rig, rig.linker(store=Intending(rig, late), budget=budget)):
        await reach(rig, "unclaimed", code)
    assert (before, rig.ring.count("exchange")) == (["lost"], 1)


async def test_an_intent_whose_row_a_sign_in_moved_is_taken_back_at_once(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    rig.now += 86_400.0
    met, budget = list[str](), Budget(rig.places, 100)

    async def meets(store: Store, row: Grant, after: Grant) -> Grant:
        held = await store.intend(row, after)
        if held.stage == "refreshing" and not met:
            met.append(held.stage)
            await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
            async with running(rig, rig.linker()):
                await reach(rig, "claimed", code)
            budget.rest(3.0)  # another call was told 429
        return held

    async with running(rig, rig.linker(store=Intending(rig, meets), budget=budget)):
        (grant,) = await reach(rig, "completed", code)
    assert (met, grant.risk, rig.ring.count("refresh")) == (["refreshing"], None, 1)
