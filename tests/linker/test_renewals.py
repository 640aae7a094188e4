"""Renewals through a real store and Ring over HTTP: killed at every await, by two linkers at once, and what the operator sees."""

import asyncio
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from msgspec.structs import replace
from prometheus_client import REGISTRY

from linker import saga
from linker.advance import Advance
from linker.moves import Move
from linker.risk import AtRisk
from linker.rows import Grant
from linker.store import Store
from linker.vault import Vault
from tests.linker.rig import Rig
from tests.linker.ring import nonce
from tests.linker.test_killed import Fuse, Fused, is_kill, most
from workers.runtime.sealing import Keyring, generate_key

DAY = 86_400.0


async def linked(rig: Rig, number: int = 0) -> str:
    code = await rig.code(f"acct-{number}", f"canary-code-{number}")
    await rig.sign_in(f"t{number}", nonce(rig.time(), f"acct-{number}"), rig.time())
    await rig.state(rig.linker(), code, "completed")
    return code


async def swept(rig: Rig, linker: Advance, turns: int = 3) -> None:
    async with linker:
        for _ in range(turns):
            await linker(datetime.fromtimestamp(rig.now, UTC))
            if linker._running:
                await asyncio.wait(linker._running, timeout=5)


async def healed(rig: Rig, code: str) -> Grant:
    """Let a fresh linker go on until the grant rests."""
    for _ in range(20):
        await rig.let_leases_end()
        await swept(rig, rig.linker())
        [grant] = await rig.grants(code)
        if grant.stage == "rest":
            return grant
        rig.now = max(rig.now, grant.due_at or 0.0) + 0.001
    raise AssertionError("not in time")


def sendings(rig: Rig) -> list[tuple[str, float]]:
    """Every refresh token that came to Ring, and when."""
    return [(call.secret or "", call.at) for call in rig.ring.ledger.calls if call.grant_type == "refresh_token"]


async def renewal(rig: Rig, code: str, fuse: Fuse) -> None:
    [grant] = await rig.grants(code)
    rig.now = (grant.due_at or 0.0) + 1
    try:
        await swept(rig, rig.linker(store=Fused(Store(rig.database), fuse), api=Fused(rig.api, fuse)), turns=1)
    except BaseException as error:
        if not is_kill(error):
            raise


async def at_rest(rig: Rig, number: int) -> str:
    """Link an account, and let its hour in the pool go by, so that its next step is its renewal."""
    code = await linked(rig, number)
    rig.now += 3_601
    await swept(rig, rig.linker())
    return code


async def test_a_linker_killed_at_any_await_of_a_renewal_loses_tokens_only_with_the_answer(rig: Rig) -> None:
    unharmed = Fuse()
    await renewal(rig, first := await at_rest(rig, 0), unharmed)
    await away_with(rig, first)
    points = [(where, n) for where, n in unharmed.passed if n <= most(where, 2)]
    assert {"before intend", "after intend", "before refresh", "after refresh", "before apply"} <= {where for where, _ in points}
    fates = dict[str, str]()
    for number, point in enumerate(points, start=1):
        code = await at_rest(rig, number)
        sent = len(sendings(rig))
        await renewal(rig, code, Fuse(point))
        [killed] = await rig.grants(code)
        answered_in_vain = len(sendings(rig)) > sent and killed.writes == 1
        grant = await healed(rig, code)
        fates[point[0]] = grant.state
        assert grant.state == ("lost" if answered_in_vain else "completed"), point
        assert grant.risk == ("lost_unanswered" if answered_in_vain else None)
        if grant.state == "completed":
            assert rig.vault.open(grant, "refresh") == rig.ring.world.grants[-1].refresh
        await away_with(rig, code)
    assert fates["after refresh"] == "lost"
    assert fates["before refresh"] == fates["after apply"] == "completed"
    assert all(token_rested(rig, token) for token, _ in sendings(rig))


async def away_with(rig: Rig, code: str) -> None:
    """End a grant, so that it is not renewed beside the next one."""
    [grant] = await rig.grants(code)
    await rig.store.apply(grant, saga.removed(grant, "its turn is over", rig.now), rig.now)


def token_rested(rig: Rig, token: str) -> bool:
    at = [when for sent, when in sendings(rig) if sent == token]
    return all(later - earlier >= 30 for earlier, later in pairwise(at))


async def test_two_linkers_renew_many_accounts_once_each(rig: Rig) -> None:
    codes = [await linked(rig, number) for number in range(12)]
    rig.now += DAY
    both = [rig.linker(parallel=8), rig.linker(parallel=8)]
    async with both[0], both[1]:
        for _ in range(40):
            await asyncio.gather(*(linker(datetime.fromtimestamp(rig.now, UTC)) for linker in both))
            if all(grant.writes == 2 for grant in await rig.grants(*codes)):
                break
    tokens = [token for token, _ in sendings(rig)]
    assert len(tokens) == len(set(tokens)) == 12
    for grant in await rig.grants(*codes):
        assert (grant.state, grant.stage, grant.writes) == ("completed", "rest", 2)


async def test_renewals_leave_the_room_of_links_alone(rig: Rig) -> None:
    for number in range(6):
        await linked(rig, number)
    rig.now += DAY
    linker = rig.linker(parallel=4)
    async with linker:
        await linker._start(rig.now)
        assert len(linker._running) == 2
        link = await rig.code("acct-new")
        await linker._start(rig.now)
        assert any(link[:12] in task.get_name() for task in linker._running)


