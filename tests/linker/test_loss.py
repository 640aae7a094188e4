"""A serving link whose tokens are lost while a newer connection of its account lies unclaimed."""

import msgspec

from linker import announce
from schemas.records import AccountChanged
from tests.linker.rig import Rig
from tests.linker.ring import nonce
from tests.linker.test_connected_anew import ended, linked, revoke

DAY = 86_400.0


async def told(rig: Rig) -> tuple[str, bool, str | None, bool, str | None]:
    """Return what operators and services know: the state, whether it is at risk and why, `reconnect`, and whose it was."""
    account, _ = await rig.store.account("acct-1")  # type: ignore[misc] # it is there
    said = msgspec.json.decode(announce.record(account).value, type=AccountChanged)
    listed = [one.account for one, _ in await rig.store.listed("", 10, at_risk=True)]
    return said.state, listed == ["acct-1"], account.risk, said.reconnect, said.last_partner_user


async def finding(rig: Rig) -> str:
    seen = await rig.explain.describe("acct-1")
    page = await rig.explain.accounts(after="", limit=10, at_risk=True)
    assert seen is not None
    assert [one.finding for one in page.accounts] == [seen.finding]
    assert [one.tokens_end_at for one in (*page.accounts, seen)] == [None, None], "it is over, whatever newer tokens there are"
    return seen.finding or ""


async def serving_is_lost(rig: Rig, old: str) -> None:
    rig.now += DAY
    await rig.state(rig.linker(), old, "lost")


async def test_a_loss_is_told_though_a_newer_code_lies_unclaimed_and_when_that_has_expired(rig: Rig) -> None:
    old = await linked(rig)
    new = await rig.code("acct-1", "canary-code-new")
    await rig.state(rig.linker(), new, "unclaimed")
    rig.ring.world.grants[0].revoked = True
    await serving_is_lost(rig, old)
    assert await told(rig) == ("unclaimed", True, "lost_refused", True, "u1")
    words = "its link was lost, and nobody has signed in for the newer connection yet: tap Sign In in the Ring app again; if that"
    assert (await finding(rig)).startswith(words)
    await rig.state(rig.linker(), new, "expired")
    assert await told(rig) == ("expired", True, "lost_refused", True, "u1")


async def test_a_loss_that_was_told_stays_until_the_user_has_signed_in_for_a_new_connection(rig: Rig) -> None:
    old = await linked(rig)
    revoke(rig)
    await serving_is_lost(rig, old)
    assert await told(rig) == ("lost", True, "lost_refused", True, "u1")
    new = await rig.code("acct-1", "canary-code-new")
    await rig.state(rig.linker(), new, "unclaimed")
    assert await told(rig) == ("unclaimed", True, "lost_refused", True, "u1")
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await ended(rig, "t2", "completed")
    assert await told(rig) == ("completed", False, None, False, None)
