"""A nonce is posted within its row's lease and its own ten minutes, however slowly the store says what is to be posted."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from linker import advance, steps
from linker.outcomes import Outcome
from linker.ringapi import RingApi
from tests.linker.rig import Rig
from tests.linker.ring import nonce
from tests.linker.test_store_blip import Between
from workers.runtime.clock import steady
from workers.runtime.storefault import StoreUnavailable

LONG_S = 60.0  # longer than any lease


@dataclass
class Story:
    """What happened, in order, and how far the linker's clock is ahead of the test's."""

    said: list[str] = field(default_factory=list)
    ahead: float = 0.0

    def steady(self) -> float:
        return steady() + self.ahead


class Telling(Between):
    """The real store; it tells when a row to be posted is leased, and when what is posted is read: `first` happens as it is."""

    def __init__(self, rig: Rig, story: Story, first: Callable[[], None]) -> None:
        super().__init__(rig)
        self._story, self._first = story, first

    def _passing(self, ask: Callable[..., Awaitable[Any]], name: str) -> Callable[..., Awaitable[object]]:
        async def asked(*words: object, **more: object) -> object:
            answer = await ask(*words, **more)
            if name == "take_grants" and answer and answer[0].stage == "post":
                self._story.said.append("leased")
            if name == "attempt":
                self._story.said.append("read")
                if self._story.said.count("read") == 1:
                    self._first()
            return answer

        return asked


@dataclass(frozen=True)
class Posting(RingApi):
    """Ring over HTTP; it tells when a nonce is posted."""

    story: Story = field(default_factory=Story)

    async def claim(self, access_token: str, nonce: str, identifier: str | None) -> Outcome:
        self.story.said.append("posted")
        return await super().claim(access_token, nonce, identifier)


@pytest.fixture
def story(monkeypatch: pytest.MonkeyPatch) -> Story:
    story = Story()
    for module in (advance, steps):
        monkeypatch.setattr(module, "steady", story.steady)
    return story


async def sign_in(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())


async def ends(rig: Rig, story: Story, first: Callable[[], None], state: str) -> str | None:
    """Let the linker go on until the sign-in has ended so; return why."""
    api = Posting(**vars(rig.api), story=story)

    async def over() -> bool:
        found = await rig.explain.progress("t1")
        return found is not None and found.state == state

    async with rig.linker(store=Telling(rig, story, first), api=api) as linker:
        await rig.turn(linker, over)
    found = await rig.explain.progress("t1")
    return found.finding if found else None


async def test_a_store_that_is_slower_than_the_lease_lets_nothing_be_posted_after_it(rig: Rig, story: Story) -> None:
    await sign_in(rig)
    await ends(rig, story, lambda: setattr(story, "ahead", LONG_S), "completed")
    assert story.said == ["leased", "read", "leased", "read", "posted"]


async def test_a_store_that_is_slower_than_the_nonce_lives_lets_it_end_unposted(rig: Rig, story: Story) -> None:
    await sign_in(rig)
    over = rig.now + 591.0
    why = await ends(rig, story, lambda: setattr(rig, "now", over), "expired")
    assert (story.said.count("posted"), "before Ring could be told" in (why or "")) == (0, True)


async def test_a_look_that_fails_before_the_post_costs_a_moment_and_no_question_to_ring(rig: Rig, story: Story) -> None:
    def fails() -> None:
        raise StoreUnavailable("one look failed")

    await sign_in(rig)
    began = rig.now
    await ends(rig, story, fails, "completed")
    assert [call for call, _ in rig.ring.seen] == ["exchange", "identify", "post", "patch"]
    assert rig.now < began + 5
