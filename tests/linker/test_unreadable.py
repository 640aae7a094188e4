"""What a missing key sealed waits for it, and is called neither Ring's refusal nor the user's matter."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from ingress.link.words import plain
from linker.budget import Budget
from linker.rows import OVER
from linker.sealed import Sealed
from linker.unreadable import REST, Unreadable
from linker.vault import Vault
from tests.linker.rig import VAULT, Rig
from tests.linker.ring import nonce
from workers.runtime.sealing import CodeOpener, Keyring, generate_code_keys, generate_key

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


async def test_every_grant_is_marked_no_more_once_its_key_is_back_also_one_that_does_not_decide_how_its_account_stands(
    rig: Rig,
) -> None:
    serving = await completed(rig, 1)
    rig.now += 60
    newer = [await rig.code("acct-1", f"canary-code-{number}") for number in range(3)]
    await rig.states(rig.linker(), "unclaimed", *newer)
    await swept(rig, NEW)
    assert {grant.risk for grant in await rig.grants(serving, *newer)} == {"unreadable"}
    await swept(rig, NEW, VAULT)
    assert {(grant.risk, grant.reason) for grant in await rig.grants(serving, *newer)} == {(None, None)}


async def run(rig: Rig, until: Callable[[], Awaitable[bool]]) -> None:
    linker = rig.linker()
    async with linker:
        await rig.turn(linker, until, 4_000)


async def ended(rig: Rig, attempt: str) -> tuple[str, str]:
    """Let a sign-in end; return how, and what its user is told."""

    async def so() -> bool:
        found = await rig.explain.progress(attempt)
        return found is not None and found.state in OVER

    await run(rig, so)
    found = await rig.explain.progress(attempt)
    assert found is not None
    return found.state, plain(found.finding) or ""


def at(rig: Rig, moment: float) -> Callable[[], Awaitable[bool]]:
    async def there() -> bool:
        return rig.now >= moment

    return there


async def test_a_code_whose_key_is_missing_waits_for_it_as_long_as_it_lives(rig: Rig) -> None:
    code, own = await rig.code("acct-1"), rig.opener
    rig.opener = CodeOpener(generate_code_keys("k2")[1])
    await run(rig, at(rig, rig.now + 20))
    assert (await rig.grants(code))[0].state == "received"
    rig.opener = own
    await rig.state(rig.linker(), code, "unclaimed")


async def test_a_code_whose_key_stays_missing_says_so_and_blames_nobody_else(rig: Rig) -> None:
    code = await rig.code("acct-1")
    rig.opener = CodeOpener(generate_code_keys("k2")[1])
    grant = await rig.state(rig.linker(), code, "expired")
    assert "'k1', which is not among the private keys configured" in (grant.reason or "")
    assert "refused" not in (grant.reason or "")
    assert rig.ring.count("exchange") == 0


async def test_a_sign_in_whose_key_is_missing_waits_for_it(rig: Rig) -> None:
    code, own = await rig.code("acct-1"), rig.opener
    await rig.state(rig.linker(), code, "unclaimed")
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    rig.opener = CodeOpener(generate_code_keys("k2")[1])
    await run(rig, at(rig, rig.now + 300))
    rig.opener = own
    assert await ended(rig, "t1") == ("completed", "")


async def test_a_user_hears_of_no_key_and_who_must_act_first(rig: Rig) -> None:
    code, own = await rig.code("acct-1"), rig.vault
    await rig.state(rig.linker(), code, "unclaimed")
    rig.vault = Vault(Keyring.parse(NEW), "test")
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    await run(rig, at(rig, rig.now + 60))
    waits = await rig.explain.progress("t1")
    assert waits is not None
    assert "'k1'" in (waits.finding or "")
    assert (plain(waits.finding) or "").startswith("Something on our side")
    state, words = await ended(rig, "t1")
    assert (state, "'k" in words, "whoever runs this service has to mend that first" in words) == ("expired", False, True), words
    rig.vault = own
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    assert (await ended(rig, "t2"))[0] == "completed"


async def test_an_access_token_that_does_not_open_is_no_refusal_of_rings(rig: Rig) -> None:
    code, own = await rig.code("acct-1"), rig.vault
    await rig.state(rig.linker(), code, "unclaimed")
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    rig.vault = Vault(Keyring.parse(VAULT), "elsewhere")
    await run(rig, at(rig, rig.now + 60))
    assert (await rig.grants(code))[0].state == "claimed"
    rig.vault = own
    assert await ended(rig, "t1") == ("completed", "")


async def test_a_code_that_dies_while_ring_wants_rest_is_not_said_to_have_come_while_the_linker_was_down(rig: Rig) -> None:
    rig.ring.retry_after = "25"
    rig.ring.spoil("exchange", 429)
    linker = rig.linker(budget=Budget(rig.places, 1_000))
    async with linker:
        await rig.code("acct-1")
        while not rig.ring.count("exchange"):
            await rig.turn_once(linker)
        code = await rig.code("acct-2")
        while not (await rig.grants(code))[0].reason:
            await rig.turn_once(linker)
        rig.now += 56
        while (await rig.grants(code))[0].state == "received":
            await rig.turn_once(linker)
    [grant] = await rig.grants(code)
    assert (grant.state, grant.tries) == ("expired", 0)
    assert "Ring's limit left no place for it" in (grant.reason or "")
