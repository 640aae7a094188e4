"""Two users confirm one attempt: the cookie of its start was put back into a browser. Neither is told of the other's link."""

import asyncio

import pytest
from structlog.testing import capture_logs

from deploy.demo.ring.faults import Fault
from linker import claims
from linker.held import hold_accounts
from tests.linker.rig import Rig, held
from tests.linker.ring import nonce
from tests.linker.test_group import some_wait_for_a_lock
from workers.bus.contract import Held


@pytest.mark.parametrize("first", ["received", "awaiting"])
async def test_a_second_user_who_confirms_by_the_first_ones_cookie_contests_it(rig: Rig, first: str) -> None:
    """One attempt id, since the second's browser was given the cookie of the start: cookies enforce nothing (security.md 1)."""
    code, time = await rig.code("acct-1"), rig.time()
    await rig.state(rig.linker(), code, "unclaimed")
    rig.ring.spoil("patch", *[500] * 3)
    await rig.sign_in("t1", nonce(time, "acct-1"), time, "u1")
    if first == "awaiting":
        await rig.state(rig.linker(), code, first)
    with capture_logs() as logs:
        for user in ("u2", "u1", "u3", "u2"):
            await rig.sign_in("t1", nonce(time, "acct-1"), time, user)
    assert [line["state"] for line in logs if line["event"] == "link.ended"] == ["contested"] * 3, "each sign-in ends once"
    linker = rig.linker()
    async with linker:
        await rig.turn(linker, _at_rest)
    seen = [await rig.explain.progress("t1", user) for user in ("u1", "u2", "u3", None)]
    assert [progress and (progress.state, progress.finding) for progress in seen] == [("contested", claims.CONTESTED)] * 4
    [grant] = await rig.grants(code)
    assert (grant.state, grant.partner_user) == ("unclaimed", None)


async def test_a_second_user_who_comes_by_the_first_ones_cookie_when_it_is_linked_is_refused_with_the_reason(rig: Rig) -> None:
    code, time = await rig.code("acct-1"), rig.time()
    await rig.sign_in("t1", nonce(time, "acct-1"), time, "u1")
    done = await rig.state(rig.linker(), code, "completed")
    assert await rig.explain.progress("t1", "u2") is None, "nothing is known of the second's, whatever became of the first's"
    with capture_logs() as logs:
        await rig.sign_in("t1", nonce(time, "acct-1"), time, "u2")
    [line] = [line for line in logs if line["event"] == "link.ended"]
    assert (line["state"], "already linked another user" in line["why"]) == ("rejected", True)
    first, second = await rig.explain.progress("t1", "u1"), await rig.explain.progress("t1", "u2")
    assert first
    assert second
    assert (first.state, second.state, second.finding) == ("completed", "rejected", line["why"])
    assert await rig.grants(code) == [done]


async def test_users_whose_sign_ins_come_in_one_batch_contest_each_other_once_each(rig: Rig) -> None:
    time, given = rig.time(), nonce(rig.time(), "acct-1")
    batch = [held("link.requested", "t1", rig.request("t1", given, time, user)) for user in ("u1", "u2", "u3", "u2", "u1")]
    batch += [held("link.requested", "t2", rig.request("t2", given, time, user)) for user in ("u1", "u4", "u4")]
    with capture_logs() as logs:
        await rig.feed(*batch)
        await rig.feed(*batch)
    assert [line["state"] for line in logs if line["event"] == "link.ended"] == ["contested"] * 4, "u1 follows by t2"
    mine = [*(("t1", user) for user in ("u1", "u2", "u3")), ("t2", "u1"), ("t2", "u4")]
    seen = [await rig.explain.progress(attempt, user) for attempt, user in mine]
    assert [progress and progress.state for progress in seen] == ["contested"] * 5


@pytest.mark.postgres
@pytest.mark.parametrize("store_url", ["postgres"], indirect=True)
async def test_batches_that_contest_the_same_sign_ins_in_opposite_orders_do_not_end_one_another(rig: Rig) -> None:
    time, names = rig.time(), ("acct-1", "acct-2")
    codes = [await rig.code(name) for name in names]
    await rig.states(rig.linker(), "unclaimed", *codes)
    rig.ring.down("post", 600.0, Fault(503))
    for name in names:
        await rig.sign_in(f"of {name}", nonce(time, name), time, "u1")
    await rig.states(rig.linker(), "claimed", *codes)

    def batch(user: str, *order: str) -> list[Held]:
        asked = {f"{user} of {name}": rig.request(f"{user} of {name}", nonce(time, name), time, user) for name in order}
        return [held("link.requested", key, value) for key, value in asked.items()]

    async with asyncio.TaskGroup() as fed, rig.database.begin() as connection:
        await hold_accounts(connection, {"acct-1"})
        fed.create_task(rig.feed(*batch("u2", "acct-1", "acct-2")))
        await some_wait_for_a_lock(rig.database, 1)
        fed.create_task(rig.feed(*batch("u3", "acct-2", "acct-1")))
        await some_wait_for_a_lock(rig.database, 2)
    seen = [await rig.explain.progress(f"{user} of {name}") for user in ("u2", "u3") for name in names]
    assert [progress and progress.state for progress in seen] == ["contested"] * 4


async def _at_rest() -> bool:
    return True
