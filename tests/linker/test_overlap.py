"""Two links of one Ring account under way at once: Ring knows one integration, whose PATCH completes them both."""

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
