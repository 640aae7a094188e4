"""Links that complete, or say why: through the records, a real store and a Ring over HTTP."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import func, select
from structlog.testing import capture_logs

from deploy.demo.ring.faults import Fault
from linker.advance import Advance
from linker.budget import Budget
from linker.outcomes import Outcome
from linker.ringapi import RingApi
from linker.rows import CODES, NAMES
from linker.steps import MARGIN_OF_LEASE
from linker.tables import grants
from schemas.records import App
from schemas.ring import api
from tests.linker.rig import Rig, Shared
from tests.linker.ring import nonce
from tests.linker.test_store_blip import Between
from workers.runtime.clock import steady
from workers.runtime.supervise import Fatal


async def test_a_code_and_a_sign_in_become_a_completed_link(rig: Rig) -> None:
    linker = rig.linker()
    code = await rig.code("acct-1")
    grant = await rig.state(linker, code, "unclaimed")
    assert grant.code is None
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    [done] = await rig.settle(rig.linker(), code)
    assert (done.state, done.partner_user, done.account) == ("completed", "u1", "acct-1")
    assert [call for call, _ in rig.ring.seen] == ["exchange", "identify", "post", "patch"]
    progress = await rig.explain.progress("t1")
    assert progress is not None
    assert progress.state == "completed"
    names = [name for name, _ in progress.steps]
    assert names == ["received", "exchanged", "unclaimed", "signed in", "claimed", "awaiting", "completed"]
    account = await rig.explain.describe("acct-1")
    assert account is not None
    assert (account.linked, account.partner_user, account.state) == (True, "u1", "completed")


async def test_a_sign_in_that_comes_before_its_code_waits_for_it(rig: Rig) -> None:
    time, began = rig.time(), rig.now
    await rig.sign_in("t1", nonce(time, "acct-1"), time)
    assert await looked_for(rig, 2) == "received"
    code = await rig.code("acct-1", at=began)
    done = await rig.state(rig.linker(), code, "completed")
    assert done.attempt == "t1"


async def looked_for(rig: Rig, times: int) -> str | None:
    """Let the linker look for the grant of sign-in t1, 20 seconds apart; return how that stands then."""
    linker = rig.linker()
    async with linker:
        for _ in range(times):
            await rig.turn(linker, _true)
            rig.now += 20
    progress = await rig.explain.progress("t1")
    return progress and progress.state


async def test_a_sign_in_is_never_used_for_a_connection_whose_code_came_after_it(rig: Rig) -> None:
    time = rig.time()
    await rig.sign_in("t1", nonce(time, "acct-1"), time)
    rig.now += 10
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    assert (await looked_for(rig, 3), rig.ring.count("post")) == ("received", 0)
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time(), user="u2")
    done = await rig.state(rig.linker(), code, "completed")
    assert (done.attempt, done.partner_user) == ("t2", "u2")


async def test_a_sign_in_that_never_meets_a_code_expires_with_a_reason(rig: Rig) -> None:
    time = rig.time()
    await rig.sign_in("t1", nonce(time, "nobody"), time)

    async def over() -> bool:
        found = await rig.explain.progress("t1")
        return found is not None and found.state == "expired"

    linker = rig.linker()
    async with linker:
        await rig.turn(linker, over, turns=3_000)
    progress = await rig.explain.progress("t1")
    assert progress is not None
    assert "Ring did not let us know this account" in (progress.finding or "")


async def test_a_code_found_late_is_expired_and_not_sent(rig: Rig) -> None:
    code = await rig.code("acct-1", at=rig.now - 56)
    [grant] = await rig.settle(rig.linker(), code)
    assert grant.state == "expired"
    assert (grant.reason or "").startswith("linker was down")
    assert rig.ring.seen == []


@pytest.mark.parametrize("fault", ["cut", 500, 502])
async def test_a_code_without_a_clear_answer_is_lost_and_never_sent_again(rig: Rig, fault: int | str) -> None:
    rig.ring.spoil("exchange", fault)
    code = await rig.code("acct-1")
    [grant] = await rig.settle(rig.linker(), code)
    assert grant.state == "lost"
    assert "never sent twice" in (grant.reason or "")
    assert rig.ring.count("exchange") == 1


@pytest.mark.parametrize(("fault", "state"), [(400, "rejected"), (401, "rejected"), (403, "rejected"), (307, "rejected")])
async def test_a_refused_code_says_what_ring_said(rig: Rig, fault: int, state: str) -> None:
    rig.ring.spoil("exchange", fault)
    [grant] = await rig.settle(rig.linker(), await rig.code("acct-1"))
    assert grant.state == state
    assert str(fault) in (grant.reason or "")
    assert rig.ring.count("exchange") == 1


async def test_a_wrong_client_secret_is_an_operators_to_mend_and_said_so_once(rig: Rig) -> None:
    rig.ring.inner.faults.next("POST /oauth/token", Fault(401, title="invalid_client"), times=2)
    with capture_logs() as logs:
        codes = [await rig.code("acct-1"), await rig.code("acct-2")]
        grant, _ = await rig.settle(rig.linker(), *codes)
    assert grant.state == "rejected"
    assert (grant.reason or "").startswith("Ring refused our client id or secret (401 invalid_client")
    [told] = [line for line in logs if line["event"] == "ring.client_refused"]
    assert "RINGHOOK_RING_CLIENT_SECRET" in told["meaning"]


async def test_a_code_ring_had_no_room_for_is_sent_when_it_said(rig: Rig) -> None:
    rig.ring.retry_after = "7"
    rig.ring.spoil("exchange", 429)
    began, budget = rig.now, Budget(Shared(rig.clock), 10_000, clock=rig.clock)
    grant = await rig.state(rig.linker(budget=budget), await rig.code("acct-1"), "unclaimed")
    assert dict(grant.marks)["exchanged"] >= began + 7


@pytest.mark.parametrize("faults", [["cut"], [500, 503, 502, 404], [403]])
async def test_only_users_me_is_asked_again(rig: Rig, faults: list[int | str]) -> None:
    rig.ring.spoil("identify", *faults)
    grant = await rig.state(rig.linker(), await rig.code("acct-1"), "unclaimed")
    assert grant.account == "acct-1"
    assert rig.ring.count("exchange") == 1


FAULTS = [
    ("post", ["cut"], 1),
    ("post", [500], 2),
    ("post", [503], 2),
    ("post", [401], 2),
    ("post", [502, 500], 3),
    ("patch", [502], 1),
    ("patch", ["cut"], 1),
    ("patch", [500] * 20, 1),
    ("patch", [404, 400, 401], 1),
    ("patch", [429], 1),
]


@pytest.mark.parametrize(("call", "faults", "posts"), FAULTS)
async def test_a_link_completes_whatever_meets_its_post_and_patch(
    rig: Rig, call: str, faults: list[int | str], posts: int
) -> None:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    rig.ring.spoil(call, *faults)
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    done = await rig.state(rig.linker(), code, "completed")
    assert done.partner_user == "u1"
    assert rig.ring.standing("acct-1") == "completed"
    assert rig.ring.count("post") == posts
    assert posts_are_never_blind(rig)


@pytest.mark.parametrize(("fault", "words"), [(404, "if the app was removed in the Ring app"), (503, "503")])
async def test_a_link_whose_completion_is_tried_again_says_so_to_its_user(rig: Rig, fault: int, words: str) -> None:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    rig.ring.spoil("patch", *[fault] * 8)
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())

    async def struggles() -> bool:
        return (await rig.grants(code))[0].tries > 2

    linker = rig.linker()
    async with linker:
        await rig.turn(linker, struggles)
    progress, account = await rig.explain.progress("t1"), await rig.explain.describe("acct-1")
    assert progress is not None
    assert account is not None
    assert progress.state == "awaiting"
    for finding in (progress.finding, account.finding, account.grants[0].finding):
        assert str(fault) in (finding or "")
        assert words in (finding or "")
        assert (finding or "").endswith("This is tried again by itself.")
    await rig.state(rig.linker(), code, "completed")
    done = await rig.explain.progress("t1")
    assert done is not None
    assert done.finding is None


def posts_are_never_blind(rig: Rig) -> bool:
    calls = [call for call, _ in rig.ring.seen if call in {"post", "patch", "refresh"}]
    return all((one, two) != ("post", "post") for one, two in pairwise(calls))


async def test_an_invalid_nonce_rejects_the_sign_in_and_a_second_tap_completes(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    rig.ring.spoil("post", 400)
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())

    async def rejected() -> bool:
        found = await rig.explain.progress("t1")
        return found is not None and found.state == "rejected"

    linker = rig.linker()
    async with linker:
        await rig.turn(linker, rejected)
    rig.now += 5
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    done = await rig.state(rig.linker(), code, "completed")
    assert done.attempt == "t2"
    first = await rig.explain.progress("t1")
    assert first is not None
    assert "tap Sign In" in (first.finding or "")


async def test_two_users_on_one_nonce_are_contested_and_nothing_is_linked(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    time = rig.time()
    await rig.sign_in("t1", nonce(time, "acct-1"), time, "u1")
    await rig.sign_in("t2", nonce(time, "acct-1"), time, "u2")
    linker = rig.linker()
    async with linker:
        await rig.turn(linker, _true)
    for attempt in ("t1", "t2"):
        progress = await rig.explain.progress(attempt)
        assert progress is not None
        assert progress.state == "contested"
    assert rig.ring.count("post") == 0
    rig.now += 30
    await rig.sign_in("t3", nonce(rig.time(), "acct-1"), rig.time(), "u1")
    assert (await rig.state(rig.linker(), code, "completed")).attempt == "t3"


async def test_a_nonce_contested_after_its_post_links_nobody(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    rig.ring.spoil("patch", *[500] * 3)
    time = rig.time()
    await rig.sign_in("t1", nonce(time, "acct-1"), time, "u1")
    await rig.state(rig.linker(), code, "awaiting")
    await rig.sign_in("t2", nonce(time, "acct-1"), time, "u2")
    [grant] = await rig.grants(code)
    assert (grant.state, grant.partner_user) == ("unclaimed", None)
    account = await rig.explain.describe("acct-1")
    assert account is not None
    assert not account.linked


async def test_the_same_user_confirming_twice_is_one_link(rig: Rig) -> None:
    code = await rig.code("acct-1")
    time = rig.time()
    for attempt in ("t1", "t2", "t1"):
        await rig.sign_in(attempt, nonce(time, "acct-1"), time)
    await rig.state(rig.linker(), code, "completed")
    second = await rig.explain.progress("t2")
    assert second is not None
    assert second.state == "completed"
    assert rig.ring.count("post") == 1


async def test_a_second_tap_in_mid_flow_ends_completed_too(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    rig.ring.spoil("patch", *[500] * 3)
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    await rig.state(rig.linker(), code, "awaiting")
    rig.now += 2
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time())
    await rig.state(rig.linker(), code, "completed")

    async def both() -> bool:
        found = await rig.explain.progress("t2")
        return found is not None and found.state == "completed"

    linker = rig.linker()
    async with linker:
        await rig.turn(linker, both)
    first, second = await rig.explain.progress("t1"), await rig.explain.progress("t2")
    assert first
    assert second
    at = [[moment for name, moment in seen.steps if name == "completed"] for seen in (first, second)]
    assert [len(times) for times in at] == [1, 1], "each page tells one completion: that of its own sign-in"
    assert at[0] < at[1]
    assert second.steps[-1][0] == "completed"


async def test_a_relink_serves_from_the_old_generation_until_the_new_one_completes(rig: Rig) -> None:
    old = await rig.code("acct-1", "canary-code-old")
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time(), "u1")
    await rig.state(rig.linker(), old, "completed")
    rig.now += 7_200
    new = await rig.code("acct-1", "canary-code-new")
    await rig.state(rig.linker(), new, "unclaimed")
    account = await rig.explain.describe("acct-1")
    assert account is not None
    assert (account.linked, account.partner_user) == (True, "u1")
    version = account.version
    await rig.sign_in("t2", nonce(rig.time(), "acct-1"), rig.time(), "u2")
    await rig.state(rig.linker(), new, "completed")
    account = await rig.explain.describe("acct-1")
    assert account is not None
    assert (account.linked, account.partner_user, account.version) == (True, "u2", version + 1)
    [replaced] = await rig.grants(old)
    assert (replaced.state, replaced.access) == ("removed", None)


async def test_an_access_token_that_ran_out_is_renewed_before_the_post(rig: Rig) -> None:
    code = await rig.code("acct-1")
    await rig.state(rig.linker(), code, "unclaimed")
    rig.now += 86_400
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    await rig.state(rig.linker(), code, "completed")
    assert [call for call, _ in rig.ring.seen] == ["exchange", "identify", "refresh", "post", "patch"]


async def test_many_links_at_once_all_complete_for_their_own_users(rig: Rig) -> None:
    codes = [await rig.code(f"acct-{number}") for number in range(40)]
    for number in range(40):
        await rig.sign_in(f"t{number}", nonce(rig.time(), f"acct-{number}"), rig.time(), f"u{number}")
    linkers = [rig.linker(parallel=8), rig.linker(parallel=8)]

    async def done() -> bool:
        return all(grant.state == "completed" for grant in await rig.grants(*codes))

    async with linkers[0], linkers[1]:
        for _ in range(100):
            for linker in linkers:
                await rig.turn_once(linker)
            if await done():
                break
    found = await rig.grants(*codes)
    assert [(grant.account, grant.partner_user) for grant in found] == [(f"acct-{n}", f"u{n}") for n in range(40)]
    assert rig.ring.count("exchange") == rig.ring.count("post") == 40


async def test_the_other_app_keeps_its_own_key(rig: Rig) -> None:
    code = await rig.code("acct-1", app="next")
    await rig.state(rig.linker(), code, "unclaimed")
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    linker = rig.linker()
    async with linker:
        await rig.turn(linker, _true)
    assert (await rig.grants(code))[0].state == "unclaimed"


async def test_the_worker_is_woken_by_intake_and_ends_when_it_is_told(rig: Rig) -> None:
    rig.now = time.time()
    linker, stop = rig.linker(), asyncio.Event()
    rig.intake = replace(rig.intake, wake=linker.wake)
    margins = _margins()
    async with asyncio.TaskGroup() as group:
        group.create_task(linker.run(stop))
        code = await rig.code("acct-1")
        await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
        async with asyncio.timeout(20):
            while (await rig.grants(code))[0].state != "completed":  # noqa: ASYNC110 - what is awaited is a row
                await asyncio.sleep(0.02)
        stop.set()
    assert [after - before for before, after in zip(margins, _margins(), strict=True)] == [1, 1]


def _margins() -> list[float]:
    name = "ringhook_link_deadline_margin_seconds_count"
    return [REGISTRY.get_sample_value(name, {"step": step}) or 0.0 for step in ("exchange", "post")]


async def test_an_account_that_nobody_signed_in_for_says_what_is_missing(rig: Rig) -> None:
    code = await rig.code("acct-1")
    async with rig.linker() as linker:
        for _ in range(5):
            await rig.turn_once(linker)
    assert (await rig.grants(code))[0].state == "unclaimed"
    account = await rig.explain.describe("acct-1")
    assert account is not None
    assert "taps Sign In" in str(account.finding)


async def test_the_only_linker_there_can_be_waits_for_no_dead_ones_lease(rig: Rig) -> None:
    code = await rig.code("acct-1")
    assert await rig.store.take_grants(owner="dead", now=rig.now, length=3_600, limit=9, queue=CODES)
    for alone, state in ((False, "received"), (True, "unclaimed")):
        async with rig.linker(alone=alone) as linker:
            for _ in range(5):
                await rig.turn_once(linker)
        assert (await rig.grants(code))[0].state == state


async def test_a_step_that_hangs_holds_up_nobody_else(rig: Rig) -> None:
    rig.ring.inner.faults.next("POST /oauth/token", Fault(delay=20))
    slow = await rig.code("acct-slow")
    linker = rig.linker()
    async with linker:
        await rig.turn_once(linker)
        quick = await rig.code("acct-quick")
        async with asyncio.timeout(rig.api.timeout - 1):
            while (await rig.grants(quick))[0].state != "unclaimed":
                await rig.turn_once(linker)
        assert (await rig.grants(slow))[0].stage == "exchanging"
        for task in linker._running:
            task.cancel()


class Asked:
    """Ring, whose answer to the code of acct-slow is awaited until `answers` is set, and whose first account meets `error`."""

    def __init__(self, ring: RingApi, error: Exception) -> None:
        self._ring, self._error = ring, error
        self.slow, self.answers, self.identified = asyncio.Event(), asyncio.Event(), 0

    async def exchange(self, app: App, code: str, within: float | None = None) -> api.Tokens | Outcome:
        if code.endswith("acct-slow"):
            self.slow.set()
            await self.answers.wait()
        return await self._ring.exchange(app, code, within)

    async def identify(self, access_token: str) -> Outcome:
        self.identified += 1
        if self.identified == 1:
            raise self._error
        return await self._ring.identify(access_token)

    def __getattr__(self, name: str) -> object:
        return getattr(self._ring, name)


async def test_a_bug_in_one_step_ends_no_other_and_the_step_is_done_again_once_its_lease_has_ended(rig: Rig) -> None:
    ring, before = Asked(rig.api, ValueError("a bug")), crashed()
    async with rig.linker(api=ring) as linker:
        slow = await rig.code("acct-slow")
        while not ring.slow.is_set():
            await rig.turn_once(linker)
        broken = await rig.code("acct-broken")
        with capture_logs() as lines:
            while crashed() == before:
                await rig.turn_once(linker)
            for _ in range(3):
                await rig.turn_once(linker)
        assert (ring.identified, crashed() - before) == (1, 1)
        [line] = [line for line in lines if line["event"] == "link.crashed"]
        assert (line["step"], line["exc_info"]) == (f"exchange {broken[:12]}", True)
        ring.answers.set()
        while (await rig.grants(slow))[0].state != "unclaimed":
            await rig.turn_once(linker)
        await rig.let_leases_end()
        while (await rig.grants(broken))[0].state != "unclaimed":
            await rig.turn_once(linker)
    assert rig.ring.count("exchange") == 2


async def test_an_error_after_which_nothing_may_go_on_ends_the_linker(rig: Rig) -> None:
    await rig.code("acct-1")
    with pytest.RaisesGroup(Fatal, flatten_subgroups=True):
        async with rig.linker(api=Asked(rig.api, Fatal("the disk is broken"))) as linker:
            for _ in range(100):
                await rig.turn_once(linker)


def crashed() -> float:
    return REGISTRY.get_sample_value("ringhook_link_step_crashes_total") or 0.0


async def _true() -> bool:
    return True


async def test_a_code_and_a_sign_in_do_not_wait_for_each_other(rig: Rig) -> None:
    for name in ("t1", "t2"):
        await rig.sign_in(name, nonce(rig.time(float(name[1])), "elsewhere"), rig.time(float(name[1])))
    code = await rig.code("acct-1", at=rig.now)
    linker = rig.linker(parallel=1)
    async with linker:
        await rig.turn_once(linker)
        if linker._running:
            await asyncio.wait(linker._running)
    [grant] = await rig.grants(code)
    assert grant.state == "unclaimed"
    assert [attempt.horizon for name in ("t1", "t2") if (attempt := await rig.store.attempt(name))].count(None) == 1


async def test_what_is_due_at_once_is_done_under_the_same_lease(rig: Rig) -> None:
    code = await rig.code("acct-1")
    linker = rig.linker()
    async with linker:
        await round_of(rig, linker)
        assert [call for call, _ in rig.ring.seen] == ["exchange", "identify"]
        await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
        for _ in ("match", "post, patch"):
            await round_of(rig, linker)
    assert [call for call, _ in rig.ring.seen] == ["exchange", "identify", "post", "patch"]
    assert (await rig.grants(code))[0].state == "completed"
    assert await leased(rig) == 0


async def test_a_step_that_does_not_go_on_gives_the_lease_back(rig: Rig) -> None:
    code = await rig.code("acct-1")
    rig.ring.spoil("identify", 503)
    linker = rig.linker()
    async with linker:
        await round_of(rig, linker)
    [grant] = await rig.grants(code)
    assert (grant.state, grant.stage, grant.begun) == ("exchanged", "identify", 0)
    assert await leased(rig) == 0


async def test_tokens_are_awaited_as_long_as_the_row_is_held(rig: Rig) -> None:
    hasty = replace(rig.api, timeout=0.3)
    rig.ring.inner.faults.next("POST /oauth/token", Fault(delay=1.0))
    code = await rig.code("acct-1")
    await rig.state(rig.linker(api=hasty), code, "unclaimed")
    [grant] = await rig.grants(code)
    rig.now += 86_400
    rig.ring.inner.faults.next("POST /oauth/token", Fault(delay=1.0))

    async def renewed() -> bool:
        return (await rig.grants(code))[0].refresh != grant.refresh

    async with (linker := rig.linker(api=hasty)):
        await rig.turn(linker, renewed, 400)
    assert ((await rig.grants(code))[0].risk, rig.ring.count("refresh")) == (None, 1)


async def test_where_the_lease_has_no_room_for_another_call_the_row_is_left_to_the_next(rig: Rig) -> None:
    code = await rig.code("acct-1")
    linker = rig.linker()
    [grant] = await rig.store.take_grants(owner="o", now=rig.now, length=60, limit=1, queue=CODES)
    async with linker:
        await linker._steps(grant, steady() + rig.api.timeout + MARGIN_OF_LEASE + 1)
    [grant] = await rig.grants(code)
    assert (grant.state, grant.stage, grant.begun) == ("exchanged", "identify", 0)
    assert await leased(rig) == 0


async def test_a_step_that_went_on_is_counted_as_taken_up_so_that_the_next_linker_knows_of_a_death_in_it(rig: Rig) -> None:
    rig.ring.inner.faults.next("GET /v1/users/me", Fault(delay=20))
    code = await rig.code("acct-1")
    linker = rig.linker()
    async with linker:
        async with asyncio.timeout(rig.api.timeout - 1):
            while rig.ring.count("identify") == 0:
                await rig.turn_once(linker)
        [grant] = await rig.grants(code)
        assert (grant.state, grant.stage, grant.begun) == ("exchanged", "identify", 1)
        assert await leased(rig) == 1
        for task in linker._running:
            task.cancel()
    await rig.let_leases_end()
    [taken] = await rig.store.take_grants(owner="next", now=rig.now, length=60, limit=1, queue=NAMES)
    assert taken.begun == 2


async def round_of(rig: Rig, linker: Advance) -> None:
    """Start what is due, and let it end."""
    await rig.turn_once(linker)
    if linker._running:
        await asyncio.wait(linker._running)


async def leased(rig: Rig) -> int:
    async with rig.database.read() as connection:
        held = select(func.count()).select_from(grants).where(grants.c.lease_until.is_not(None))
        return int(await connection.scalar(held) or 0)


async def test_strangers_codes_that_became_too_old_in_line_are_ended_together(rig: Rig) -> None:
    junk = [await rig.code(f"junk-{number}", at=rig.now - 56, stranger=True) for number in range(30)]
    waits = await rig.code("waits", at=rig.now - 54, stranger=True)
    assert await rig.store.expire_strangers(rig.now, 10) == 10
    assert (await rig.grants(waits))[0].state == "received"
    linker = rig.linker()
    async with linker:
        await rig.turn_once(linker)
    found = await rig.grants(*junk)
    assert {(grant.state, grant.stage, grant.code, grant.due_at) for grant in found} == {("expired", "rest", None, None)}
    assert {grant.marks[-1] for grant in found} == {("expired", rig.now)}
    assert "without a secret" in (found[0].reason or "")
    assert not any("junk" in whose for _, whose in rig.ring.seen)


class Outrun(Between):
    """The real store; its look for sign-ins finds none, as another linker was quicker, and comes when all steps have ended."""

    linker: Advance

    def _passing(self, ask: Callable[..., Awaitable[Any]], name: str) -> Callable[..., Awaitable[object]]:
        async def asked(*words: object, **more: object) -> object:
            if name == "take_attempts":
                await asyncio.wait(self.linker._running)
                await ask(*words, **more)
                return []
            return await ask(*words, **more)

        return asked


async def test_a_round_whose_steps_have_all_ended_before_it_is_over_is_a_round_like_any_other(rig: Rig) -> None:
    code, store = await rig.code("acct-1"), Outrun(rig)
    await rig.sign_in("t1", nonce(rig.time(), "acct-1"), rig.time())
    store.linker = rig.linker(store=store)
    async with store.linker:
        assert await store.linker(datetime.fromtimestamp(rig.now, UTC)) == timedelta(0)
    assert [grant.state for grant in await rig.grants(code)] == ["unclaimed"]
