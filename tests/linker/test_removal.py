"""Ring tells of a removal: only its own answer ends a link, which drops tokens, stops deliveries and is announced."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select

from linker import refresh, removal, saga
from linker.early import Passing
from linker.forgetting import Forgetting
from linker.moves import ended as ended_grant
from linker.outcomes import Done, NotSent, Refused, Unauthorised, Unclear
from linker.rows import EARLY, Account, Grant, Risk
from linker.tables import removals
from linker.told import Told
from schemas.records import AccountTold, LinkState, SubscriptionTold
from tests.linker.rig import Rig, held
from tests.linker.ring import nonce
from tests.linker.test_killed import Fuse, Fused, Point, is_kill
from tests.linker.test_refresh import AT, resting, tokens
from workers.runtime import stops
from workers.runtime.jobs import Step


def doubted(**changes: object) -> Grant:
    return saga.withdrawn(resting(**changes), AT + 50, AT + 100).grant


def test_a_doubt_is_looked_into_at_once_and_401_ends_the_grant() -> None:
    grant = doubted()
    assert (grant.state, grant.access, grant.due_at) == ("completed", b"a1", AT + 100)
    looking = saga.begin(grant, AT + 100).grant
    assert saga.begin(looking, AT + 100).call == "devices"
    gone = saga.end(looking, Unauthorised(words="401"), AT + 100).grant
    assert (gone.state, gone.access, gone.refresh, gone.due_at, gone.look_at) == ("removed", None, None, None, None)
    assert "connect it there again" in (gone.reason or "")


@pytest.mark.parametrize("outcome", [Done(), Refused(words="403"), Refused(words="404")])
def test_where_ring_takes_the_token_the_grant_serves_on_and_is_looked_at_three_times_more(outcome: Done | Refused) -> None:
    grant, now, looks = doubted(), AT + 100, 0
    while grant.withdrawn_at is not None:
        now = grant.due_at or now
        grant = saga.begin(grant, now).grant
        assert saga.begin(grant, now).call == "devices"
        grant = saga.end(grant, outcome, now).grant
        assert (grant.state, grant.stage) == ("completed", "rest")
        looks += 1
    assert looks == 1 + len(removal.LOOKS)
    assert now == AT + 100 + sum(removal.LOOKS)
    assert grant.due_at is not None


def test_an_expired_token_proves_nothing_and_is_renewed_before_it_is_asked_with() -> None:
    now = AT + 20_000
    grant = saga.begin(saga.withdrawn(resting(), AT + 50, now).grant, now).grant
    renewing = saga.begin(saga.begin(grant, now).grant, now)
    assert (renewing.call, renewing.grant.resume) == ("refresh", "look")
    fresh = saga.end(renewing.grant, Done(tokens=tokens(now=now)), now).grant
    assert saga.begin(fresh, now).call == "devices"
    gone = saga.end(renewing.grant, Refused(words="400 invalid_grant"), now).grant
    assert (gone.state, gone.risk) == ("removed", None)


def test_a_token_in_its_last_minute_is_renewed_before_it_is_asked_with_too() -> None:
    now = AT + 14_400 - refresh.BEFORE / 2
    looking = saga.begin(saga.withdrawn(resting(), AT + 50, now).grant, now).grant
    renewing = saga.begin(saga.begin(looking, now).grant, now)
    assert (renewing.call, renewing.grant.resume) == ("refresh", "look")


@pytest.mark.parametrize("outcome", [NotSent(words="503"), Unclear(words="timeout")])
def test_no_answer_is_no_proof(outcome: NotSent | Unclear) -> None:
    grant = saga.begin(doubted(), AT + 100).grant
    later = saga.end(grant, outcome, AT + 100).grant
    assert (later.state, later.stage, later.access) == ("completed", "look", b"a1")
    assert (later.due_at or 0.0) > AT + 100


def test_a_late_or_repeated_removal_touches_no_newer_code_and_no_doubt_that_stands() -> None:
    grant = resting()
    assert saga.withdrawn(grant, AT, AT + 100).grant == grant
    assert saga.withdrawn(doubted(), AT + 50, AT + 200).grant == doubted()


def test_tokens_that_were_refused_before_the_removal_was_told_were_taken_back_by_it() -> None:
    lost = saga.end(saga.begin(resting(), AT + 90_000).grant, Refused(words="400"), AT + 90_000).grant
    assert lost.state == "lost"
    assert saga.withdrawn(lost, AT + 50, AT + 90_001).grant.state == "removed"
    assert saga.withdrawn(lost, AT - 50, AT + 90_001).grant == lost


async def told(rig: Rig, account: str, at: float, **more: object) -> None:
    value = AccountTold(account=account, at=datetime.fromtimestamp(at, UTC), **({"removed": True} | more))  # type: ignore[arg-type]
    async with rig.database.begin() as connection:
        step = Step(connection=connection, group="linker.told", index=0, n=1)
        batch = [held("account.told", account, value)]
        assert list(await Told(rig.store.namespace)(batch, step, datetime.fromtimestamp(rig.now, UTC))) == [()]


async def linked(rig: Rig, name: str, account: str = "acct-1") -> Grant:
    code = await rig.code(account, f"canary-code-{name}")
    await rig.sign_in(name, nonce(rig.time(), account), rig.time())
    return await rig.state(rig.linker(), code, "completed")


async def ended(rig: Rig, code_hash: str) -> Grant:
    return await rig.state(rig.linker(), code_hash, "removed")


async def known(rig: Rig, account: str = "acct-1") -> Account:
    found = await rig.store.account(account)
    assert found is not None
    return found[0]


async def stopped(rig: Rig, account: str = "acct-1") -> str | None:
    async with rig.database.read() as connection:
        return (await stops.stopped(connection, rig.store.namespace, [account])).get(account)


async def test_a_removal_drops_both_tokens_stops_deliveries_and_is_announced(rig: Rig) -> None:
    grant = await linked(rig, "t1")
    rig.ring.world.remove(rig.ring.world.accounts["acct-1"])
    rig.now += 10
    await told(rig, "acct-1", rig.now)
    gone = await ended(rig, grant.code_hash)
    assert (gone.access, gone.refresh, gone.pool) == (None, None, None)
    account = await known(rig)
    assert (account.state, account.linked, account.user, account.last_user) == ("removed", False, None, "u1")
    assert account.version > account.announced
    assert await stopped(rig) == "removed"
    assert [call for call, _ in rig.ring.seen][-1] == "devices"


async def test_a_replayed_removal_kills_nothing(rig: Rig) -> None:
    old = rig.now - 100
    grant = await linked(rig, "t1")
    await told(rig, "acct-1", old)
    assert (await rig.grants(grant.code_hash))[0] == grant
    await told(rig, "acct-1", rig.now + 1)  # Ring itself, by mistake or a replay under a new id

    async def calm() -> bool:
        return (await rig.grants(grant.code_hash))[0].withdrawn_at is None

    linker = rig.linker()
    async with linker:
        await rig.turn(linker, calm)
    [after] = await rig.grants(grant.code_hash)
    assert (after.state, after.stage, after.access) == ("completed", "rest", grant.access)
    assert (await known(rig)).linked
    assert rig.ring.count("devices") == 1 + len(removal.LOOKS)
    assert await stopped(rig) is None


async def test_a_relink_serves_again_and_frees_deliveries(rig: Rig) -> None:
    first = await linked(rig, "t1")
    rig.ring.world.remove(rig.ring.world.accounts["acct-1"])
    rig.now += 10
    removed_at = rig.now
    await told(rig, "acct-1", removed_at)
    await ended(rig, first.code_hash)
    rig.now += 60
    came, code = rig.now, await rig.code("acct-1", "canary-code-t2")
    await rig.state(rig.linker(), code, "unclaimed")
    assert await stopped(rig) is None, "whoever asks for what is not linked gets what the new connection brings"
    table = stops.StopTable(rig.database, rig.store.namespace)
    assert (await table.why("acct-1"), table.since("acct-1")) == (None, pytest.approx(came, abs=0.001)), "and nothing from before"
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    second = await rig.state(rig.linker(), code, "completed")
    assert await stopped(rig) is None
    await told(rig, "acct-1", removed_at)  # late, once more
    assert (await rig.grants(second.code_hash))[0] == second
    assert (await known(rig)).linked


@pytest.mark.parametrize(("end", "risk"), [("expired", None), ("lost", "lost_refused")])
async def test_a_removal_is_the_accounts_though_a_newer_code_ended_before(rig: Rig, end: LinkState, risk: Risk | None) -> None:
    serving = await linked(rig, "t1")
    rig.now += 60
    newer = await rig.state(rig.linker(), await rig.code("acct-1", "canary-code-t2", app="next"), "unclaimed")
    await rig.store.apply(newer, ended_grant(newer, end, "nobody signed in", rig.now, risk=risk), rig.now)
    assert (await known(rig)).linked
    rig.ring.world.remove(rig.ring.world.accounts["acct-1"])
    rig.now += 10
    await told(rig, "acct-1", rig.now, app="first")
    await ended(rig, serving.code_hash)
    account = await known(rig)
    assert (account.state, account.risk, account.generation, account.last_user) == ("removed", None, serving.generation, "u1")
    assert await stopped(rig) == "removed"
    rig.now += 60
    await rig.state(rig.linker(), await rig.code("acct-1", "canary-code-t3"), "unclaimed")
    assert ((await known(rig)).state, await stopped(rig)) == ("unclaimed", None)


async def test_a_late_removal_of_an_earlier_link_takes_the_account_from_no_later_user(rig: Rig) -> None:
    async def lost(user: str) -> Grant:
        code = await rig.code("acct-1", f"canary-code-{user}")
        await rig.sign_in(user, nonce(rig.time(), "acct-1"), rig.time(), user=user)
        grant = await rig.state(rig.linker(), code, "completed")
        rig.now += 1_000
        await rig.store.apply(grant, ended_grant(grant, "lost", "Ring refused", rig.now, risk="lost_refused"), rig.now)
        rig.now += 1_000
        return grant

    first = await lost("u1")
    removed_at = rig.now - 1_500
    last = await lost("u2")
    await told(rig, "acct-1", removed_at)
    assert [grant.state for grant in await rig.grants(first.code_hash, last.code_hash)] == ["removed", "lost"]
    account = await known(rig)
    assert (account.state, account.risk, account.last_user, account.generation) == ("lost", "lost_refused", "u2", last.generation)
    assert await stopped(rig) is None
    await told(rig, "acct-1", rig.now)
    account = await known(rig)
    assert (account.state, account.last_user, await stopped(rig)) == ("removed", "u2", "removed")


@pytest.mark.parametrize("before", [False, True])
async def test_a_removal_told_before_ring_has_said_whose_the_code_is_doubts_it_as_it_is_named(rig: Rig, *, before: bool) -> None:
    if before:  # the account is known by an earlier connection
        former = await rig.state(rig.linker(), await rig.code("acct-1", "canary-code-former"), "unclaimed")
        await rig.store.apply(former, ended_grant(former, "expired", "nobody signed in", rig.now), rig.now)
        rig.now += 5
    code, foreign = await rig.code("acct-1"), await rig.code("acct-1", "canary-code-next", app="next")
    rig.ring.spoil("identify", *[503] * 4)
    await rig.states(rig.linker(), "exchanged", code, foreign)
    rig.now += 1
    await told(rig, "acct-1", rig.now, app="first")
    assert (await rig.store.account("acct-1") is not None) is before
    rig.now += 1
    later = await rig.code("acct-1", "canary-code-later")
    rig.ring.calm()
    named = await rig.states(rig.linker(), "unclaimed", code, foreign, later)
    assert [grant.withdrawn_at is not None for grant in named] == [True, False, False]
    tokens_of_it = rig.ring.world.codes["canary-code-acct-1"].grant
    assert tokens_of_it is not None
    tokens_of_it.revoked = True
    await ended(rig, code)


async def test_a_removal_of_an_account_that_ring_names_later_is_forgotten_with_it_and_after_an_hour(rig: Rig) -> None:
    await told(rig, "acct-1", rig.now)
    await told(rig, "acct-2", rig.now)
    await told(rig, "acct-1", rig.now, app="next")
    await forgotten(rig, "acct-1")
    assert await kept(rig) == ["acct-2"]
    await told(rig, "acct-1", rig.now)
    assert await kept(rig) == ["acct-2"], "of who was forgotten nothing is learnt"
    passing = Passing(rig.store.database)
    rig.now += EARLY
    await passing(datetime.fromtimestamp(rig.now, UTC))
    assert await kept(rig) == ["acct-2"]
    rig.now += 1
    await passing(datetime.fromtimestamp(rig.now, UTC))
    assert await kept(rig) == []


@pytest.mark.parametrize(("ago", "doubted"), [(EARLY - 30, True), (EARLY + 30, False)])
async def test_a_removal_told_more_than_an_hour_ago_doubts_no_code(rig: Rig, ago: float, *, doubted: bool) -> None:
    code = await rig.code("acct-1")
    rig.ring.spoil("identify", *[503] * 4)
    await rig.state(rig.linker(), code, "exchanged")
    rig.now += 1
    await told(rig, "acct-1", rig.now)
    rig.now += ago
    rig.ring.calm()
    assert ((await rig.state(rig.linker(), code, "unclaimed")).withdrawn_at is not None) is doubted


async def forgotten(rig: Rig, account: str) -> None:
    forgetting = Forgetting(rig.database, rig.store.namespace)
    await forgetting.ask(account, rig.now)
    await forgetting.sweep(account, rig.now)


async def kept(rig: Rig) -> list[str]:
    async with rig.database.read() as connection:
        return [*(await connection.execute(select(removals.c.account))).scalars()]


async def test_a_removal_in_mid_link_ends_it_with_a_reason(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    rig.ring.spoil("patch", *[503] * 30)
    await rig.state(rig.linker(), code, "awaiting")
    rig.ring.world.remove(rig.ring.world.accounts["acct-1"])
    rig.now += 1
    await told(rig, "acct-1", rig.now)
    await ended(rig, code)
    progress = await rig.explain.progress("t1")
    assert progress is not None
    assert progress.state == "removed"
    assert "connect it there again" in (progress.finding or "")


async def test_a_removal_of_an_unclaimed_grant_and_of_an_account_nobody_knows(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    rig.ring.world.remove(rig.ring.world.accounts["acct-1"])
    rig.now += 1
    await told(rig, "nobody", rig.now)
    await told(rig, "acct-1", rig.now)
    await ended(rig, code)
    assert await rig.store.account("nobody") is None


async def taken_back(rig: Rig, number: int, fuse: Fuse) -> str:
    """Let a user remove the app and a linker look into it until the fuse blows; return the grant's name."""
    account = f"acct-{number}"
    grant = await linked(rig, f"t{number}", account)
    rig.ring.world.remove(rig.ring.world.accounts[account])
    rig.now += 15_000 if number % 2 else 10  # the token has expired: it is renewed first
    await told(rig, account, rig.now)
    try:
        await rig.state(rig.linker(store=Fused(rig.store, fuse), api=Fused(rig.api, fuse)), grant.code_hash, "removed")
    except BaseException as error:
        if not is_kill(error):
            raise
    return grant.code_hash


