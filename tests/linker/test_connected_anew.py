"""A user who connects the app anew while a link of theirs stands or is on its way: Ring waits again, and is told."""

import pytest

from deploy.demo.ring.faults import Fault
from linker import claims, saga
from linker.advance import Advance
from linker.moves import SHOWN
from linker.schedule import CODE_LIFE
from tests.linker.rig import Rig
from tests.linker.ring import ENDPOINTS, nonce


async def ended(rig: Rig, attempt: str, state: str, linker: Advance | None = None) -> None:
    async def so() -> bool:
        found = await rig.explain.progress(attempt)
        return found is not None and found.state == state

    linker = linker or rig.linker()
    async with linker:
        await rig.turn(linker, so, 4_000)


async def linked(rig: Rig) -> str:
    code = await rig.code("acct-1", "canary-code-old")
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    await rig.state(rig.linker(), code, "completed")
    rig.now += 30
    return code


def revoke(rig: Rig) -> None:
    for grant in rig.ring.world.grants:
        grant.revoked = True


async def test_where_the_new_code_is_lost_ring_is_told_by_the_tokens_that_are_there_and_they_serve_on(rig: Rig) -> None:
    code = await linked(rig)
    before = await rig.explain.describe("acct-1")
    rig.ring.allow("a code that never comes", "acct-1")
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2", "completed")
    assert rig.ring.standing("acct-1") == "completed"
    assert (rig.ring.count("post"), rig.ring.count("patch")) == (2, 2)
    [grant] = await rig.grants(code)
    assert (grant.state, grant.stage, grant.attempt) == ("completed", "rest", "t2")
    after = await rig.explain.describe("acct-1")
    assert before is not None
    assert after is not None
    assert (after.linked, after.version) == (True, before.version)


async def test_where_the_new_code_is_lost_long_after_the_link_was_completed_its_user_is_told_for_too(rig: Rig) -> None:
    code = await linked(rig)
    rig.now += SHOWN
    [rests] = await rig.settle(rig.linker(), code)
    assert rests.pool is None, "no nonce is tried on every link that stands"
    rig.ring.allow("a code that never comes", "acct-1")
    await rig.sign_in("other", nonce(rig.time(), "acct-1"), rig.time(), user="u2")
    await ended(rig, "other", "received")
    rig.now += 1
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2", "completed")
    assert rig.ring.standing("acct-1") == "completed"
    [grant] = await rig.grants(code)
    assert (grant.state, grant.stage, grant.attempt) == ("completed", "rest", "t2")


async def test_while_ring_is_told_again_the_link_serves_on(rig: Rig) -> None:
    code = await linked(rig)
    rig.ring.allow("a code that never comes", "acct-1")
    rig.ring.spoil("patch", *[503] * 4)
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2", "awaiting")
    [grant] = await rig.grants(code)
    account = await rig.explain.describe("acct-1")
    assert account is not None
    assert (grant.state, grant.stage, account.linked) == ("completed", "patch", True)
    await ended(rig, "t2", "completed")
    assert rig.ring.standing("acct-1") == "completed"


async def test_a_second_tap_on_a_link_that_stands_completes_too(rig: Rig) -> None:
    await linked(rig)
    for again in (True, False):
        rig.ring.world.patch_again = again
        name = f"again-{again}"
        rig.now += 5
        await rig.sign_in(name, nonce(rig.time(), "acct-1"), rig.time())
        await ended(rig, name, "completed")
        assert rig.ring.standing("acct-1") == "completed"


async def test_where_ring_took_the_old_tokens_back_the_sign_in_waits_for_the_new_code(rig: Rig) -> None:
    old = await linked(rig)
    revoke(rig)
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await rig.state(rig.linker(), old, "lost")
    await ended(rig, "t2", "received")
    new = await rig.code("acct-1", "canary-code-new")
    done = await rig.state(rig.linker(), new, "completed")
    assert done.attempt == "t2"
    await ended(rig, "t2", "completed")
    assert rig.ring.standing("acct-1") == "completed"


async def met_a_dead_grant(rig: Rig) -> None:
    """Let a sign-in meet an older grant of its account, unclaimed, whose tokens Ring has taken back."""
    old = await rig.code("acct-1", "canary-code-old")
    await rig.state(rig.linker(), old, "unclaimed")
    revoke(rig)
    rig.now += 60
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    await rig.state(rig.linker(), old, "lost")


async def finding(rig: Rig, attempt: str) -> str:
    found = await rig.explain.progress(attempt)
    return (found and found.finding) or ""


async def test_a_sign_in_that_meets_an_older_grant_with_dead_tokens_waits_for_the_new_code(rig: Rig) -> None:
    await met_a_dead_grant(rig)
    await ended(rig, "t1", "received")
    assert "connect it again; if you had done that before you signed in, this page goes on" in await finding(rig, "t1")
    new = await rig.code("acct-1", "canary-code-new")
    done = await rig.state(rig.linker(), new, "completed")
    assert done.attempt == "t1"
    await ended(rig, "t1", "completed")
    assert rig.ring.standing("acct-1") == "completed"


async def test_where_no_new_code_comes_it_ends_with_the_sign_ins_time_and_says_why(rig: Rig) -> None:
    await met_a_dead_grant(rig)
    rig.now += 601
    await ended(rig, "t1", "expired")
    told = await finding(rig, "t1")
    assert told.startswith("Ring does not renew the tokens any more")
    assert told.endswith("remove the app in the Ring app and connect it again")


