"""Two links of one Ring account under way at once: Ring knows one integration, whose PATCH completes them both."""

import pytest
from sqlalchemy import update

from deploy.demo.ring.state import Client, Code, Integration
from linker.ringapi import Credentials, connect
from linker.tables import grants
from tests.linker.rig import APPS, Rig, held
from tests.linker.ring import nonce
from workers.runtime.secrets import Secret

OTHER = Client("client-2", "canary-client-secret", "other-hmac-key")


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


async def test_a_link_by_another_app_is_not_completed_by_what_ring_completed_for_this_one(rig: Rig) -> None:
    rig.ring.world.others[OTHER.client_id] = OTHER
    apps = APPS | {"next": Credentials(OTHER.client_id, Secret(OTHER.client_secret), Secret(OTHER.hmac_key))}
    async with connect(api_url=rig.ring.url, oauth_url=rig.ring.url, apps=apps, timeout=8.0) as api:
        by_first = await rig.code("acct-1", "canary-code-first")
        by_next = await code_of_the_other(rig, "canary-code-next")
        await rig.states(rig.linker(api=api), "unclaimed", by_first, by_next)
        rig.ring.spoil("patch", *[503] * 4)
        tap = rig.ring.world.redirect(rig.ring.world.accounts["acct-1"].under(OTHER.client_id), rig.now)
        await rig.feed(held("link.requested", "t-next", rig.request("t-next", tap["nonce"], tap["time"], "u1")))
        await rig.state(rig.linker(api=api), by_next, "awaiting")
        anew = rig.ring.world.accounts["acct-1"].under(OTHER.client_id).integration = Integration()  # confirmed once more
        await rig.sign_in("t-first", nonce(rig.time(), "acct-1"), rig.time())
        await rig.state(rig.linker(api=api), by_first, "completed")
        rig.ring.calm()
        await rig.state(rig.linker(api=api), by_next, "completed")
    assert (rig.ring.standing("acct-1"), anew.standing) == ("completed", "completed")


async def code_of_the_other(rig: Rig, code: str) -> str:
    """Let the same user connect the partner's other app."""
    rig.now += 1
    code_hash = await rig.code("acct-1", code, app="next")
    rig.ring.world.codes[code] = Code("acct-1", rig.now, OTHER.client_id)
    rig.ring.world.accounts["acct-1"].under(OTHER.client_id).integration = Integration()
    return code_hash
