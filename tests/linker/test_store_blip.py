"""The store goes away just after a code's intent was written: who knows that nothing was sent takes the intent back."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from linker.budget import Budget
from linker.places import Asked
from linker.placestore import Reply
from tests.linker.rig import Rig, Shared
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


class Behind:
    """The real store behind that cable."""

    def __init__(self, rig: Rig, cable: Cable, *, answers: bool) -> None:
        self._store, self._cable, self._answers = rig.store, cable, answers

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the store has
        found = getattr(self._store, name)
        return self._passing(found, name) if asyncio.iscoroutinefunction(found) else found

    def _passing(self, ask: Callable[..., Awaitable[object]], name: str) -> Callable[..., Awaitable[object]]:
        async def asked(*words: object, **more: object) -> object:
            self._cable.passes()
            answer = await ask(*words, **more)
            if name == "intend" and self._cable.whole:
                self._cable.pull()
                await self._comes_late()
            return answer

        return asked

    async def _comes_late(self) -> None:
        if not self._answers:
            raise OutcomeUnknown("the commit did not answer")
        await asyncio.sleep(0.5)  # the place that Ring's limit leaves is over, too


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
