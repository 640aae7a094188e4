"""The store is away for longer than anybody insists, just as Ring has given tokens: they are kept until it takes them."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from linker import saga, steps
from linker.rows import Grant
from tests.linker.rig import Rig
from tests.linker.ring import nonce
from tests.linker.test_store_blip import Between
from workers.runtime.storefault import StoreUnavailable

TRIES = 3  # in vain, each later than anybody else would try


class Away(Between):
    """The real store; what came of a call from this stage is refused for some tries. `meanwhile` is what another linker does."""

    def __init__(self, rig: Rig, stage: str, meanwhile: Callable[[Grant], Awaitable[None]] | None = None) -> None:
        super().__init__(rig)
        self._stage, self._meanwhile, self.refused = stage, meanwhile, 0

    def _passing(self, ask: Callable[..., Awaitable[Any]], name: str) -> Callable[..., Awaitable[object]]:
        async def asked(*words: Any, **more: object) -> object:  # noqa: ANN401 - as they come
            if name == "apply" and words[0].stage == self._stage and self.refused < TRIES:
                self.refused += 1
                if self._meanwhile and self.refused == TRIES:
                    await self._meanwhile(words[0])
                raise StoreUnavailable("the store is away")
            return await ask(*words, **more)

        return asked


@pytest.fixture(autouse=True)
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "INSISTS", -1.0)  # over before the first try


async def stopped_amid(rig: Rig, store: Away) -> None:
    """Begin what is due, and stop the linker while the store is away: it ends when its steps have."""
    async with rig.linker(store=store) as linker:
        await linker(datetime.fromtimestamp(rig.now, UTC))


async def completed(rig: Rig) -> str:
    """Complete a link, and let its tokens be due for renewal."""
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    await rig.state(rig.linker(), code, "completed")
    rig.now += 86_400.0
    return code


async def another_finds_it(rig: Rig, held: Grant) -> None:
    """Move the row on as a linker does that finds its lease over."""
    await rig.store.apply(held, saga.begin(held, rig.now), rig.now)


async def test_tokens_for_a_code_are_written_whenever_the_store_is_back(rig: Rig) -> None:
    code, store = await rig.code("acct-1"), Away(rig, "exchanging")
    with capture_logs() as logs:
        await stopped_amid(rig, store)
    [grant] = await rig.grants(code)
    assert (store.refused, grant.state in {"exchanged", "unclaimed"}, bool(grant.access)) == (TRIES, True, True)
    [told] = [line for line in logs if line["event"] == "link.tokens_unwritten"]
    assert "this process alone" in told["meaning"]


async def test_how_old_tokens_are_counts_from_when_ring_gave_them(rig: Rig) -> None:
    code, given = await rig.code("acct-1"), rig.now

    async def later(_held: Grant) -> None:
        rig.now += 7_200.0

    await stopped_amid(rig, Away(rig, "exchanging", later))
    [grant] = await rig.grants(code)
    assert grant.tokens_at is not None
    assert grant.tokens_at - given < 60


async def test_renewed_tokens_are_written_whenever_the_store_is_back(rig: Rig) -> None:
    code = await completed(rig)
    [before] = await rig.grants(code)
    store = Away(rig, "refreshing")
    await stopped_amid(rig, store)
    [grant] = await rig.grants(code)
    assert (store.refused, grant.stage, grant.risk, grant.writes) == (TRIES, "rest", None, before.writes + 1)


async def test_tokens_of_a_code_that_another_linker_took_for_lost_are_kept(rig: Rig) -> None:
    async def lost(held: Grant) -> None:
        await another_finds_it(rig, held)
        assert [grant.state for grant in await rig.grants(code)] == ["lost"]

    code = await rig.code("acct-1")
    await stopped_amid(rig, Away(rig, "exchanging", lost))
    assert (await rig.state(rig.linker(), code, "unclaimed")).access
    assert rig.ring.count("exchange") == 1


async def test_tokens_of_a_renewal_that_another_linker_took_for_unanswered_are_kept(rig: Rig) -> None:
    async def unanswered(held: Grant) -> None:
        await another_finds_it(rig, held)
        assert [grant.risk for grant in await rig.grants(code)] == ["unanswered"]

    code = await completed(rig)
    await stopped_amid(rig, Away(rig, "refreshing", unanswered))
    [grant] = await rig.grants(code)
    assert (grant.stage, grant.risk, rig.ring.count("refresh")) == ("rest", None, 1)


async def test_what_holds_no_tokens_is_given_up_and_looked_at_anew(rig: Rig) -> None:
    rig.ring.spoil("exchange", 400)
    code, store = await rig.code("acct-1"), Away(rig, "exchanging")
    await stopped_amid(rig, store)
    assert (store.refused, [grant.stage for grant in await rig.grants(code)]) == (1, ["exchanging"])
