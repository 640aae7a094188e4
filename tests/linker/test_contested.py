"""Two users confirm one attempt: the cookie of its start was put back into a browser. Neither is told of the other's link."""

import pytest
from structlog.testing import capture_logs

from linker import claims
from tests.linker.rig import Rig
from tests.linker.ring import nonce


@pytest.mark.parametrize("first", ["received", "awaiting"])
async def test_a_second_user_who_confirms_by_the_first_ones_cookie_contests_it(rig: Rig, first: str) -> None:
    """One attempt id, since the second's browser was given the cookie of the start: cookies enforce nothing (security.md 1)."""
    code, time = await rig.code("acct-1"), rig.time()
    await rig.state(rig.linker(), code, "unclaimed")
    rig.ring.spoil("patch", *[500] * 3)
    await rig.sign_in("t1", nonce(time, "acct-1"), time, "u1")
    if first == "awaiting":
        await rig.state(rig.linker(), code, first)
    with capture_logs() as logs:
        for user in ("u2", "u1", "u3", "u2"):
            await rig.sign_in("t1", nonce(time, "acct-1"), time, user)
    assert [line["state"] for line in logs if line["event"] == "link.ended"] == ["contested"] * 3, "each sign-in ends once"
    linker = rig.linker()
    async with linker:
        await rig.turn(linker, _at_rest)
    seen = [await rig.explain.progress("t1", user) for user in ("u1", "u2", "u3", None)]
    assert [progress and (progress.state, progress.finding) for progress in seen] == [("contested", claims.CONTESTED)] * 4
    [grant] = await rig.grants(code)
    assert (grant.state, grant.partner_user) == ("unclaimed", None)


async def test_a_second_user_who_comes_by_the_first_ones_cookie_when_it_is_linked_is_refused_with_the_reason(rig: Rig) -> None:
    code, time = await rig.code("acct-1"), rig.time()
    await rig.sign_in("t1", nonce(time, "acct-1"), time, "u1")
    done = await rig.state(rig.linker(), code, "completed")
    assert await rig.explain.progress("t1", "u2") is None, "nothing is known of the second's, whatever became of the first's"
    with capture_logs() as logs:
        await rig.sign_in("t1", nonce(time, "acct-1"), time, "u2")
    [line] = [line for line in logs if line["event"] == "link.ended"]
    assert (line["state"], "already linked another user" in line["why"]) == ("rejected", True)
    first, second = await rig.explain.progress("t1", "u1"), await rig.explain.progress("t1", "u2")
    assert first
    assert second
    assert (first.state, second.state, second.finding) == ("completed", "rejected", line["why"])
    assert await rig.grants(code) == [done]


async def _at_rest() -> bool:
    return True
