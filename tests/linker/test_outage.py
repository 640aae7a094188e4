"""Ring fails for a while in one place only: a link that can complete does complete, and one that cannot tells why."""

from itertools import pairwise

import pytest

from deploy.demo.ring.faults import Fault
from deploy.demo.ring.ledger import Call
from linker.rows import OVER
from tests.linker.rig import Rig
from tests.linker.ring import nonce

ASKED = 2.0
BUSY = Fault(503, headers=(("Retry-After", f"{ASKED:.0f}"),), title="Service Unavailable")
OUTAGES = {
    "503": BUSY,
    "502": Fault(502, raw=b"<html>502</html>"),
    "504": Fault(504, raw=b""),
    "500": Fault(500, title="Internal Server Error"),
    "cut": Fault(unheard=True),
}


async def ended(rig: Rig, attempt: str) -> None:
    async def so() -> bool:
        found = await rig.explain.progress(attempt)
        return found is not None and found.state in OVER

    linker = rig.linker()
    async with linker:
        await rig.turn(linker, so, 4_000)


async def signed_in(rig: Rig, seconds: float, fault: Fault) -> str:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    rig.ring.down("post", seconds, fault)
    await ended(rig, "t1")
    return code


def told(rig: Rig) -> list[Call]:
    return [call for call in rig.ring.ledger.calls if call.path.endswith("app-integrations")]


@pytest.mark.parametrize("seconds", [1.0, 60.0])
@pytest.mark.parametrize("kind", OUTAGES)
async def test_a_post_that_fails_for_a_while_is_sent_until_it_succeeds(rig: Rig, kind: str, seconds: float) -> None:
    began = rig.now
    await signed_in(rig, seconds, OUTAGES[kind])
    found = await rig.explain.progress("t1")
    assert found is not None
    assert found.state == "completed", found.finding
    assert rig.ring.standing("acct-1") == "completed"
    assert rig.now < began + seconds + 60
    posts = rig.ring.count("post")
    assert posts <= 2 * (2 + seconds**0.5), "it is asked again more and more slowly"
    assert not any((one.method, two.method) == ("POST", "POST") for one, two in pairwise(told(rig))), "PATCH looks first"


async def test_retry_after_is_obeyed(rig: Rig) -> None:
    await signed_in(rig, 30.0, BUSY)
    busy = [two.at - one.at for one, two in pairwise(told(rig)) if one.status == BUSY.status]
    assert busy
    assert min(busy) >= ASKED


@pytest.mark.parametrize("kind", ["503", "500"])
async def test_where_it_never_succeeds_the_reason_is_what_ring_said_to_the_post(rig: Rig, kind: str) -> None:
    began = rig.now
    code = await signed_in(rig, 700.0, OUTAGES[kind])
    found = await rig.explain.progress("t1")
    assert found is not None
    assert (found.state, kind in (found.finding or "")) == ("expired", True), found.finding
    assert began + 590 <= rig.now < began + 600
    last = max(call.at for call in told(rig) if call.method == "POST")
    assert last > began + 575, "there was a try shortly before the end"
    [grant] = await rig.grants(code)
    assert grant.state == "unclaimed"
    rig.now += 110
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2")
    assert rig.ring.standing("acct-1") == "completed"


async def test_a_ring_that_asks_for_more_than_the_nonce_has_left_is_asked_once_more_before_its_end(rig: Rig) -> None:
    await signed_in(rig, 300.0, Fault(503, headers=(("Retry-After", "3000"),)))
    assert rig.ring.standing("acct-1") == "completed"
    assert (rig.ring.count("post"), rig.ring.count("patch")) == (2, 2)


@pytest.mark.parametrize("seconds", [40.0, 48.0])
async def test_a_code_that_ring_does_not_take_up_is_offered_until_it_dies(rig: Rig, seconds: float) -> None:
    rig.ring.down("exchange", seconds, Fault(503, headers=(("Retry-After", "1"),)))
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")


@pytest.mark.parametrize("call", ["identify", "patch"])
async def test_whoever_sits_before_the_page_waits_no_longer_than_ring_is_down(rig: Rig, call: str) -> None:
    code, began = await rig.code("acct-1"), rig.now
    rig.ring.down(call, 500.0, Fault(503))
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    await rig.state(rig.linker(), code, "completed")
    assert rig.now < began + 560
