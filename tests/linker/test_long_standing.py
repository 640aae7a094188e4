"""A link that has stood for longer than thirty days is told to Ring as any other, when its user connects anew."""

from deploy.demo.ring.faults import Fault
from linker.moves import KEPT
from tests.linker.rig import Rig
from tests.linker.ring import nonce
from tests.linker.test_connected_anew import ended, finding, linked

DAY = 86_400.0


async def stands(rig: Rig, days: int = 31) -> str:
    """Let a link live on for days, renewed as ever."""
    code, linker, end = await linked(rig), rig.linker(), rig.now + days * DAY

    async def over() -> bool:
        return rig.now >= end

    async with linker:
        await rig.turn(linker, over, 20_000)
    [grant] = await rig.grants(code)
    assert (grant.state, grant.stage, grant.risk, grant.received_at < rig.now - KEPT) == ("completed", "rest", None, True)
    return code


async def test_where_the_new_code_is_lost_ring_is_told_by_the_tokens_of_the_old_link(rig: Rig) -> None:
    code = await stands(rig)
    rig.ring.allow("a code that never comes", "acct-1")
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2", "completed")
    [grant] = await rig.grants(code)
    assert (rig.ring.standing("acct-1"), grant.state, grant.stage, grant.attempt) == ("completed", "completed", "rest", "t2")


async def test_a_second_tap_on_it_completes(rig: Rig) -> None:
    await stands(rig)
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2", "completed")
    assert rig.ring.standing("acct-1") == "completed"


async def test_where_the_new_code_is_only_slow_the_sign_in_completes(rig: Rig) -> None:
    await stands(rig)
    await rig.code("acct-1", "canary-code-new")
    rig.ring.spoil("identify", 503, 503, 503)
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2", "completed")
    assert rig.ring.standing("acct-1") == "completed"


async def test_a_patch_that_fails_for_hours_completes_it(rig: Rig) -> None:
    await stands(rig)
    rig.ring.allow("a code that never comes", "acct-1")
    rig.ring.down("patch", 5 * 3_600, Fault(status=503))
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2", "completed")
    assert rig.ring.standing("acct-1") == "completed"


async def test_who_signs_in_on_the_last_day_has_as_long_as_anybody(rig: Rig) -> None:
    code = await rig.code("acct-1")
    received = rig.now
    linker = rig.linker()

    async def nearly_over() -> bool:
        return rig.now >= received + 29.5 * DAY

    async with linker:
        await rig.turn(linker, nearly_over, 20_000)
    rig.now = received + KEPT - 300
    rig.ring.down("patch", 360, Fault(status=503))
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t1", "completed")
    [grant] = await rig.grants(code)
    assert (grant.state, rig.ring.standing("acct-1"), await finding(rig, "t1")) == ("completed", "completed", "")
