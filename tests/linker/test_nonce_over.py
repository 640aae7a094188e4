"""A sign-in whose nonce was never posted is told so when its ten minutes are over, whatever else Ring does not answer."""

from deploy.demo.ring.faults import Fault
from linker import store
from linker.advance import Advance
from tests.linker.rig import Rig
from tests.linker.ring import nonce

HOUR = 3_600.0


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
