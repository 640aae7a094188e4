"""Two apps at once: what an account's grants say of the apps it may be told of by, and whose word counts."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from deploy.demo.ring.proofs import nonce as proof
from linker import refresh, saga, view
from linker.ledger import REPLACED
from linker.moves import MENDS
from linker.outcomes import NotSent
from linker.rows import Account, Grant
from linker.told import Told
from schemas.records import AccountTold, App, SubscriptionTold
from tests.linker.rig import APPS, AT, Rig, held
from tests.linker.ring import nonce
from workers.runtime.jobs import Step


def grant(app: App, state: str, generation: int) -> Grant:
    made = saga.received(code_hash=f"{generation:064}", code=b"", app=app, stranger=False, at=AT + generation)
    return replace(made, state=state, account="A", generation=generation)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("grants", "apps"),
    [
        ([("old", "completed")], "old"),
        ([("old", "completed"), ("old", "unclaimed")], "old"),
        ([("old", "completed"), ("new", "unclaimed")], "new,old"),
        ([("old", "removed"), ("new", "completed")], "new"),
        ([("old", "completed"), ("new", "expired")], "old"),
        ([("old", "removed")], ""),
        ([("old", "lost"), ("new", "claimed")], "new"),
    ],
)
def test_an_account_may_be_told_of_by_the_apps_of_its_open_grants(grants: list[tuple[App, str]], apps: str) -> None:
    owned = [grant(app, state, at) for at, (app, state) in enumerate(grants)]
    after = view.seen(Account(account="A"), owned, AT)
    assert (after.apps, after.version) == (apps, 1)
    assert view.seen(after, owned, AT + 1) == after


def test_another_app_on_its_way_is_news_though_nothing_else_changes() -> None:
    old = grant("old", "completed", 1)
    before = view.seen(Account(account="A"), [old], AT)
    after = view.seen(before, [old, grant("new", "unclaimed", 2)], AT + 1)
    assert (after.version, after.changed_at, after.generation) == (before.version + 1, AT + 1, before.generation)


def test_a_grant_whose_app_is_not_configured_is_at_risk_and_tried_again() -> None:
    resting = replace(grant("old", "completed", 1), stage="refreshing", resume="rest", refresh=b"r", tokens_at=AT)
    after = refresh.end(resting, NotSent(words="which app, and what to do", wait=30.0, stray=True), AT + 90_000).grant
    assert (after.state, after.risk, after.reason, after.stage) == ("completed", "stray", "which app, and what to do", "refresh")


async def told(rig: Rig, app: App, **more: object) -> None:
    value = AccountTold(account="acct-1", at=datetime.fromtimestamp(rig.now, UTC), app=app, **more)  # type: ignore[arg-type]
    async with rig.database.begin() as connection:
        step = Step(connection=connection, group="linker.told", index=0, n=1)
        assert list(await Told(rig.store.namespace)([held("account.told", "acct-1", value)], step, datetime.now(UTC))) == [()]


async def moving(rig: Rig) -> tuple[Grant, Grant]:
    """Return the grant that serves by the first app, and the one by the next that nobody claimed yet."""
    serving = await rig.code("acct-1", "canary-code-old")
    time = rig.time()
    await rig.sign_in("t1", nonce(time, "acct-1"), time)
    await rig.state(rig.linker(), serving, "completed")
    rig.now += 5
    coming = await rig.code("acct-1", "canary-code-new", app="next")
    await rig.state(rig.linker(), coming, "unclaimed")
    return (await rig.grants(serving))[0], (await rig.grants(coming))[0]


async def apps(rig: Rig) -> str:
    found = await rig.store.account("acct-1")
    assert found is not None
    return found[0].apps


async def test_a_removal_doubts_the_grants_of_its_own_app_alone(rig: Rig) -> None:
    old, new = await moving(rig)
    assert await apps(rig) == "first,next"
    rig.now += 5
    await told(rig, "next", removed=True)
    assert (await rig.grants(old.code_hash))[0] == old
    assert (await rig.grants(new.code_hash))[0].withdrawn_at is not None


async def test_a_plan_is_taken_from_an_app_that_serves_and_from_no_other(rig: Rig) -> None:
    await moving(rig)
    for app, state in (("next", "active"), ("stranger", "inactive")):
        rig.now += 1
        await told(rig, app, subscription=SubscriptionTold(state=state))
    kept = await rig.explain.describe("acct-1")
    assert kept is not None
    assert kept.subscription is not None
    assert kept.subscription.state == "active"


async def test_who_connects_the_old_app_anew_and_signs_in_has_gone_back_to_it(rig: Rig) -> None:
    new = await rig.code("acct-1", "canary-code-new", app="next")
    await rig.state(rig.linker(), new, "unclaimed")
    rig.now += 30
    old = await rig.code("acct-1", "canary-code-old")
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    await rig.state(rig.linker(), old, "completed")
    [ended] = await rig.grants(new)
    assert (ended.state, ended.reason, await apps(rig)) == ("removed", REPLACED, "first")
    rig.now += 60
    await rig.sign_in("t2", proof(APPS["next"].hmac_key.reveal(), rig.time(), "acct-1"), rig.time())
    assert MENDS in await finding(rig, "t2")


async def finding(rig: Rig, attempt: str) -> str:
    """Return what the sign-in says at its end."""

    async def over() -> bool:
        progress = await rig.explain.progress(attempt)
        return progress is not None and progress.state == "expired"

    linker = rig.linker()
    async with linker:
        await rig.turn(linker, over, 4_000)
    progress = await rig.explain.progress(attempt)
    return (progress and progress.finding) or ""
