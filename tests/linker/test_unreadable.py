"""Accounts whose key is missing are named before anybody needs their tokens, and no longer once the key is back."""

from datetime import UTC, datetime, timedelta

from linker.sealed import Sealed
from linker.unreadable import REST, Unreadable
from linker.vault import Vault
from tests.linker.rig import VAULT, Rig
from tests.linker.ring import nonce
from workers.runtime.sealing import Keyring, generate_key

NEW = generate_key("k2")


async def completed(rig: Rig, number: int) -> str:
    code = await rig.code(f"acct-{number}")
    await rig.sign_in(f"t{number}", nonce(rig.time(), f"acct-{number}"), rig.time())
    await rig.state(rig.linker(), code, "completed")
    return code


async def swept(rig: Rig, *ring: str) -> None:
    """Sweep with these keys until it rests."""
    sweep = Unreadable(Sealed(rig.database), rig.store, Vault(Keyring.parse(",".join(ring)), "test"), page=2)
    while await sweep(datetime.fromtimestamp(rig.now, UTC)) < REST:
        rig.now += timedelta(seconds=1).total_seconds()


async def at_risk(rig: Rig) -> dict[str, str | None]:
    return {account.account: account.risk for account, _ in await rig.store.listed("", 10, at_risk=True)}


async def test_a_missing_key_puts_its_accounts_at_risk_until_it_is_back_and_the_world_hears_nothing(rig: Rig) -> None:
    codes = [await completed(rig, number) for number in range(3)]
    await swept(rig, VAULT)
    assert await at_risk(rig) == {}
    before = await rig.grants(*codes)
    versions = [account.version for account, _ in await rig.store.listed("", 10, at_risk=False)]
    await swept(rig, NEW)
    assert await at_risk(rig) == {f"acct-{number}": "unreadable" for number in range(3)}
    marked = await rig.grants(*codes)
    assert all("'k1', which is not configured" in (grant.reason or "") for grant in marked)
    assert [(one.access, one.refresh, one.due_at) for one in marked] == [(one.access, one.refresh, one.due_at) for one in before]
    await swept(rig, NEW, VAULT)
    assert await at_risk(rig) == {}
    assert [account.version for account, _ in await rig.store.listed("", 10, at_risk=False)] == versions
