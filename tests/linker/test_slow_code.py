"""A user connects anew, and Ring is told by the older link's tokens, as the new code is slow: once it is there, it serves."""

import pytest

from deploy.demo.ring.faults import Fault
from linker.rows import Grant
from tests.linker.rig import Rig
from tests.linker.ring import nonce
from tests.linker.test_connected_anew import ended, finding, linked


async def told_by_the_older(rig: Rig) -> tuple[str, str]:
    """Let Ring's OAuth be busy for 20 s while the user connects anew and signs in; return the older code and the newer."""
    old = await linked(rig)
    rig.ring.down("exchange", 20.0, Fault(503, headers=(("Retry-After", "2"),)))
    new = await rig.code("acct-1", "canary-code-new")
    rig.now += 5
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2", "completed")
    [grant] = await rig.grants(old)
    assert (grant.state, grant.attempt, rig.ring.standing("acct-1")) == ("completed", "t2", "completed")
    return old, new


async def states(rig: Rig, *codes: str) -> list[str]:
    return [grant.state for grant in await rig.grants(*codes)]


async def named(rig: Rig, code: str) -> Grant:
    """Let Ring name the account of a code."""

    async def so() -> bool:
        return (await rig.grants(code))[0].account is not None

    linker = rig.linker()
    async with linker:
        await rig.turn(linker, so)
    return (await rig.grants(code))[0]


async def test_the_new_codes_tokens_serve_as_soon_as_ring_names_them_and_ring_may_end_the_older(rig: Rig) -> None:
    old, new = await told_by_the_older(rig)
    before = await rig.explain.describe("acct-1")
    posts = rig.ring.count("post")
    grant = await named(rig, new)
    assert (grant.state, grant.stage, grant.attempt, grant.partner_user) == ("completed", "rest", "t2", "u1")
    assert (await states(rig, old), rig.ring.count("post"), rig.ring.standing("acct-1")) == (["removed"], posts, "completed")
    after = await rig.explain.describe("acct-1")
    assert before is not None
    assert after is not None
    assert (after.linked, after.partner_user, after.version) == (True, "u1", before.version + 1)
    assert (after.generation, await finding(rig, "t2")) == (grant.generation, "")
    rig.ring.world.grants[0].revoked = True
    rig.now += 86_400
    await rig.settle(rig.linker(), new)
    assert await states(rig, new) == ["completed"]


async def test_where_ring_names_it_before_the_older_link_is_completed_it_serves_from_then_on(rig: Rig) -> None:
    old = await linked(rig)
    rig.ring.down("exchange", 20.0, Fault(503, headers=(("Retry-After", "2"),)))
    rig.ring.down("patch", 120.0, Fault(503))
    new = await rig.code("acct-1", "canary-code-new")
    rig.now += 5
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2", "awaiting")
    assert (await named(rig, new)).state == "unclaimed"
    await ended(rig, "t2", "completed")
    assert (await states(rig, old, new), rig.ring.standing("acct-1")) == (["removed", "completed"], "completed")


async def test_a_code_that_came_after_the_sign_in_waits_for_one_of_its_own(rig: Rig) -> None:
    old, new = await told_by_the_older(rig)
    rig.now += 5
    later = await rig.code("acct-1", "canary-code-later")
    await named(rig, new)
    assert (await named(rig, later)).state == "unclaimed"
    assert await states(rig, old, new, later) == ["removed", "completed", "unclaimed"]


@pytest.mark.parametrize("app", ["first", "next"])
async def test_a_code_for_which_nobody_has_signed_in_waits_beside_the_link(rig: Rig, app: str) -> None:
    old = await linked(rig)
    new = await rig.code("acct-1", "canary-code-new", app=app)
    assert (await named(rig, new)).state == "unclaimed"
    assert await states(rig, old) == ["completed"]


async def test_one_whose_renewal_was_put_off_while_the_older_was_completed_serves_once_it_is_renewed(rig: Rig) -> None:
    old = await linked(rig)
    rig.ring.down("exchange", 20.0, Fault(503, headers=(("Retry-After", "2"),)))
    rig.ring.down("patch", 24.5 * 3_600, Fault(503))
    new = await rig.code("acct-1", "canary-code-new")
    rig.now += 5
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2", "awaiting")
    assert (await named(rig, new)).state == "unclaimed"
    rig.ring.down("refresh", 25.0 * 3_600, Fault(503))
    await ended(rig, "t2", "completed")
    [older, newer] = await rig.grants(old, new)
    assert (older.state, newer.state, newer.stage) == ("completed", "unclaimed", "refresh")
    [grant] = await rig.states(rig.linker(), "completed", new)
    assert (grant.attempt, await states(rig, old), rig.ring.standing("acct-1")) == ("t2", ["removed"], "completed")