async def test_a_linker_killed_at_any_await_of_a_look_is_resumed_by_the_next(rig: Rig) -> None:
    points = list[Point]()
    for number in (0, 1):
        unharmed = Fuse()
        await taken_back(rig, number, unharmed)
        points += [
            point for point in unharmed.passed if point[0].split()[1] in {"take_grants", "apply", "devices", "refresh", "intend"}
        ]
    assert {"after devices", "after refresh", "before intend", "after apply"} <= {name for name, _ in points}
    for number, point in enumerate(dict.fromkeys(points), start=2):
        code_hash = await taken_back(rig, number, Fuse(point))
        await rig.let_leases_end()
        await ended(rig, code_hash)
        account = f"acct-{number}"
        assert (await stopped(rig, account), (await known(rig, account)).state) == ("removed", "removed"), point


async def test_the_last_word_on_a_subscription_is_kept_whatever_comes_late(rig: Rig) -> None:
    await linked(rig, "t1")
    plan = SubscriptionTold(state="active", plan_id="ring.protect.plus", kind="trial", expires_at="2026-03-15T00:00:00Z")
    await told(rig, "acct-1", rig.now, removed=False, subscription=plan)
    await told(rig, "acct-1", rig.now - 10, removed=False, subscription=SubscriptionTold(state="inactive"))
    seen = await rig.explain.describe("acct-1")
    assert seen is not None
    assert seen.subscription is not None
    assert (seen.subscription.state, seen.subscription.plan_id) == ("active", "ring.protect.plus")
    assert (seen.subscription.kind, seen.subscription.expires_at) == ("trial", "2026-03-15T00:00:00Z")
    assert seen.subscription.told_at == rig.now
    async with rig.database.read() as connection:
        assert (await connection.execute(select(stops.stops))).all() == []
