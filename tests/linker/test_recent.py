"""The newest links and sign-ins, as the findings read them; why a code came to nothing."""

import pytest

from deploy.demo.ring.faults import Fault
from linker.recent import NEWEST, Recent
from tests.linker.rig import Rig
from tests.linker.ring import ENDPOINTS, nonce
from tests.linker.test_connected_anew import ended


async def test_a_link_and_its_sign_in_are_told_with_how_far_they_came(rig: Rig) -> None:
    recent = Recent(rig.database)
    assert (await recent.links(), await recent.sign_ins(), await recent.reconnect()) == ((), (), 0)
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t1", "completed")
    (link,), (signed_in,) = await recent.links(), await recent.sign_ins()
    assert (link.state, link.account, link.cause) == ("completed", "acct-1", None)
    assert [what for what, _ in link.marks][-1] == "completed"
    assert (signed_in.state, signed_in.matched) == ("completed", True)


@pytest.mark.parametrize(
    ("fault", "state", "cause"), [("cut", "lost", "unanswered"), (400, "rejected", "refused"), ("client", "rejected", "client")]
)
async def test_why_a_code_came_to_nothing_is_known(rig: Rig, fault: int | str, state: str, cause: str) -> None:
    if fault == "client":
        rig.ring.inner.faults.next(ENDPOINTS["exchange"], Fault(401, title="invalid_client"))
    else:
        rig.ring.spoil("exchange", fault)
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, state)
    (link,) = await Recent(rig.database).links()
    assert (link.state, link.cause) == (state, cause)


async def test_a_code_that_nobody_sent_in_time_is_late(rig: Rig) -> None:
    code = await rig.code("acct-1")
    rig.now += 60
    await rig.state(rig.linker(), code, "expired")
    (link,) = await Recent(rig.database).links()
    assert (link.state, link.cause) == ("expired", "late")


async def test_strangers_codes_do_not_stand_before_what_is_rings(rig: Rig) -> None:
    own = await rig.code("acct-1")
    await rig.state(rig.linker(), own, "unclaimed")
    for number in range(NEWEST + 1):
        rig.now += 1
        await rig.code(f"junk-{number}", stranger=True)
    (link,) = await Recent(rig.database).links()
    assert link.account == "acct-1"
