"""A sign-in whose nonce was never posted is told so when its ten minutes are over, whatever else Ring does not answer."""

import pytest
from msgspec.structs import replace

from deploy.demo.ring.faults import Fault
from ingress.link.words import plain, spoken
from linker import store
from linker.advance import Advance
from linker.progress import seen
from linker.rows import AttemptSteps, GrantSteps
from tests.linker.rig import Rig
from tests.linker.ring import nonce

HOUR = 3_600.0

MINUTE = 60.0


async def told(rig: Rig, linker: Advance, attempt: str) -> tuple[float, str]:
    """Return after how long the sign-in ends, and how."""
    began = rig.now

    async def over() -> bool:
        progress = await rig.explain.progress(attempt)
        return progress is not None and progress.state not in {"received", "claimed"}

    async with linker:
        await rig.turn(linker, over, 4_000)
    progress = await rig.explain.progress(attempt)
    assert progress
    return rig.now - began, progress.state


async def test_where_the_tokens_cannot_be_renewed_in_time(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    rig.now += 5 * HOUR
    rig.ring.down("refresh", 3 * HOUR, Fault(503))
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    seconds, state = await told(rig, rig.linker(), "t1")
    assert (state, 585 < seconds < 620) == ("expired", True)
    (grant,) = await rig.grants(code)
    assert (grant.state, grant.due_at is not None) == ("unclaimed", True)
    rig.now += 3 * HOUR
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    assert (await rig.state(rig.linker(), code, "completed")).attempt == "t2"


async def test_where_nobody_can_say_whether_the_app_was_removed(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    for call in ("devices", "post", "patch"):
        rig.ring.down(call, 3 * HOUR, Fault(503))
    async with rig.database.begin() as connection:
        await store.withdraw(connection, "ringhook", "acct-1", rig.now + 1, rig.now + 1, app=None)
    rig.now += 2
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    seconds, state = await told(rig, rig.linker(), "t1")
    assert (state, 585 < seconds < 620) == ("expired", True)
    (grant,) = await rig.grants(code)
    assert (grant.state, grant.withdrawn_at is not None) == ("unclaimed", True)


async def silent(rig: Rig, attempt: str, post: Fault, *, removed: bool) -> None:
    """Let a POST meet this, and Ring's API be away for three hours; meanwhile the app may be said to be removed."""
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    for call, fault in (("post", post), ("patch", Fault(503)), ("devices", Fault(503))):
        rig.ring.down(call, 3 * HOUR, fault)
    await rig.sign_in(attempt, nonce(rig.time(), "acct-1"), rig.time())
    await passed(rig, 20.0)
    if removed:
        async with rig.database.begin() as connection:
            await store.withdraw(connection, "ringhook", "acct-1", rig.now - 10, rig.now, app=None)
        await passed(rig, 20.0)


async def passed(rig: Rig, seconds: float) -> None:
    until = rig.now + seconds

    async def so() -> bool:
        return rig.now >= until

    linker = rig.linker()
    async with linker:
        await rig.turn(linker, so, 4_000)


async def page(rig: Rig, attempt: str) -> tuple[str, str | None]:
    """Return what the live page says: its title, and the warning or the sentence."""
    progress = await rig.explain.progress(attempt)
    assert progress
    title, words, warning, _ = spoken(progress.state, plain(progress.finding))
    return title, warning or words


AWAY = "Ring cannot be reached just now, or does not take this up; we go on trying by ourselves"
MAY = (
    "The connection may yet complete by itself; if it has not half an hour after you signed in, tap Sign In in the Ring app again"
)


@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize(
    ("post", "end"),
    [
        (Fault(drop=True), ("Connected", "Your Ring account is connected. You can close this page.")),
        (Fault(unheard=True), ("Not connected", "The sign-in's 10 minutes were over before Ring could be told")),
    ],
)
async def test_where_nobody_can_say_whether_its_nonce_arrived_it_is_told_that_and_what_to_do(
    rig: Rig, post: Fault, end: tuple[str, str], *, removed: bool
) -> None:
    await silent(rig, "t1", post, removed=removed)
    assert await page(rig, "t1") == ("Connecting", f"{AWAY}.")
    await passed(rig, 10 * MINUTE)
    assert await page(rig, "t1") == ("Connecting", f"{AWAY}. {MAY}.")
    assert (rig.ring.count("devices") > 0) == removed
    await passed(rig, 3 * HOUR)
    title, words = await page(rig, "t1")
    assert (title, words[: len(end[1])]) == end


def test_where_no_linker_runs_it_is_told_the_same_once_its_ten_minutes_are_over() -> None:
    attempt = AttemptSteps(attempt="t1", partner_user="u1", state="claimed", marks=(("signed in", 1_000.0),))
    grant = GrantSteps(attempt="t1", state="claimed")
    assert [seen(attempt, grant, 1_000.0 + later).finding for later in (600.0, 601.0)] == [None, MAY]
    assert seen(replace(attempt, state="completed"), grant, 5_000.0).finding is None
