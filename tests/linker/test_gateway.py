"""What stands between us and Ring answers in its place: after Ring has acted, or before Ring has heard of it."""

import pytest

from deploy.demo.ring.faults import Fault
from linker.refresh import UNTAKEN
from linker.saga import TAP
from tests.linker.rig import Rig
from tests.linker.ring import ENDPOINTS, nonce
from tests.linker.test_connected_anew import ended, finding, linked


def lost_behind_the_gateway(rig: Rig, call: str, status: int) -> None:
    """Let Ring carry the next such call out, and a gateway answer that it failed."""
    rig.ring.inner.faults.next(ENDPOINTS[call], Fault(status, handled=True, raw=b"<html>Bad gateway</html>"))


@pytest.mark.parametrize("status", [500, 504])
@pytest.mark.parametrize("outage", [0.0, 660.0])
async def test_a_patch_that_ring_carried_out_behind_a_failing_gateway_completes_the_link(
    rig: Rig, status: int, outage: float
) -> None:
    rig.ring.world.patch_again = False
    code = await rig.code("acct-1")
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    rig.ring.down("patch", outage, Fault(503))  # also beyond the nonce's end, when nothing can be posted any more
    lost_behind_the_gateway(rig, "patch", status)
    await ended(rig, "t1", "completed")
    [grant] = await rig.grants(code)
    assert (grant.state, rig.ring.standing("acct-1"), rig.ring.count("post")) == ("completed", "completed", 1)


@pytest.mark.parametrize("status", [500, 504])
async def test_a_post_that_ring_took_behind_a_failing_gateway_is_not_posted_twice(rig: Rig, status: int) -> None:
    await rig.code("acct-1")
    lost_behind_the_gateway(rig, "post", status)
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t1", "completed")
    assert (rig.ring.standing("acct-1"), rig.ring.count("post")) == ("completed", 1)


@pytest.mark.parametrize("status", [400, 403, 404, 405, 413])
async def test_a_post_for_a_link_that_stands_is_tried_again_where_a_gate_refused_it(rig: Rig, status: int) -> None:
    await linked(rig)
    rig.ring.allow("a code that never comes", "acct-1")
    rig.ring.spoil("post", status, status)
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2", "completed")
    assert (rig.ring.standing("acct-1"), rig.ring.count("post")) == ("completed", 4)


@pytest.mark.parametrize("status", [403, 405, 413])
async def test_a_first_links_post_is_tried_again_where_a_gate_refused_it(rig: Rig, status: int) -> None:
    await rig.code("acct-1")
    rig.ring.spoil("post", status, status)
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t1", "completed")
    assert (rig.ring.standing("acct-1"), rig.ring.count("post")) == ("completed", 3)


async def test_a_gate_that_stays_before_a_first_link_is_told_in_words_and_the_next_tap_links(rig: Rig) -> None:
    code, began = await rig.code("acct-1"), rig.now
    rig.ring.down("post", 600.0, Fault(403, title="Access denied"))
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t1", "expired")
    told = await finding(rig, "t1")
    assert "10 minutes were over before Ring could be told (403 Access denied" in told
    assert told.endswith(TAP)
    [grant] = await rig.grants(code)
    assert (grant.state, grant.stage, rig.now - began > 585) == ("unclaimed", "wait", True)
    rig.now += 10
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2", "completed")


@pytest.mark.parametrize("stands", [False, True])
@pytest.mark.parametrize(("status", "seconds"), [(403, 0.0), (405, 0.0), (403, 700.0), (413, 700.0)])
async def test_a_post_that_ring_took_is_not_said_to_have_failed_by_a_gate_before_the_patch_that_asks(
    rig: Rig, status: int, seconds: float, *, stands: bool
) -> None:
    """Its answer was lost, and the gate may stand for longer than the nonce lives."""
    if stands:
        await linked(rig)
        rig.ring.allow("a code that never comes", "acct-1")
    else:
        await rig.code("acct-1")
    before = rig.ring.count("post")
    rig.ring.spoil("post", "cut")
    if seconds:
        rig.ring.down("patch", seconds, Fault(status, title="Access denied"))
    else:
        rig.ring.spoil("patch", status)
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2", "completed")
    assert (rig.ring.standing("acct-1"), rig.ring.count("post") - before) == ("completed", 1)


@pytest.mark.parametrize("status", [400, 404])
async def test_what_ring_says_of_a_first_links_nonce_itself_ends_the_sign_in_at_once(rig: Rig, status: int) -> None:
    await rig.code("acct-1")
    rig.ring.spoil("post", status)
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t1", "rejected")
    assert rig.ring.count("post") == 1


async def test_a_gate_that_stays_is_told_in_words_and_the_link_serves_on(rig: Rig) -> None:
    code = await linked(rig)
    rig.ring.allow("a code that never comes", "acct-1")
    rig.ring.down("post", 600.0, Fault(403, title="Access denied"))
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2", "expired")
    told = await finding(rig, "t2")
    assert "10 minutes were over before Ring could be told (403 Access denied" in told
    assert told.endswith(TAP)
    [grant] = await rig.grants(code)
    assert (grant.state, grant.stage, rig.ring.standing("acct-1")) == ("completed", "rest", "pending")
    rig.now += 10
    await rig.sign_in("t3", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t3", "completed")
    assert rig.ring.standing("acct-1") == "completed"


async def test_a_new_code_is_not_lost_by_a_gate_that_refuses_its_tokens_for_a_while(rig: Rig) -> None:
    code = await rig.code("acct-1")
    rig.ring.spoil("identify", *[403] * 6)
    grant = await rig.state(rig.linker(), code, "unclaimed")
    assert (grant.account, rig.ring.count("refresh")) == ("acct-1", 1)


@pytest.mark.parametrize("seconds", [30.0, 600.0])
async def test_a_link_that_serves_is_not_lost_where_its_second_tap_meets_a_gate(rig: Rig, seconds: float) -> None:
    code = await linked(rig)
    rig.ring.down("post", seconds, Fault(401))
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2", "completed" if seconds < 600 else "expired")
    [grant] = await rig.grants(code)
    assert (grant.state, grant.stage, rig.ring.count("refresh")) == ("completed", "rest", 1)
    assert seconds < 600 or (await finding(rig, "t2")).endswith(TAP)


async def test_tokens_that_ring_renews_and_does_not_take_for_an_hour_are_lost(rig: Rig) -> None:
    code = await rig.code("acct-1")
    rig.ring.down("identify", 7_200.0, Fault(403))
    began = rig.now
    lost = await rig.state(rig.linker(), code, "lost")
    assert (lost.risk, rig.ring.count("refresh")) == ("lost_unaccepted", 1)
    assert rig.now >= began + UNTAKEN


async def test_renewed_tokens_that_meet_their_first_refusal_an_hour_later_have_their_hour_still(rig: Rig) -> None:
    """The linker stood still just between the renewal and the call that it was for."""
    code = await rig.code("acct-1")
    rig.ring.spoil("identify", 401, 401)

    class Late:
        def __getattr__(self, name: str) -> object:
            return getattr(rig.api, name)

        async def identify(self, token: str) -> object:
            if rig.ring.count("refresh") and rig.ring.count("identify") == 1:
                rig.now += UNTAKEN + 600
            return await rig.api.identify(token)

    grant = await rig.state(rig.linker(api=Late()), code, "unclaimed")
    assert (grant.account, rig.ring.count("refresh"), grant.untaken_at) == ("acct-1", 1, None)