async def gauge(rig: Rig) -> dict[str, float]:
    await AtRisk(rig.store)(datetime.fromtimestamp(rig.now, UTC))
    found = {
        sample.labels["reason"]: sample.value
        for metric in REGISTRY.collect()
        if metric.name == "ringhook_accounts_at_risk"
        for sample in metric.samples
    }
    return {reason: count for reason, count in found.items() if count}


async def test_the_operator_sees_who_is_at_risk_and_who_is_lost_until_they_connect_again(rig: Rig) -> None:
    for number in range(4):
        await linked(rig, number)
    lost = REGISTRY.get_sample_value("ringhook_token_families_lost_total", {"reason": "refused"}) or 0.0
    assert await gauge(rig) == {}
    rig.ring.world.remove(rig.ring.world.accounts["acct-1"])
    rig.now += DAY
    await swept(rig, rig.linker())
    assert await gauge(rig) == {"lost_refused": 1}
    assert REGISTRY.get_sample_value("ringhook_token_families_lost_total", {"reason": "refused"}) == lost + 1
    rig.now += 1.5 * DAY
    rig.ring.spoil("refresh", "cut", *[503] * 40)
    await swept(rig, rig.linker())
    rig.now += DAY
    await swept(rig, rig.linker())
    assert await gauge(rig) == {"lost_refused": 1, "unanswered": 1, "failing": 2}
    page = await rig.explain.accounts(after="", limit=3, at_risk=True)
    assert ([each.account for each in page.accounts], page.next) == (["acct-0", "acct-1", "acct-2"], "acct-2")
    rest = await rig.explain.accounts(after="acct-2", limit=3, at_risk=True)
    assert ([each.account for each in rest.accounts], rest.next) == (["acct-3"], None)
    by_name = {each.account: each for each in (*page.accounts, *rest.accounts)}
    assert by_name["acct-1"].tokens_end_at is None
    assert (by_name["acct-1"].partner_user, by_name["acct-1"].last_partner_user) == (None, "u1")
    assert (by_name["acct-2"].partner_user, by_name["acct-2"].last_partner_user) == ("u1", None)
    assert "remove the app in the Ring app and connect it again" in (by_name["acct-1"].finding or "")
    assert all((each.tokens_end_at or 0) > rig.now + 20 * DAY for name, each in by_name.items() if name != "acct-1")
    rig.ring.calm()
    again = await rig.code("acct-1", "canary-code-again")
    await rig.state(rig.linker(), again, "unclaimed")
    assert (await gauge(rig))["lost_refused"] == 1  # nobody has signed in for it yet
    await rig.sign_in("again", nonce(rig.time(), "acct-1"), rig.time())
    await rig.state(rig.linker(), again, "completed")
    assert "lost_refused" not in await gauge(rig)


async def test_a_lost_family_is_announced_with_what_to_do(rig: Rig) -> None:
    await linked(rig)
    version = [account.version for account in await rig.store.behind(9)]
    await rig.store.announced(await rig.store.behind(9))
    rig.ring.world.remove(rig.ring.world.accounts["acct-0"])
    rig.now += DAY
    await swept(rig, rig.linker())
    [told] = await rig.store.behind(9)
    assert (told.state, told.linked, told.risk, told.version) == ("lost", False, "lost_refused", version[0] + 1)


async def test_a_doubt_that_is_no_loss_is_not_announced(rig: Rig) -> None:
    await linked(rig)
    await rig.store.announced(await rig.store.behind(9))
    rig.ring.spoil("refresh", "cut")
    rig.now += DAY
    await swept(rig, rig.linker())
    assert await gauge(rig) == {"unanswered": 1}
    assert await rig.store.behind(9) == []


async def test_tokens_whose_key_is_missing_wait_for_it(rig: Rig) -> None:
    code = await linked(rig)
    rig.now += DAY
    good, rig.vault = rig.vault, Vault(Keyring.parse(generate_key("other")), "test")
    await swept(rig, rig.linker())
    [grant] = await rig.grants(code)
    assert (grant.state, grant.risk) == ("completed", "unreadable")
    assert "'k1'" in (grant.reason or "")
    assert await gauge(rig) == {"unreadable": 1}
    assert sendings(rig) == []
    rig.vault = good
    rig.now += 60
    await swept(rig, rig.linker())
    [grant] = await rig.grants(code)
    assert (grant.state, grant.risk, grant.writes) == ("completed", None, 2)


@pytest.mark.parametrize("days", [1, 29])
async def test_an_unclaimed_grant_is_kept_alive_until_somebody_signs_in(rig: Rig, days: int) -> None:
    code = await rig.code("acct-0")
    await rig.state(rig.linker(), code, "unclaimed")
    for _ in range(days):
        rig.now += DAY
        await swept(rig, rig.linker())
    await rig.sign_in("t0", nonce(rig.time(), "acct-0"), rig.time())
    assert (await rig.state(rig.linker(), code, "completed")).partner_user == "u1"
    assert rig.ring.count("refresh") >= days


async def test_tokens_that_were_altered_are_not_given_up(rig: Rig) -> None:
    code = await linked(rig)
    [grant] = await rig.grants(code)
    await rig.store.apply(grant, Move(replace(grant, refresh=grant.access)), rig.now)
    rig.now += DAY
    await swept(rig, rig.linker())
    [kept] = await rig.grants(code)
    assert (kept.state, kept.risk, kept.refresh) == ("completed", "unreadable", grant.access)
    assert "altered" in (kept.reason or "")
    assert sendings(rig) == []
