"""Two links of one Ring account under way at once: Ring knows one integration, whose PATCH completes them both."""

import pytest
from sqlalchemy import update

from linker.tables import grants
from tests.linker.rig import Rig
from tests.linker.ring import nonce


async def test_a_link_that_the_patch_of_an_older_one_completed_is_completed_too(rig: Rig) -> None:
    rig.ring.world.patch_again = False
    rig.ring.spoil("patch", *[502] * 4)
    older = await awaiting(rig, "t1", "canary-code-older")
    newer = await awaiting(rig, "t2", "canary-code-newer")
    rig.ring.calm()
    async with rig.database.begin() as connection:
        await connection.execute(update(grants).where(grants.c.code_hash == newer).values(due_at=rig.now + 600))
    await rig.state(rig.linker(), older, "completed")
    done = await rig.state(rig.linker(), newer, "completed")
    [gone] = await rig.grants(older)
    assert (done.partner_user, gone.state) == ("u1", "removed")
    account = await rig.explain.describe("acct-1")
    assert account is not None
    assert (account.linked, account.generation) == (True, done.generation)


async def awaiting(rig: Rig, attempt: str, code: str) -> str:
    """Bring a link to where Ring awaits its PATCH."""
    rig.now += 1
    code_hash = await rig.code("acct-1", code)
    await rig.state(rig.linker(), code_hash, "unclaimed")
    await rig.sign_in(attempt, nonce(rig.time(), "acct-1"), rig.time())
    await rig.state(rig.linker(), code_hash, "awaiting")
    return code_hash


@pytest.mark.parametrize("again", [True, False])
async def test_a_link_whose_post_comes_after_an_older_one_was_completed_is_completed_too(rig: Rig, *, again: bool) -> None:
    rig.ring.world.patch_again = again
    rig.ring.spoil("patch", *[502] * 3)
    older = await awaiting(rig, "t1", "canary-code-older")
    rig.now += 1
    newer = await rig.code("acct-1", "canary-code-newer")
    integration = rig.ring.world.accounts["acct-1"].integration
    assert integration is not None
    integration.standing = "awaiting"  # the older one's POST came to Ring after the user had confirmed again
    rig.ring.calm()
    await rig.state(rig.linker(), older, "completed")
    rig.now += 1
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time(), "u2")
    done = await rig.state(rig.linker(), newer, "completed")
    assert done.partner_user == "u2"