async def test_a_link_that_was_taken_for_complete_too_early_is_so_after_the_next_tap(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    rig.ring.spoil("patch", "cut", *[429] * 3)
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    linker = rig.linker()

    async def unanswered() -> bool:
        return (await rig.grants(code))[0].patched

    async with linker:
        await rig.turn(linker, unanswered)
    rig.ring.allow("a code that never comes", "acct-1")
    await rig.state(rig.linker(), code, "completed")
    assert rig.ring.standing("acct-1") == "pending"  # nobody can know that it is not by the PATCH before
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2", "completed")
    assert rig.ring.standing("acct-1") == "completed"


async def test_a_link_that_ring_forgot_between_post_and_patch_is_posted_again(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    rig.ring.spoil("patch", 429)
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t1", "awaiting")
    rig.ring.allow("a code that never comes", "acct-1")
    await rig.state(rig.linker(), code, "completed")
    assert (rig.ring.standing("acct-1"), rig.ring.count("post")) == ("completed", 2)


async def hours_of_trouble(rig: Rig, attempt: str) -> None:
    """Let Ring take the POST and no PATCH until the nonce is over, and the user connect anew meanwhile; that code is lost."""
    rig.ring.down("patch", 660, Fault(status=503))
    await rig.sign_in(attempt, nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, attempt, "awaiting")
    rig.now += 300
    rig.ring.allow("a code that never comes", "acct-1")
    rig.now += 420


async def test_a_link_that_ring_forgot_until_the_nonces_end_is_completed_by_the_next_tap(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await hours_of_trouble(rig, "t1")
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2", "completed")
    [grant] = await rig.grants(code)
    assert (rig.ring.standing("acct-1"), grant.state, grant.attempt) == ("completed", "completed", "t2")
    await ended(rig, "t1", "expired")
    assert (await finding(rig, "t1")).startswith("Ring does not wait for this sign-in any more (400 Invalid Status Transition")


async def test_who_does_not_tap_again_is_told_to_and_the_grant_waits(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await hours_of_trouble(rig, "t1")
    await ended(rig, "t1", "expired")
    assert (await finding(rig, "t1")).endswith(saga.TAP)
    [grant] = await rig.grants(code)
    assert (grant.state, grant.stage, grant.access is not None) == ("unclaimed", "wait", True)


async def test_a_link_that_stands_and_that_ring_forgot_until_the_nonces_end_is_told_again_by_the_next_tap(rig: Rig) -> None:
    code = await linked(rig)
    rig.ring.allow("a code that never comes", "acct-1")
    await hours_of_trouble(rig, "t2")
    await rig.sign_in("t3", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t3", "completed")
    [grant] = await rig.grants(code)
    assert (rig.ring.standing("acct-1"), grant.state, grant.attempt) == ("completed", "completed", "t3")
    await ended(rig, "t2", "expired")


async def test_a_nonce_that_ring_refuses_leaves_a_link_that_stands_as_it_is(rig: Rig) -> None:
    code = await linked(rig)
    rig.ring.inner.faults.next(ENDPOINTS["post"], Fault(400, title="Invalid Nonce"))
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2", "completed")
    [grant] = await rig.grants(code)
    assert (grant.state, grant.stage, rig.ring.standing("acct-1")) == ("completed", "rest", "completed")


async def test_a_sign_in_is_not_used_for_its_users_own_link_whose_code_came_after_it(rig: Rig) -> None:
    dead = await rig.code("acct-1", "canary-code-dead")
    await rig.state(rig.linker(), dead, "unclaimed")
    revoke(rig)
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    await rig.state(rig.linker(), dead, "lost")
    rig.now += 5
    code = await rig.code("acct-1")
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await rig.state(rig.linker(), code, "completed")
    posts = rig.ring.count("post")
    rig.now += 20
    await ended(rig, "t1", "received")
    await rig.settle(rig.linker(), code)
    [grant] = await rig.grants(code)
    assert (grant.attempt, rig.ring.count("post")) == ("t2", posts)


async def test_a_nonce_of_an_earlier_connection_does_not_link_its_user_by_the_code_of_the_present_one(rig: Rig) -> None:
    former = await rig.state(rig.linker(), await rig.code("acct-1", "canary-code-former"), "unclaimed")
    time = rig.time()
    rig.now += CODE_LIFE + claims.RINGS_CLOCK
    await rig.store.apply(former, saga.removed(former, "in the Ring app", rig.now), rig.now)
    rig.now += 10
    code = await rig.code("acct-1", "canary-code-present")
    await rig.state(rig.linker(), code, "unclaimed")
    rig.now += 5
    await rig.sign_in("former", nonce(time, "acct-1"), time, user="former")  # the page stayed open until now
    await ended(rig, "former", "received")
    rig.now += 5
    await rig.sign_in("present", nonce(rig.time(), "acct-1"), rig.time(), user="present")
    done = await rig.state(rig.linker(), code, "completed")
    assert (done.attempt, done.partner_user) == ("present", "present")
    await ended(rig, "former", "expired")


@pytest.mark.parametrize("ahead", [75.0, 120.0])
async def test_a_first_sign_in_completes_where_our_clock_is_ahead_of_rings(rig: Rig, ahead: float) -> None:
    code = await rig.code("acct-1")
    time = rig.time(ago=ahead)
    rig.now += 2
    await rig.sign_in("t1", nonce(time, "acct-1"), time)
    assert (await rig.state(rig.linker(), code, "completed")).attempt == "t1"


async def test_a_code_that_ring_had_to_send_again_after_the_browser_is_still_the_sign_ins(rig: Rig) -> None:
    time = rig.time()
    rig.now += 60
    code = await rig.code("acct-1")
    await rig.sign_in("t1", nonce(time, "acct-1"), time)
    assert (await rig.state(rig.linker(), code, "completed")).attempt == "t1"
