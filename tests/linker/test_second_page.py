"""The page of a second tap, whose sign-in waits for what becomes of the first one's."""

from deploy.demo.ring.faults import Fault
from linker.moves import GOES_ON, MENDS
from tests.linker.rig import Rig
from tests.linker.ring import nonce
from tests.linker.test_connected_anew import ended, finding, revoke


async def lost_beside(rig: Rig) -> None:
    """Let Ring refuse the tokens of a sign-in that is under way, while another of the same account waits for it."""
    code = await rig.code("acct-1")
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    rig.ring.down("patch", 20.0, Fault(503))
    await ended(rig, "t1", "awaiting")
    rig.now += 5
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    linker = rig.linker()

    async def waits() -> bool:
        second = await rig.store.attempt("t2")
        return second is not None and second.grant == code

    async with linker:
        await rig.turn(linker, waits)
    revoke(rig)
    await ended(rig, "t1", "lost")


async def test_it_says_why_the_connection_ended_that_it_waited_for(rig: Rig) -> None:
    await lost_beside(rig)
    linker = rig.linker()

    async def told() -> bool:
        return bool(await finding(rig, "t2"))

    async with linker:
        await rig.turn(linker, told, 40)
    assert (await finding(rig, "t2")) == await finding(rig, "t1") + GOES_ON
    await ended(rig, "t2", "expired")
    assert (await finding(rig, "t2")) == await finding(rig, "t1")
    assert (await finding(rig, "t2")).endswith(MENDS)


async def test_it_goes_on_by_itself_with_a_new_code(rig: Rig) -> None:
    await lost_beside(rig)
    second = await rig.store.attempt("t2")
    assert second is not None
    new = await rig.code("acct-1", "canary-code-new", at=second.requested_at)
    await ended(rig, "t2", "completed")
    [grant] = await rig.grants(new)
    assert (grant.attempt, await finding(rig, "t2"), rig.ring.standing("acct-1")) == ("t2", "", "completed")
